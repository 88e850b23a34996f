import type { AuditEvent } from '../audit/event.ts'
import type { Key } from '../keys/key.ts'
import { termsShown } from '../keys/terms.ts'
import {
  type AuditFault,
  type ClaimedRights,
  differences,
  type ReplayedKey,
  replayAudit,
} from '../provenance/replay.ts'
import { isNetwork, type Network } from '../stacks/network.ts'
import { LatchkeyError } from './errors.ts'
import type { CallOptions } from './keys.ts'
import type { Transport } from './transport.ts'
import type { Wallet } from './wallet.ts'

/** A wallet's whole audit, as a file keeps it. It proves itself: no service is needed to check it. */
export interface AuditExport {
  format: 'latchkey-audit 1'
  network: Network
  walletAddress: string
  events: AuditEvent[]
  /** The keys as the service said they were. */
  keys: Key[]
}

export interface AuditVerdict {
  ok: boolean
  events: number
  keys: number
  faults: AuditFault[]
}

export interface Audit {
  /** Exports all that happened to the wallet's keys, page by page. */
  export(options?: CallOptions): Promise<AuditExport>
}

export function createAudit(transport: Transport, wallet: Wallet): Audit {
  return {
    async export({ signal } = {}) {
      const events: AuditEvent[] = []
      let page: Omit<AuditExport, 'format'> & { nextAfter?: number }
      let after = 0
      do {
        page = await transport.send<typeof page>({
          method: 'GET',
          path: '/audit',
          query: { after, limit: 1000 },
          proof: wallet.prove({ action: 'list_audit' }, 'headers'),
          repeatable: true,
          signal,
        })
        events.push(...page.events)
        after = page.nextAfter ?? after
      } while (page.nextAfter !== undefined)
      const { network, walletAddress, keys } = page
      return { format: 'latchkey-audit 1', network, walletAddress, events, keys }
    },
  }
}

/**
 * Checks an export with nothing but itself: the chain of its events, the owner's signature under each act, and that every
 * live key may do what its owner signed and nothing more. An older export, where there is one, shows whether events
 * have been taken away since.
 *
 * @example
 * ```ts
 * import { createClient, privateKeySigner, verifyAudit } from 'latchkey/client'
 *
 * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
 * const client = createClient({ baseUrl: 'https://dex.example', signer })
 * const { ok, faults } = verifyAudit(await client.audit.export())
 * console.log(ok, faults)
 * ```
 */
export function verifyAudit(audit: AuditExport, older?: AuditExport): AuditVerdict {
  const { walletAddress, network, events, keys } = audit
  for (const one of older === undefined ? [audit] : [audit, older])
    if (one.format !== 'latchkey-audit 1' || ![one.events, one.keys].every(Array.isArray))
      throw new LatchkeyError('INVALID_ARGUMENT', 'This is no export of an audit')
  if (!isNetwork(network))
    throw new LatchkeyError('INVALID_ARGUMENT', 'This is an export of no network that there is')
  const replayed = replayAudit(events, { walletAddress, network })
  const faults = [...replayed.faults]
  const live = keys.filter(({ status }) => status === 'active' || status === 'suspended')
  for (const key of live) {
    const made = replayed.keys.get(key.keyId)
    if (made === undefined) faults.push({ keyId: key.keyId, fault: 'no event made it' })
    else if (made.revokedAt !== null)
      faults.push({ keyId: key.keyId, fault: 'lives although it was revoked' })
    else
      for (const name of differences(claimsOf(key, made), made))
        faults.push({ keyId: key.keyId, fault: `${name} is not what its owner signed` })
  }
  for (const [at, event] of (older?.events ?? []).entries())
    if (events[at]?.hash !== event.hash) {
      faults.push({ sequence: at + 1, fault: 'was another event in the older export, or is gone' })
      break
    }
  return { ok: faults.length === 0, events: events.length, keys: live.length, faults }
}

/** What a shown key claims. A rate that its owner did not sign is the service's own, and no claim. */
function claimsOf(key: Key, { terms }: ReplayedKey): ClaimedRights {
  const { rateLimit, ...claims } = termsShown(key)
  return terms.rateLimit === null ? claims : { ...claims, rateLimit }
}
