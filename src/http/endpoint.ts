import type { z } from 'zod'
import type { RefusalReason } from '../errors.ts'
import type { AppContext } from './context.ts'

/** Accepted credentials: none, a wallet's signed message, a session, an API key, or a service credential with an API key that it presents. */
export type Credential = 'none' | 'wallet' | 'session' | 'key' | 'service'

/** What is told of an endpoint that will go: docs/api.md promises how long it stays. */
export interface Deprecation {
  /** ISO 8601: from when on it should not be used any more. */
  since: string
  /** ISO 8601: from when on it may be gone. */
  sunset?: string
  /** Where what to use in its place is described. */
  see: string
}

/** One operation of the API. The router and the OpenAPI document are both made from it. */
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
  /** `byKey` is what a key sends in place of a signed message. */
  body?: { schema: z.ZodType; byKey?: z.ZodType; optional?: boolean }
  /** The messages that a wallet may sign for it. */
  messages?: readonly z.ZodType[]
  /** Responses by status: JSON, or a stream of events with JSON data; no body where there is no schema. */
  responses: Readonly<
    Record<number, { description: string; schema?: z.ZodType; contentType?: 'text/event-stream' }>
  >
  /** Headers that its successes have beside those of all, with what they say. */
  responseHeaders?: Readonly<Record<string, string>>
  refusals: readonly RefusalReason[]
  /** Whether a success may be read from a replica, and then names its lag. */
  mayLag?: true
  deprecation?: Deprecation
  handle(c: AppContext): Response | Promise<Response>
}

/** Converts `/orders/{uuid}` to Hono's `/orders/:uuid`. */
export function honoPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1')
}
