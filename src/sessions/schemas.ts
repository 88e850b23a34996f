import * as z from 'zod'
import { AuditHeadSchema, actionSchema } from '../actions/schemas.ts'
import { type CreatedSession, MAX_SESSION_SECONDS } from './session.ts'

export const CreateSession = actionSchema(
  'create_session',
  {
    ttlSeconds: z.int().min(1).max(MAX_SESSION_SECONDS),
    auditHead: AuditHeadSchema.optional(),
  },
  { ttlSeconds: 3_600 },
)

export const CreatedSessionSchema = z
  .object({
    status: z.literal('success'),
    session: z.string().meta({
      description: 'Sent as Authorization: Bearer cs_... No other response has it.',
    }),
    walletAddress: z.string(),
    expiresAt: z.iso.datetime(),
    auditHead: AuditHeadSchema,
  })
  .meta({ id: 'CreatedSession' })

export const EndedSessionResponse = z.object({ status: z.literal('success'), message: z.string() })

type Same<A, B> = [A, B] extends [B, A] ? true : never
true satisfies Same<keyof z.output<typeof CreatedSessionSchema>, keyof CreatedSession>
