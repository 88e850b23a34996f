import * as z from 'zod'
import { integerParameter } from '../wire/query.ts'
import { type KeyUsage, USAGE_DAYS, type WalletUsage } from './usage.ts'

const days = integerParameter({ minimum: 1, maximum: USAGE_DAYS, byDefault: 30 })

export const UsageQuery = z.strictObject({ by: z.enum(['hour', 'day']).default('day'), days })
export const WalletUsageQuery = z.strictObject({ days })

const time = z.iso.datetime()
const SightingSchema = z.object({
  value: z.string(),
  requests: z.int(),
  firstSeenAt: time,
  lastSeenAt: time,
})

export const UsageResponse = z
  .object({
    status: z.literal('success'),
    keyId: z.string(),
    by: z.enum(['hour', 'day']),
    usage: z.array(
      z.object({
        start: time,
        requests: z.int(),
        outcomes: z.record(z.string(), z.int()),
      }),
    ),
    averageExecutionMs: z.int().optional(),
    ips: z.array(SightingSchema),
    userAgents: z.array(SightingSchema),
    rotation: z
      .object({
        previousUntil: time,
        newSecretUsedAt: time.optional(),
        previousSecretUsedAt: time.optional(),
      })
      .optional()
      .meta({
        description: 'While the grace of a rotation lasts: when each secret was last used.',
      }),
    spentToday: z.record(z.string(), z.string()),
  })
  .meta({ id: 'Usage' })

export const WalletUsageResponse = z
  .object({
    status: z.literal('success'),
    keys: z.array(
      z.object({
        keyId: z.string(),
        days: z.array(z.object({ start: time, requests: z.int(), refused: z.int() })),
        lastAddress: z.string().optional(),
      }),
    ),
  })
  .meta({ id: 'WalletUsage' })

type Same<A, B> = [A, B] extends [B, A] ? true : never
true satisfies Same<keyof z.output<typeof UsageResponse>, keyof KeyUsage>
true satisfies Same<keyof z.output<typeof WalletUsageResponse>, keyof WalletUsage>
