import { type AppContext, headerOf } from '../context.ts'

/** The token of an `Authorization: Bearer` header (RFC 6750); undefined for other schemes. */
export function bearerOf(c: AppContext): string | undefined {
  const header = headerOf(c, 'authorization')
  return header === undefined ? undefined : /^Bearer +(\S+)$/i.exec(header)?.[1]
}
