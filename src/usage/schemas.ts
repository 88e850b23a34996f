import * as z from 'zod'
import { type KeyUsage, USAGE_DAYS } from './usage.ts'

export const UsageQuery = z.strictObject({
  by: z.enum(['hour', 'day']).default('day'),
  days: z
    .string()
    .regex(/^([1-9]|[1-8][0-9]|90)$/, `must be a whole number from 1 to ${USAGE_DAYS}`)
    .default('30')
    .transform(Number),
})

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
  })
  .meta({ id: 'Usage' })

type Same<A, B> = [A, B] extends [B, A] ? true : never
true satisfies Same<keyof z.output<typeof UsageResponse>, keyof KeyUsage>
