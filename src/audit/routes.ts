import { SignedHeaders } from '../actions/schemas.ts'
import { answer } from '../http/answer.ts'
import { readingOwner } from '../http/authenticate.ts'
import { readQuery } from '../http/body.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { unwrap } from '../http/problem.ts'
import { listKeys } from '../keys/find.ts'
import { listAudit } from './list.ts'
import * as wire from './schemas.ts'

const LIST = { schema: wire.ListAudit, example: { action: 'list_audit' } }

export const auditEndpoints: readonly Endpoint[] = [
  {
    method: 'get',
    path: '/audit',
    operationId: 'listAudit',
    summary: "What happened to a wallet's keys, provable with nothing but the answer",
    description:
      "Oldest first. Each event is chained to the one before it, and each of the owner's acts comes with the message that was signed for it.",
    credentials: ['wallet', 'session'],
    query: wire.AuditQuery,
    headers: SignedHeaders.partial(),
    messages: [wire.ListAudit],
    answers: { 200: { description: 'A stretch of the audit', schema: wire.AuditAnswer } },
    refusals: [
      'invalidRequest',
      'signatureMissing',
      'signatureInvalid',
      'timestampExpired',
      'sessionInvalid',
    ],
    async handle(c) {
      const walletAddress = await readingOwner(c, LIST)
      const { after, limit } = unwrap(readQuery(c, wire.AuditQuery))
      const [world, now] = [c.get('world'), c.get('now')]
      const found = await listAudit(world.db, walletAddress, { after, limit: limit + 1 })
      const events = found.slice(0, limit)
      const last = events.at(-1)
      return answer(c, {
        status: 'success',
        network: world.config.STACKS_NETWORK,
        walletAddress,
        events,
        ...(found.length > limit && last !== undefined && { nextAfter: last.sequence }),
        keys: await listKeys(world, walletAddress, now),
      })
    },
  },
]
