import { type AppContext, headerOf, stateOf } from './context.ts'

/** The request that a proxy asks about: what its client sent, as far as the proxy says so. */
export interface ForwardedRequest {
  method: string
  /** Host and port. */
  authority: string | undefined
  path: string
  /** With its question mark; empty where there is none. */
  query: string
}

const METHOD = /^[A-Z]{1,32}$/
const AUTHORITY = /^[\w.:[\]-]{1,255}$/
/** Of printable ASCII, as it is on the wire; absolute in the header of ingress-nginx. */
const TARGET =
  /^(?:https?:\/\/[^/?#]+)?(\/[\x21-\x22\x24-\x3e\x40-\x7e]*)(\?[\x21-\x22\x24-\x7e]*)?$/
const MAX_TARGET_LENGTH = 8_192

/**
 * Reads the request that a proxy asks about: X-Forwarded-Method, -Uri and -Host, which Caddy and Traefik send, or X-Original-Method and
 * -URI or -URL, as is usual behind nginx. Undefined where the connection is not of a trusted proxy, or does not say it.
 */
export function readForwarded(c: AppContext): ForwardedRequest | undefined {
  if (!stateOf(c).isFromProxy(c)) return undefined
  const header = (...names: readonly string[]) =>
    names.map((name) => headerOf(c, name)).find((value) => value !== undefined)
  const method = header('x-forwarded-method', 'x-original-method') ?? ''
  const target = header('x-forwarded-uri', 'x-original-uri', 'x-original-url') ?? ''
  const host = header('x-forwarded-host', 'x-original-host') ?? ''
  const [, path, query = ''] = target.length > MAX_TARGET_LENGTH ? [] : (TARGET.exec(target) ?? [])
  if (!METHOD.test(method) || path === undefined) return undefined
  return { method, authority: AUTHORITY.test(host) ? host : undefined, path, query }
}
