import * as z from 'zod'
import { actionSchema } from '../actions/schemas.ts'
import type { CreatedKey, Key } from './key.ts'
import { SCOPES } from './scope.ts'

/** Control characters, line separators and the marks that reorder text on a screen. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]/u

export const KeyName = z
  .string()
  .min(1, 'must not be empty')
  .refine((name) => [...name].length <= 64, 'must be 64 characters or fewer')
  .refine((name) => name.trim() === name, 'must not begin or end with white space')
  .refine((name) => !UNPRINTABLE.test(name), 'must not have control characters')

export const Permissions = z
  .array(z.enum(SCOPES))
  .refine((scopes) => new Set(scopes).size === scopes.length, 'must not name a permission twice')

export const KeyId = z.string().regex(/^key_[0-9A-Za-z]{1,40}$/, 'must look like key_123abc')

/** ISO 8601 with a zone, or milliseconds since 1970. */
const Expiry = z.union([z.iso.datetime({ offset: true }), z.int().positive()])

export const CreateApiKey = actionSchema('create_api_key', {
  keyName: KeyName,
  permissions: Permissions,
  expiresAt: Expiry.optional(),
})
export type KeyGrant = z.output<typeof CreateApiKey>
export const ListApiKeys = actionSchema('list_api_keys', {})
export const GetApiKey = actionSchema('get_api_key', { keyId: KeyId })
export const DeleteApiKey = actionSchema('delete_api_key', { keyId: KeyId })

export const KeyParams = z.object({ keyId: KeyId })

const time = z.iso.datetime()

const GRANTED = {
  keyId: 'key_4Yc1xQ7mB2',
  name: 'My Trading Bot',
  permissions: [...SCOPES],
  rateLimit: 100,
  createdAt: '2026-11-21T10:00:00.000Z',
}

export const KeySchema = z
  .object({
    id: z.string(),
    keyId: z.string(),
    name: z.string(),
    keyPreview: z.string(),
    walletAddress: z.string(),
    permissions: z.array(z.enum(SCOPES)),
    rateLimit: z.int(),
    status: z.enum(['active', 'suspended', 'revoked', 'expired']),
    createdAt: time,
    lastUsedAt: time.optional(),
    expiresAt: time.optional(),
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
    permissions: z.array(z.enum(SCOPES)),
    rateLimit: z.int(),
    expiresAt: time.optional(),
    createdAt: time,
  })
  .meta({
    id: 'CreatedKey',
    examples: [{ status: 'success', apiKey: `ck_live_${'0'.repeat(49)}`, ...GRANTED }],
  })

export const KeyAnswer = z.object({ status: z.literal('success'), apiKey: KeySchema })
export const KeyListAnswer = z.object({ status: z.literal('success'), apiKeys: z.array(KeySchema) })
export const RevokedAnswer = z.object({ status: z.literal('success'), message: z.string() })

/** The wire and the noun say the same, or this does not compile. */
type Same<A, B> = [A, B] extends [B, A] ? true : never
type Loose<T> = { [Name in keyof T]: T[Name] }
true satisfies Same<Loose<z.output<typeof KeySchema>>['usageStats'], Key['usageStats']>
true satisfies Same<keyof z.output<typeof KeySchema>, keyof Key>
true satisfies Same<keyof z.output<typeof CreatedKeySchema>, keyof CreatedKey>
