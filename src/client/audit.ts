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

/** A wallet's whole audit, to be kept as a JSON file. {@link verifyAudit} checks it without a service. */
export interface AuditExport {
  format: 'latchkey-audit 1'
  network: Network
  walletAddress: string
  /** Oldest first, each chained to the one before. */
  events: AuditEvent[]
  /** The keys as the service returned them with the last events. */
  keys: Key[]
}

/** The result of {@link verifyAudit}. */
export interface AuditVerdict {
  /** Whether there is no fault. */
  ok: boolean
  /** How many events were checked. */
  events: number
  /** How many live keys were checked. */
  keys: number
  faults: AuditFault[]
}

/** The audit of the signer's wallet. */
export interface Audit {
  /**
   * Exports everything that happened to the wallet's keys, in pages of 1,000 events. The wallet signs once for each page,
   * or a session authorizes it.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { format, events } = await client.audit.export()
   * console.log(format, events.length)
   * ```
   */
  export(options?: CallOptions): Promise<AuditExport>
}

/** Creates the `audit` of a client. */
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
 * Checks an export without a service: the chain of its events, the owner's signature under each change, and that every live
 * key may do what its owner signed and nothing more. With an older export of the same wallet it also finds events that were
 * removed or replaced since.
 *
 * A fault is part of the result. Throws `INVALID_ARGUMENT` for an object that is no export.
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
  requireExport(audit)
  if (older !== undefined) requireExport(older)
  const { walletAddress, network, events, keys } = audit
  const replayed = replayAudit(events, { walletAddress, network })
  const live = keys.filter(({ status }) => status === 'active' || status === 'suspended')
  const faults = [
    ...replayed.faults,
    ...live.flatMap((key) => faultsOfKey(key, replayed.keys.get(key.keyId))),
    ...faultsAgainst(older, events),
  ]
  return { ok: faults.length === 0, events: events.length, keys: live.length, faults }
}

function requireExport({ format, network, events, keys }: AuditExport): void {
  if (format !== 'latchkey-audit 1' || ![events, keys].every(Array.isArray))
    throw new LatchkeyError('INVALID_ARGUMENT', 'This is no export of an audit')
  if (!isNetwork(network))
    throw new LatchkeyError('INVALID_ARGUMENT', 'This is an export of no network that there is')
}

/** What a live key may do beyond, or short of, what the events made it. */
function faultsOfKey(key: Key, made: ReplayedKey | undefined): AuditFault[] {
  const { keyId } = key
  if (made === undefined) return [{ keyId, fault: 'no event made it' }]
  if (made.revokedAt !== null) return [{ keyId, fault: 'lives although it was revoked' }]
  return differences(claimsOf(key, made), made).map((name) => ({
    keyId,
    fault: `${name} is not what its owner signed`,
  }))
}

/** The first event of an older export that the newer one does not have in its place. */
function faultsAgainst(older: AuditExport | undefined, events: AuditEvent[]): AuditFault[] {
  const at = older?.events.findIndex((event, at) => events[at]?.hash !== event.hash) ?? -1
  if (at < 0) return []
  return [{ sequence: at + 1, fault: 'was another event in the older export, or is gone' }]
}

/** A key's terms in the form of the replay. The service's default rate was not signed, and is no claim. */
function claimsOf(key: Key, { terms }: ReplayedKey): ClaimedRights {
  const { rateLimit, ...claims } = termsShown(key)
  return terms.rateLimit === null ? claims : { ...claims, rateLimit }
}
