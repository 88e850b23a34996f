import { SignedHeaders } from '../actions/schemas.ts'
import { listAudit, listUnrecorded } from '../audit/list.ts'
import { readQuery } from '../http/body.ts'
import { authenticateReader } from '../http/credentials/wallet.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { unwrap } from '../http/problem.ts'
import { respond } from '../http/respond.ts'
import { listKeys } from '../keys/find.ts'
import * as wire from '../provenance/schemas.ts'

const MAX_UNRECORDED = 100

const LIST = { schema: wire.ListAudit, example: { action: 'list_audit' } }

export const auditEndpoints: readonly Endpoint[] = [
  {
    method: 'get',
    path: '/audit',
    operationId: 'listAudit',
    summary: "What happened to a wallet's keys, provable from the response alone",
    description:
      "Oldest first. Each event is chained to the one before it, and each of the owner's acts comes with the message that was signed for it.",
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
    async handle(c) {
      const walletAddress = await authenticateReader(c, LIST)
      const { after, limit } = unwrap(readQuery(c, wire.AuditQuery))
      const [world, now] = [c.get('world'), c.get('now')]
      // One snapshot: an event that is not among these cannot have changed a key that is.
      const { found, keys, unrecorded } = await world.db.transaction(
        async (tx) => {
          const found = await listAudit(tx, walletAddress, { after, limit: limit + 1 })
          const keys = await listKeys({ ...world, db: tx }, walletAddress, now)
          const isLast = found.length <= limit
          return {
            found,
            keys,
            ...(isLast && {
              unrecorded: await listUnrecorded(tx, walletAddress, { limit: MAX_UNRECORDED }),
            }),
          }
        },
        { isolationLevel: 'repeatable read' },
      )
      const events = found.slice(0, limit)
      const last = events.at(-1)
      return respond(c, {
        status: 'success',
        network: world.config.STACKS_NETWORK,
        walletAddress,
        events,
        ...(found.length > limit && last !== undefined && { nextAfter: last.sequence }),
        keys,
        serverTime: now,
        ...(unrecorded !== undefined && {
          unrecorded: unrecorded.map(({ id, ...action }) => action),
        }),
      })
    },
  },
]
