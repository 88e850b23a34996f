import type { AppContext } from '../context.ts'

/** The token of an `Authorization: Bearer` header (RFC 6750); undefined for other schemes. */
export function bearerOf(c: AppContext): string | undefined {
  const header = c.req.header('authorization')
  return header === undefined ? undefined : /^Bearer +(\S+)$/i.exec(header)?.[1]
}
