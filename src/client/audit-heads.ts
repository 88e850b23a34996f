import type { AuditHead } from '../audit/event.ts'
import type { Call, Transport } from './transport.ts'

/**
 * Where a client keeps the newest event of a wallet's audit that it knows: outside the service, which then cannot cut or rewrite
 * the audit without being found. A store belongs to one service.
 */
export interface AuditHeadStore {
  /** Returns, or resolves with, the head that was kept last; undefined where there is none. */
  get(walletAddress: string): AuditHead | undefined | Promise<AuditHead | undefined>
  /** Keeps a head. An error is ignored, because the change that the head belongs to is made; the client remembers the head. */
  set(walletAddress: string, head: AuditHead): void | Promise<void>
}

/** Heads of wallets, in memory and in the caller's store. A head is never replaced by an earlier one. */
export interface AuditHeads {
  get(walletAddress: string): Promise<AuditHead | undefined>
  /** Ignores what is no head: an earlier release of the service sends none. Never rejects. */
  keep(walletAddress: string, head: unknown): Promise<void>
}

/** Creates the heads of a client. */
export function createAuditHeads(store: AuditHeadStore | undefined): AuditHeads {
  const known = new Map<string, AuditHead>()

  async function get(walletAddress: string): Promise<AuditHead | undefined> {
    const stored = await store?.get(walletAddress)
    return later(known.get(walletAddress), isAuditHead(stored) ? stored : undefined)
  }

  return {
    get,
    async keep(walletAddress, head) {
      if (!isAuditHead(head)) return
      const newest = later(known.get(walletAddress), head)
      if (newest !== head) return
      known.set(walletAddress, { sequence: head.sequence, hash: head.hash })
      try {
        const stored = await get(walletAddress)
        if (stored?.hash === head.hash) await store?.set(walletAddress, head)
      } catch {
        // The response may hold a secret that no later one has: it must reach the caller.
      }
    },
  }
}

/** Whether a value is a head, as a service or a store returns it. */
export function isAuditHead(value: unknown): value is AuditHead {
  if (typeof value !== 'object' || value === null) return false
  const { sequence, hash } = value as Partial<AuditHead>
  return Number.isSafeInteger(sequence) && typeof hash === 'string' && /^[0-9a-f]{64}$/.test(hash)
}

function later(a: AuditHead | undefined, b: AuditHead | undefined): AuditHead | undefined {
  if (a === undefined || b === undefined) return a ?? b
  return b.sequence > a.sequence ? b : a
}

/** Sends a signed change and keeps the head that the response names. */
export async function sendChange<T extends { auditHead?: AuditHead }>(
  transport: Transport,
  wallet: { keepHead(head: unknown): Promise<void> },
  call: Call<T>,
): Promise<T> {
  const response = await transport.send<T>(call)
  await wallet.keepHead(response.auditHead)
  return response
}
