import type { Network, ServiceInfo } from '../client/index.ts'
import { createStore } from '../store/observable.ts'

/** A connected wallet and its read-only session. Nothing in it can change anything. */
export interface WalletConnection {
  /** `throwaway`: a private key that this page made, on a devnet only. */
  kind: 'throwaway' | 'wallet'
  address: string
  network: Network
  /** The secret of the session. */
  session: string
  /** Milliseconds since 1970. */
  endsAt: number
}

const KEPT = 'latchkey.connection'

/** Kept for the tab, so that a reload asks for no signature. */
export const connection = createStore<WalletConnection | undefined>(restore())

/** Whether the session of the connection has ended: the page goes on showing what it has, and offers another one. */
export const hasEnded = createStore(false)

/** Whether the wallet switched its account or network since it was connected: what belonged to it is no longer shown. */
export const hasSwitched = createStore(false)

/** What the service is; undefined until it has said so. */
export const service = createStore<ServiceInfo | undefined>(undefined)

export function keepConnection(next: WalletConnection): void {
  sessionStorage.setItem(KEPT, JSON.stringify(next))
  hasEnded.set(false)
  hasSwitched.set(false)
  connection.set(next)
}

export function noteSessionEnd(): void {
  hasEnded.set(true)
}

/** Forgets the wallet. The key of a throw-away wallet stays until the tab is closed. */
export function forgetConnection(): void {
  sessionStorage.removeItem(KEPT)
  connection.set(undefined)
  hasEnded.set(false)
}

function restore(): WalletConnection | undefined {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? 'null') as WalletConnection | null
    return kept !== null && kept.endsAt > Date.now() ? kept : undefined
  } catch {
    return undefined
  }
}
