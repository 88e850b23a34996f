import * as z from 'zod'
import { LimitsSchema, WindowSchema } from '../keys/schemas.ts'
import { KEY_TERMS } from '../keys/terms.ts'
import { parseIp } from '../wire/ip.ts'
import { integerParameter } from '../wire/query.ts'
import type { KeyVerdict } from './verdict.ts'

/** What one request may cost, at most. */
export const MAX_COST = 1_000

const { item } = KEY_TERMS.permissions as {
  item: { pattern: RegExp; maxLength: number; message: string }
}
const scope = z
  .string()
  .regex(item.pattern, item.message)
  .max(item.maxLength, item.message)
  .meta({ description: 'The scope that the request needs.', example: 'withdraw' })

/** What a backend asks about a key that was presented to it. */
export const VerifyKeyBody = z
  .strictObject({
    apiKey: z
      .string()
      .max(1_024)
      .optional()
      .meta({ description: 'The secret, as the client sent it; or a signed request.' }),
    request: z
      .strictObject({
        method: z.string().regex(/^[A-Z]{1,32}$/, 'must be a method in capitals'),
        url: z
          .string()
          .max(8_192)
          .regex(
            /^https?:\/\/[\w.:[\]-]{1,255}([/?][\x21-\x22\x24-\x7e]*)?$/,
            'must be an absolute URL',
          ),
        headers: z.record(z.string().max(64), z.string().max(4_096)),
      })
      .refine(({ url }) => URL.canParse(url), 'must be an absolute URL')
      .optional()
      .meta({
        description:
          'In place of apiKey: the request that was signed (RFC 9421), with the headers that it covers, Signature and Signature-Input. The backend compares Content-Digest with the content.',
      }),
    scope,
    cost: z
      .int()
      .min(1)
      .max(MAX_COST)
      .optional()
      .meta({ description: 'How many requests it counts as: all of them, or none. By default 1.' }),
    ip: z
      .string()
      .max(64)
      .refine((text) => parseIp(text) !== undefined, 'must be an IP address')
      .optional()
      .meta({
        description:
          'The address of the client. Without it a key that is bound to addresses is refused.',
        example: '203.0.113.50',
      }),
    resource: z
      .string()
      .max(200)
      .regex(/^[\x20-\x7e]*$/, 'must be printable ASCII')
      .optional()
      .meta({
        description: "What is asked for, for the service's log.",
        example: 'POST /withdrawals',
      }),
  })
  .refine(
    ({ apiKey, request }) => (apiKey === undefined) !== (request === undefined),
    'must have either apiKey or request',
  )
  .meta({ id: 'VerifyKey' })

export const ForwardAuthQuery = z.strictObject({
  scope,
  cost: integerParameter({ minimum: 1, maximum: MAX_COST, byDefault: 1 }),
})

/** What a proxy passes on from its client, and says of its request. */
export const ForwardAuthHeaders = z.object({
  'X-API-Key': z.string().optional().meta({ description: "The client's key." }),
  'X-Forwarded-For': z.string().optional(),
  'X-Forwarded-Method': z.string().optional(),
  'X-Forwarded-Host': z.string().optional(),
  'X-Forwarded-Uri': z.string().optional(),
})

/** Named: generators of clients would name it after its property, as a type that every platform has. */
const headers = z.record(z.string(), z.string()).meta({
  id: 'ReplyHeaders',
  description: "What the backend's own response should say of the key's limits.",
})

const ValidKey = z.object({
  valid: z.literal(true),
  code: z.literal('OK'),
  keyId: z.string(),
  walletAddress: z.string(),
  principal: z.string().meta({ description: 'CAIP-10: stacks:1:SP... or stacks:2147483648:ST...' }),
  name: z.string(),
  permissions: z.array(z.string()),
  limits: LimitsSchema,
  rateLimit: z.int(),
  windows: z.array(WindowSchema),
  expiresAt: z.iso
    .datetime()
    .nullable()
    .meta({ description: 'When the key ends, or earlier the secret that was sent; null: never.' }),
  headers,
})

const InvalidKey = z.object({
  valid: z.literal(false),
  httpStatus: z.int().meta({ description: 'The status of the refusal.' }),
  error: z.string(),
  code: z.string(),
  details: z.record(z.string(), z.unknown()).optional(),
  timestamp: z.iso.datetime(),
  requestId: z.string(),
  keyId: z.string().optional(),
  windows: z.array(WindowSchema).optional(),
  headers,
})

export const KeyVerdictSchema = z
  .discriminatedUnion('valid', [ValidKey, InvalidKey])
  .meta({ id: 'KeyVerdict' })

export const ForwardAuthResponse = z.object({
  status: z.literal('success'),
  keyId: z.string(),
  walletAddress: z.string(),
  principal: z.string(),
  permissions: z.array(z.string()),
})

type Same<A, B> = [A, B] extends [B, A] ? true : never
true satisfies Same<keyof z.output<typeof ValidKey>, keyof Extract<KeyVerdict, { valid: true }>>
true satisfies Same<keyof z.output<typeof InvalidKey>, keyof Extract<KeyVerdict, { valid: false }>>
