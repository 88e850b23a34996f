import * as z from 'zod'
import { actionSchema } from '../actions/schemas.ts'
import type { AuditEvent } from '../audit/event.ts'
import { KeySchema } from '../keys/schemas.ts'
import { integerParameter } from '../wire/query.ts'

export const ListAudit = actionSchema('list_audit', {})

export const AuditQuery = z.strictObject({
  after: integerParameter({ minimum: 0, maximum: 999_999_999_999_999, byDefault: 0 }),
  limit: integerParameter({ minimum: 1, maximum: 1_000, byDefault: 100 }),
  unrecordedAfter: z
    .string()
    .regex(/^[0-9]{1,15}$/, 'must be a nextUnrecordedAfter')
    .optional(),
})

const AuditEventSchema = z
  .object({
    sequence: z.int(),
    body: z
      .string()
      .meta({ description: 'Canonical JSON (RFC 8785): the exact text that is hashed.' }),
    hash: z.string().meta({
      description: "SHA-256 of the previous event's hash and of SHA-256 of the body, hex.",
    }),
    message: z.string().optional(),
    signature: z.string().optional(),
    publicKey: z.string().optional(),
  })
  .meta({ id: 'AuditEvent' })

export const AuditResponse = z
  .object({
    status: z.literal('success'),
    network: z.string(),
    walletAddress: z.string(),
    events: z.array(AuditEventSchema),
    archived: z
      .object({
        after: z.int().meta({ description: 'The first hash is of the event behind this one.' }),
        through: z.int().meta({ description: 'The last event that has left.' }),
        bodyHashes: z.array(z.string()).meta({
          description:
            'SHA-256 of the body of each event, hex: each hash of the chain is SHA-256 of the one before and of this. At most 10,000 a page.',
        }),
        archives: z
          .array(z.object({ archive: z.int(), through: z.int() }))
          .meta({ description: 'The numbers of the archives that have the events, oldest first.' }),
      })
      .optional()
      .meta({
        description:
          'Events of this page that the database no longer has: the operator keeps them in archives.',
      }),
    nextAfter: z
      .int()
      .optional()
      .meta({ description: 'There are more events: the next page is after this sequence.' }),
    keys: z.array(KeySchema).optional().meta({
      description:
        'With the last events: the live keys as they are now, to compare with the events. GET /api-keys has the ended ones.',
    }),
    serverTime: z.int().meta({ description: 'Of the keys: milliseconds since 1970.' }),
    unrecorded: z
      .array(z.object({ message: z.string(), signature: z.string(), acceptedAt: z.number() }))
      .optional()
      .meta({
        description:
          'With the last events, or with unrecordedAfter: messages that were accepted and have no event. There are none unless events were removed, or the wallet had keys in a release without an audit.',
      }),
    nextUnrecordedAfter: z.string().optional().meta({
      description:
        'There are more messages to look at: the next page has this unrecordedAfter. A page looks at 5,000, and returns 100 at most.',
    }),
  })
  .meta({ id: 'Audit' })

type Same<A, B> = [A, B] extends [B, A] ? true : never
true satisfies Same<keyof z.output<typeof AuditEventSchema>, keyof AuditEvent>
