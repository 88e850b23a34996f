import type { AppContext } from '../context.ts'

/** The token of an `Authorization: Bearer` header (RFC 6750); undefined for other schemes. */
export function bearerOf(c: AppContext): string | undefined {
  return /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '')?.[1]
}
