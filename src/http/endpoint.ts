import type { z } from 'zod'
import type { RefusalReason } from '../errors.ts'
import type { AppContext } from './context.ts'

/** Who may call: anyone, a wallet with a signed message, a page with its session, or a bot with a key of the given scope. */
export type Credential = 'none' | 'wallet' | 'session' | 'key'

/** One call of the API: what the router mounts and what /openapi.json says, from the same object. */
export interface Endpoint {
  method: 'get' | 'post' | 'patch' | 'delete'
  /** Under /api/v1, parameters in braces: `/orders/{uuid}`. */
  path: string
  operationId: string
  summary: string
  description?: string
  /** Any one of these. */
  credentials: readonly Credential[]
  params?: z.ZodObject
  query?: z.ZodObject
  headers?: z.ZodObject
  body?: { schema: z.ZodType; optional?: boolean }
  /** The messages that a wallet may sign for it. */
  messages?: readonly z.ZodType[]
  /** What it answers: JSON, or a stream of events with JSON as their data; nothing where there is no schema. */
  answers: Readonly<
    Record<number, { description: string; schema?: z.ZodType; contentType?: 'text/event-stream' }>
  >
  refusals: readonly RefusalReason[]
  handle(c: AppContext): Response | Promise<Response>
}

/** A path as Hono spells it. */
export function honoPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1')
}
