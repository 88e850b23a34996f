import * as z from 'zod'
import { actionSchema } from '../actions/schemas.ts'
import type { CreatedKey, Key, RotatedKey } from './key.ts'

/** Control characters, line separators and the marks that reorder text on a screen. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]/u

export const KeyName = z
  .string()
  .min(1, 'must not be empty')
  .refine((name) => [...name].length <= 64, 'must be 64 characters or fewer')
  .refine((name) => name.trim() === name, 'must not begin or end with white space')
  .refine((name) => !UNPRINTABLE.test(name), 'must not have control characters')

const Text = z
  .string()
  .min(1, 'must not be empty')
  .refine((text) => [...text].length <= 200, 'must be 200 characters or fewer')
  .refine((text) => !UNPRINTABLE.test(text), 'must not have control characters')

/** Which of them this service knows is its configuration's matter: `validateTerms`. */
export const Permissions = z
  .array(z.string().regex(/^[a-z][a-z0-9_-]{0,31}$/, 'must be the name of a scope'))
  .refine((scopes) => new Set(scopes).size === scopes.length, 'must not name a permission twice')

export const KeyId = z.string().regex(/^key_[0-9A-Za-z]{1,40}$/, 'must look like key_123abc')

/** ISO 8601 with a zone, or milliseconds since 1970. */
const Expiry = z.union([z.iso.datetime({ offset: true }), z.int().positive()])

const MAX_LIST = 20
const listOf = (what: z.ZodType<string>) =>
  z
    .array(what)
    .min(1, 'must not be empty: leave it out, or lift it with null')
    .max(MAX_LIST, `must have ${MAX_LIST} or fewer`)
    .refine((list) => new Set(list).size === list.length, 'must not have anything twice')

const Range = z
  .string()
  .max(64)
  .regex(/^[0-9A-Fa-f.:/]+$/, 'must be an address or a CIDR range')
const Token = z
  .string()
  .max(96)
  .regex(/^[A-Za-z0-9._-]+$/, 'must be a contract id, or .stx')
const Recipient = z
  .string()
  .max(64)
  .regex(/^[A-Z0-9]+$/, 'must be a Stacks address')
const Amount = z
  .string()
  .regex(/^[1-9][0-9]{0,38}$/, 'must be a whole number above 0, as text, in the smallest unit')
const Amounts = z
  .record(
    Token,
    z
      .strictObject({ perOrder: Amount.optional(), perDay: Amount.optional() })
      .refine(
        ({ perOrder, perDay }) => perOrder !== undefined || perDay !== undefined,
        'must have perOrder or perDay',
      ),
  )
  .refine((amounts) => {
    const tokens = Object.keys(amounts).length
    return tokens > 0 && tokens <= MAX_LIST
  }, `must name 1 to ${MAX_LIST} tokens`)

const limits = {
  expiresAt: Expiry.optional(),
  rateLimit: z
    .int()
    .optional()
    .meta({ description: 'Requests a minute: 10 to what keys have by default.' }),
  ipAllowlist: listOf(Range).optional(),
  tokens: listOf(Token).optional(),
  recipients: listOf(Recipient).optional(),
  maxAmountIn: Amounts.optional(),
  ownOrdersOnly: z.boolean().optional(),
  label: Text.optional(),
  justification: Text.optional(),
}

export const CreateApiKey = actionSchema('create_api_key', {
  keyName: KeyName,
  permissions: Permissions,
  ...limits,
})
export type KeyGrant = z.output<typeof CreateApiKey>
export const ListApiKeys = actionSchema('list_api_keys', {})
export const GetApiKey = actionSchema('get_api_key', { keyId: KeyId })
export const UpdateApiKey = actionSchema('update_api_key', {
  keyId: KeyId,
  keyName: KeyName.optional(),
  permissions: Permissions.optional(),
  expiresAt: limits.expiresAt.nullable(),
  rateLimit: limits.rateLimit.nullable(),
  ipAllowlist: limits.ipAllowlist.nullable(),
  tokens: limits.tokens.nullable(),
  recipients: limits.recipients.nullable(),
  maxAmountIn: limits.maxAmountIn.nullable(),
  ownOrdersOnly: limits.ownOrdersOnly.nullable(),
  label: limits.label.nullable(),
  justification: limits.justification.nullable(),
})
export type UpdateKeyMembers = z.output<typeof UpdateApiKey>
export const RotateApiKey = actionSchema('rotate_api_key', {
  keyId: KeyId,
  graceSeconds: z.int().min(0).max(604_800),
})
export const SuspendApiKey = actionSchema('suspend_api_key', { keyId: KeyId })
export const ResumeApiKey = actionSchema('resume_api_key', { keyId: KeyId })
export const DeleteApiKey = actionSchema('delete_api_key', { keyId: KeyId })
/** A certificate: kept offline by the owner, and honoured until `notAfter`, at most 366 days after its timestamp. */
export const RevokeApiKey = actionSchema('revoke_api_key', { keyId: KeyId, notAfter: Expiry })
export const RevokeAllApiKeys = actionSchema('revoke_all_api_keys', {
  cancelOpenOrders: z.boolean(),
})

export const KeyParams = z.object({ keyId: KeyId })

const time = z.iso.datetime()

const GRANTED = {
  keyId: 'key_4Yc1xQ7mB2',
  name: 'My Trading Bot',
  permissions: ['create', 'execute', 'cancel'],
  rateLimit: 100,
  createdAt: '2026-11-21T10:00:00.000Z',
}

export const LimitsSchema = z.object({
  ipAllowlist: z.array(z.string()).optional(),
  tokens: z.array(z.string()).optional(),
  recipients: z.array(z.string()).optional(),
  maxAmountIn: z
    .record(
      z.string(),
      z.object({ perOrder: z.string().optional(), perDay: z.string().optional() }),
    )
    .optional(),
  ownOrdersOnly: z.literal(true).optional(),
})

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
    ...LimitsSchema.shape,
    label: z.string().optional(),
    justification: z.string().optional(),
    createdAt: time,
    lastUsedAt: time.optional(),
    expiresAt: time.optional(),
    previousUntil: time.optional(),
    suspendedAt: time.optional(),
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
    apiKey: z
      .string()
      .meta({ description: 'The secret. It appears in this answer and nowhere else.' }),
    keyId: z.string(),
    name: z.string(),
    permissions: z.array(z.string()),
    rateLimit: z.int(),
    ...LimitsSchema.shape,
    label: z.string().optional(),
    justification: z.string().optional(),
    expiresAt: time.optional(),
    createdAt: time,
  })
  .meta({
    id: 'CreatedKey',
    examples: [{ status: 'success', apiKey: `ck_live_${'0'.repeat(49)}`, ...GRANTED }],
  })

const WindowSchema = z.object({
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
    spentToday: z.record(z.string(), z.string()).meta({
      description: 'By input token, of the tokens that have a daily amount.',
    }),
    rateLimit: z.int(),
    windows: z.array(WindowSchema),
    expiresAt: time
      .optional()
      .meta({ description: 'When the key ends, or the secret that was sent.' }),
    createdAt: time,
  })
  .meta({ id: 'Me' })

export const RotatedKeySchema = z
  .object({
    status: z.literal('success'),
    apiKey: z
      .string()
      .meta({ description: 'The new secret. It appears in this answer and nowhere else.' }),
    keyId: z.string(),
    previousUntil: time.meta({
      description: 'Until then the secret before this one works as well.',
    }),
  })
  .meta({ id: 'RotatedKey' })

export const RevokedAllResponse = z.object({
  status: z.literal('success'),
  keyIds: z.array(z.string()),
  cancelledOrders: z.int(),
})

export const KeyResponse = z.object({ status: z.literal('success'), apiKey: KeySchema })
export const KeyListResponse = z.object({
  status: z.literal('success'),
  apiKeys: z.array(KeySchema),
})
export const RevokedResponse = z.object({ status: z.literal('success'), message: z.string() })

/** The wire and the noun say the same, or this does not compile. */
type Same<A, B> = [A, B] extends [B, A] ? true : never
type Loose<T> = { [Name in keyof T]: T[Name] }
true satisfies Same<Loose<z.output<typeof KeySchema>>['usageStats'], Key['usageStats']>
true satisfies Same<keyof z.output<typeof KeySchema>, keyof Key>
true satisfies Same<keyof z.output<typeof CreatedKeySchema>, keyof CreatedKey>
true satisfies Same<keyof z.output<typeof RotatedKeySchema>, keyof RotatedKey>
