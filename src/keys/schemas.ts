import * as z from 'zod'
import type { ZodMiniType } from 'zod/mini'
import { AuditHeadSchema, actionSchema } from '../actions/schemas.ts'
import { booleanParameter, integerParameter } from '../wire/query.ts'
import { MAX_GRACE_SECONDS } from './form.ts'
import type { CreatedKey, HeartbeatTaken, Key, Me, RotatedKey } from './key.ts'
import { SUSPENDING_RULES } from './suspension.ts'
import {
  type Heartbeat,
  KEY_TERMS,
  LIMIT_NAMES,
  NOTE_NAMES,
  RULE_NAMES,
  type TermName,
} from './terms.ts'
import { CHANGE_MEMBERS, Expiry, GRANT_MEMBERS, valueSchema } from './values.ts'

export const KeyId = z.string().regex(/^key_[0-9A-Za-z]{1,40}$/, 'must look like key_123abc')

/** A message that changes keys may name the newest event of the wallet's audit that its signer knows. */
const HEAD = { auditHead: AuditHeadSchema.optional() }

/**
 * The secret of a key that its owner made: SHA-256 of the whole text, which is sent beside the message. What is signed has only the
 * hash, so that the message may be kept and shown, and may be sent again without disclosing a secret.
 */
const OWN_SECRET = {
  keyHash: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'must be SHA-256 in lower-case hexadecimal')
    .optional()
    .meta({
      description:
        'SHA-256 of a secret that the signer made and sends in X-API-Key. The same message may then be sent again.',
    }),
}

const OF_KEY = { keyId: 'key_4Yc1xQ7mB2' }

export const CreateApiKey = actionSchema(
  'create_api_key',
  { ...GRANT_MEMBERS, ...OWN_SECRET, ...HEAD },
  { keyName: 'My Trading Bot', permissions: ['create', 'execute', 'cancel'] },
)
export type KeyGrant = z.output<typeof CreateApiKey>
export const ListApiKeys = actionSchema('list_api_keys', {})
export const GetApiKey = actionSchema('get_api_key', { keyId: KeyId }, OF_KEY)
export const UpdateApiKey = actionSchema(
  'update_api_key',
  {
    keyId: KeyId,
    ...CHANGE_MEMBERS,
    previousUntil: z
      .null('must be null: the grace of a rotation is set by rotate_api_key')
      .optional()
      .meta({ description: 'null: the secret before the last rotation ends now.' }),
    ...HEAD,
  },
  { ...OF_KEY, label: 'market maker' },
)
export type UpdateKeyMembers = z.output<typeof UpdateApiKey>
export const RotateApiKey = actionSchema(
  'rotate_api_key',
  {
    keyId: KeyId,
    graceSeconds: z.int().min(0).max(MAX_GRACE_SECONDS),
    force: z.boolean().optional().meta({
      description:
        'true: also while the grace of the previous rotation lasts, whose old secret then ends at once.',
    }),
    ...OWN_SECRET,
    ...HEAD,
  },
  { ...OF_KEY, graceSeconds: 3_600 },
)
export const SuspendApiKey = actionSchema('suspend_api_key', { keyId: KeyId, ...HEAD }, OF_KEY)
export const ResumeApiKey = actionSchema('resume_api_key', { keyId: KeyId, ...HEAD }, OF_KEY)
export const DeleteApiKey = actionSchema('delete_api_key', { keyId: KeyId, ...HEAD }, OF_KEY)
/**
 * A certificate: its owner keeps it offline, and it is valid until `notAfter`, at most 366 days after its timestamp. It names no
 * head: it must revoke its key also after a restored backup.
 */
export const RevokeApiKey = actionSchema(
  'revoke_api_key',
  { keyId: KeyId, notAfter: Expiry },
  { ...OF_KEY, notAfter: 1_826_776_980_000 },
)
export const RevokeAllApiKeys = actionSchema(
  'revoke_all_api_keys',
  {
    cancelOpenOrders: z.boolean(),
    ...HEAD,
  },
  { cancelOpenOrders: true },
)

/** What is sent beside a message that names `keyHash`. */
export const OwnSecretHeaders = z.object({
  'X-API-Key': z.string().optional().meta({
    description: 'The secret that keyHash of the message is the SHA-256 of, in the form of a key.',
  }),
})

export const KeyParams = z.object({ keyId: KeyId })
export const KeyQuery = z.strictObject({
  live: booleanParameter.meta({
    description: 'true: only active and suspended keys; false: only ended ones.',
  }),
  limit: integerParameter({ minimum: 1, maximum: 100, byDefault: 100 }),
  cursor: KeyId.optional(),
})

const time = z.iso.datetime()

const GRANTED = {
  keyId: 'key_4Yc1xQ7mB2',
  name: 'My Trading Bot',
  permissions: ['create', 'execute', 'cancel'],
  rateLimit: 100,
  createdAt: '2026-11-21T10:00:00.000Z',
}

/** Terms in a response: each is there when the owner set it. */
function shownShape<Name extends TermName>(names: readonly Name[]) {
  const members = names.map((name) => {
    const schema = KEY_TERMS[name].type === 'flag' ? z.literal(true) : valueSchema(name)
    return [name, z.optional(schema)] as const
  })
  return Object.fromEntries(members) as unknown as { [Each in Name]: z.ZodOptional }
}

export const HeartbeatSchema = valueSchema('heartbeat') as ZodMiniType<Heartbeat>

export const LimitsSchema = z.object(shownShape(LIMIT_NAMES))
const SHOWN_TERMS = shownShape([...LIMIT_NAMES, ...RULE_NAMES, ...NOTE_NAMES])

export const KeySchema = z
  .object({
    id: z.string(),
    keyId: z.string(),
    name: z.string(),
    keyPreview: z.string(),
    walletAddress: z.string(),
    permissions: z.array(z.string()),
    rateLimit: z.int(),
    status: z.enum(['active', 'suspended', 'revoked', 'expired']),
    ...SHOWN_TERMS,
    createdAt: time,
    lastUsedAt: time.optional(),
    expiresAt: time.optional(),
    previousUntil: time.optional(),
    suspendedAt: time.optional(),
    suspendedBy: z
      .enum(['owner', 'operator', 'both', ...SUSPENDING_RULES])
      .optional()
      .meta({
        description:
          'Who suspended it; a rule of its owner by its name. The owner lifts all but the operator.',
      }),
    revokedAt: time.optional(),
    usageStats: z.object({
      totalRequests: z.int(),
      successfulRequests: z.int(),
      failedRequests: z.int(),
      creationCount: z.int(),
      executionCount: z.int(),
      cancellationCount: z.int(),
    }),
  })
  .meta({
    id: 'Key',
    examples: [
      {
        id: GRANTED.keyId,
        ...GRANTED,
        keyPreview: 'ck_live_Xy7f...q2aB',
        walletAddress: 'ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG',
        status: 'active',
        usageStats: {
          totalRequests: 3,
          successfulRequests: 2,
          failedRequests: 1,
          creationCount: 1,
          executionCount: 1,
          cancellationCount: 0,
        },
      },
    ],
  })

export const CreatedKeySchema = z
  .object({
    status: z.literal('success'),
    apiKey: z.string().optional().meta({
      description:
        'The secret. No other response has it. Absent where the message names publicKey.',
    }),
    keyId: z.string(),
    name: z.string(),
    permissions: z.array(z.string()),
    rateLimit: z.int(),
    ...SHOWN_TERMS,
    expiresAt: time.optional(),
    createdAt: time,
    auditHead: AuditHeadSchema,
  })
  .meta({
    id: 'CreatedKey',
    examples: [
      {
        status: 'success',
        apiKey: `ck_live_${'0'.repeat(49)}`,
        ...GRANTED,
        auditHead: { sequence: 1, hash: '0'.repeat(64) },
      },
    ],
  })

export const WindowSchema = z.object({
  name: z.enum(['minute', 'hour', 'day']),
  limit: z.int(),
  remaining: z.int(),
  resetAt: z.int().meta({ description: 'Unix seconds.' }),
  lengthSeconds: z.int(),
})

export const MeResponse = z
  .object({
    status: z.literal('success'),
    owner: z.string(),
    ownerCaip10: z
      .string()
      .meta({ description: 'CAIP-10: stacks:1:SP... or stacks:2147483648:ST...' }),
    keyId: z.string(),
    name: z.string(),
    permissions: z.array(z.string()),
    limits: LimitsSchema,
    heartbeat: z.optional(HeartbeatSchema),
    spentToday: z.record(z.string(), z.string()).meta({
      description:
        'What was spent today (UTC), by input token, of the tokens that have a daily limit.',
    }),
    rateLimit: z.int(),
    windows: z.array(WindowSchema),
    expiresAt: time
      .optional()
      .meta({ description: 'When the key ends, or earlier the secret that was sent.' }),
    createdAt: time,
  })
  .meta({ id: 'Me' })

export const HeartbeatTakenResponse = z
  .object({
    status: z.literal('success'),
    keyId: z.string(),
    heartbeat: z.nullable(HeartbeatSchema),
    deadline: time.nullable().meta({
      description:
        'A request that the gate counts before then keeps the silence from having its effect.',
    }),
  })
  .meta({ id: 'HeartbeatTaken' })

export const RotatedKeySchema = z
  .object({
    status: z.literal('success'),
    apiKey: z.string().meta({ description: 'The new secret. No other response has it.' }),
    keyId: z.string(),
    previousUntil: time.meta({
      description: 'The secret before this one works until then.',
    }),
    auditHead: AuditHeadSchema,
  })
  .meta({ id: 'RotatedKey' })

export const RevokedAllResponse = z.object({
  status: z.literal('success'),
  keyIds: z.array(z.string()),
  cancelledOrders: z.int(),
  auditHead: AuditHeadSchema,
})

export const KeyResponse = z.object({ status: z.literal('success'), apiKey: KeySchema })
export const ChangedKeyResponse = KeyResponse.extend({ auditHead: AuditHeadSchema }).meta({
  id: 'ChangedKey',
})
export const KeyListResponse = z.object({
  status: z.literal('success'),
  apiKeys: z.array(KeySchema),
  nextCursor: z.string().optional().meta({ description: 'There are more keys behind this one.' }),
})
export const RevokedResponse = z
  .object({
    status: z.literal('success'),
    message: z.string(),
    auditHead: AuditHeadSchema,
  })
  .meta({ id: 'RevokedKey' })

/** The schemas and the types have the same members, or this does not compile. */
type Same<A, B> = [A, B] extends [B, A] ? true : never
type Loose<T> = { [Name in keyof T]: T[Name] }
true satisfies Same<Loose<z.output<typeof KeySchema>>['usageStats'], Key['usageStats']>
true satisfies Same<keyof z.output<typeof KeySchema>, keyof Key>
true satisfies Same<keyof z.output<typeof CreatedKeySchema>, keyof CreatedKey>
true satisfies Same<keyof z.output<typeof RotatedKeySchema>, keyof RotatedKey>
true satisfies Same<keyof z.output<typeof HeartbeatTakenResponse>, keyof HeartbeatTaken>
true satisfies Same<keyof z.output<typeof MeResponse>, keyof Me>
