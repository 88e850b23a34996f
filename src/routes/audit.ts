import { SignedHeaders } from '../actions/schemas.ts'
import { listArchived } from '../audit/archived.ts'
import { hasEvent, listAudit, listUnrecorded } from '../audit/list.ts'
import { readQuery } from '../http/body.ts'
import { stateOf } from '../http/context.ts'
import { authenticateReader } from '../http/credentials/wallet.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { readLagging } from '../http/lagging.ts'
import { unwrap } from '../http/problem.ts'
import { respond } from '../http/respond.ts'
import { liveKeysOf } from '../keys/find.ts'
import * as wire from '../provenance/schemas.ts'

/** Archived events of a page: their hashes are 640 kB. */
const MAX_ARCHIVED = 10_000

const LIST = { schema: wire.ListAudit, example: { action: 'list_audit' } }

export const auditEndpoints: readonly Endpoint[] = [
  {
    method: 'get',
    path: '/audit',
    operationId: 'listAudit',
    summary: "What happened to a wallet's keys, provable from the response alone",
    description:
      "A page of it, oldest first: at most limit events, and fewer where they are long. Each event is chained to the one before it, and each of the owner's acts comes with the message that was signed for it.",
    credentials: ['wallet', 'session'],
    query: wire.AuditQuery,
    headers: SignedHeaders.partial(),
    messages: [wire.ListAudit],
    responses: { 200: { description: 'A stretch of the audit', schema: wire.AuditResponse } },
    refusals: [
      'invalidRequest',
      'signatureMissing',
      'signatureInvalid',
      'timestampExpired',
      'sessionInvalid',
    ],
    mayLag: true,
    async handle(c) {
      const walletAddress = await authenticateReader(c, LIST)
      const { after, limit, unrecordedAfter } = unwrap(readQuery(c, wire.AuditQuery))
      const { world, now } = stateOf(c)
      // One snapshot: an event that is not among these cannot have changed a key that is.
      const { value: page, headers } = await readLagging(
        c,
        async (db, isReplica) => {
          // The page before may have come from the primary: without its events the keys of this one would contradict them.
          const archived = await listArchived(db, walletAddress, { after, limit: MAX_ARCHIVED })
          const { through = 0, bodyHashes = [], actionId = 0 } = archived ?? {}
          if (isReplica && after > through && !(await hasEvent(db, walletAddress, after)))
            return undefined
          const left = after + bodyHashes.length
          const { events, isLast } =
            left < through
              ? { events: [], isLast: false }
              : await listAudit(db, walletAddress, { after: Math.max(after, through), limit })
          const looks = isLast || unrecordedAfter !== undefined
          return {
            events,
            isLast,
            next: events.at(-1)?.sequence ?? left,
            ...(bodyHashes.length > 0 && {
              archived: { after, through, bodyHashes, archives: archived?.archives },
            }),
            ...(isLast && { keys: await liveKeysOf({ ...world, db }, walletAddress, now) }),
            ...(looks && {
              unrecorded: await listUnrecorded(
                db,
                walletAddress,
                unrecordedAfter ?? String(actionId),
              ),
            }),
          }
        },
        { inSnapshot: true },
      )
      const { events, isLast, next, archived, keys, unrecorded } = page
      const body = {
        status: 'success',
        network: world.config.STACKS_NETWORK,
        walletAddress,
        events,
        ...(archived !== undefined && { archived }),
        ...(!isLast && { nextAfter: next }),
        ...(keys !== undefined && { keys }),
        serverTime: now,
        ...(unrecorded !== undefined && {
          unrecorded: unrecorded.found,
          ...(unrecorded.next !== undefined && { nextUnrecordedAfter: unrecorded.next }),
        }),
      }
      return respond(c, body, 200, headers)
    },
  },
]
