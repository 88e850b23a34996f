import { type AuditHeadStore, type Client, createClient } from '../client/index.ts'
import {
  connection,
  forgetConnection,
  hasSwitched,
  keepConnection,
  service,
  type WalletConnection,
} from './connection.ts'
import { PageFault } from './problem.tsx'
import { confirmedBy } from './signing.tsx'
import { browserSigner, throwawaySigner } from './wallets.ts'

const SESSION_SECONDS = 3_600
/** Whole origin of the page: the service that serves it, and no other. */
const baseUrl = location.origin

/**
 * The newest event of each wallet's audit, kept by this browser: a service that cuts or rewrites an audit is found out by
 * the next change or verification here.
 */
const auditHeads: AuditHeadStore = {
  get(walletAddress) {
    const kept = localStorage.getItem(headName(walletAddress))
    return kept === null ? undefined : JSON.parse(kept)
  },
  set(walletAddress, head) {
    localStorage.setItem(headName(walletAddress), JSON.stringify(head))
  },
}

const headName = (walletAddress: string) => `latchkey.head.${walletAddress}`

interface Clients {
  of: WalletConnection
  /** Ends what follows the wallet. */
  leaving: AbortController
  reader: Client
  owner: Client
}

let clients: Clients | undefined

/** Reads by the session. Nothing is repeated by itself: the page shows the countdown of a 429. */
export function reader(): Client {
  return clientsOf(required()).reader
}

/** Signs with the wallet, each time after the visitor has read what. */
export function owner(): Client {
  return clientsOf(required()).owner
}

function required(): WalletConnection {
  const current = connection.get()
  if (current === undefined) throw new PageFault('ended')
  return current
}

function clientsOf(current: WalletConnection): Clients {
  if (clients?.of === current) return clients
  const { kind, network, session, address } = current
  clients?.leaving.abort()
  const leaving = new AbortController()
  const followed = { address, signal: leaving.signal, onAccountsChanged: forgetSwitched }
  const signer = kind === 'throwaway' ? throwawaySigner(network) : browserSigner(followed)
  clients = {
    of: current,
    leaving,
    reader: createClient({ baseUrl, session, maxRetries: 0 }),
    owner: createClient({
      ...{ baseUrl, network, auditHeads, maxRetries: 0 },
      signer: confirmedBy(signer),
    }),
  }
  return clients
}

/** Another account must not see, or sign for, what belongs to the one before. Its session is ended, too. */
function forgetSwitched(): void {
  void disconnect()
  clients?.leaving.abort()
  forgetConnection()
  hasSwitched.set(true)
}

/** Connects a wallet: one signature opens a session that reads for an hour. */
export async function connect(kind: WalletConnection['kind'], walletId?: string): Promise<void> {
  const { network } = service.get() ?? (await createClient({ baseUrl }).info())
  const signer =
    kind === 'throwaway'
      ? throwawaySigner(network)
      : browserSigner(walletId === undefined ? {} : { id: walletId })
  const client = createClient({
    ...{ baseUrl, network, auditHeads, maxRetries: 0 },
    signer: confirmedBy(signer),
  })
  const { session, walletAddress } = await client.sessions.open(SESSION_SECONDS)
  const endsAt = Date.now() + SESSION_SECONDS * 1_000
  keepConnection({ kind, address: walletAddress, network, session, endsAt })
}

/** Ends the session at the service. What the visitor sees does not depend on its answer. */
export async function disconnect(): Promise<void> {
  const current = connection.get()
  if (current !== undefined)
    await clientsOf(current)
      .reader.sessions.end()
      .catch(() => {})
}
