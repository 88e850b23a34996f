import type { Result } from '../result.ts'
import { ok, refuse } from '../result.ts'

/*
 * What a signed request signs (RFC 9421 s2.5). The file has no parser and no database: the SDK signs with it, and the service verifies
 * with it.
 */

/** The tag of signatures that are for this service. Others, as those of crawlers and proxies, are not read. */
export const SIGNATURE_TAG = 'latchkey'
/** How old a signature may be, unless the grant of its key says less. */
export const MAX_SIGNATURE_AGE_SECONDS = 300
/** How far a signer's clock may be ahead. */
export const MAX_SIGNATURE_FUTURE_SECONDS = 60

/** What every signature covers. */
export const REQUIRED_COMPONENTS = ['@method', '@authority', '@path', '@query'] as const
/** What the signature of a request with a body covers besides. */
export const BODY_COMPONENT = 'content-digest'
/** The parameters that every signature has. */
export const REQUIRED_PARAMETERS = ['created', 'nonce', 'keyid', 'tag'] as const

/** How a request is signed: by a private key of Ed25519, or by the secret of a key. */
export type SignatureAlgorithm = 'ed25519' | 'hmac-sha256'

/** The parts of a request that a signature may cover. */
export interface RequestTarget {
  /** Upper case. */
  method: string
  /** The host as its clients write it, in lower case, with its port where that is not the default one. */
  authority: string
  /** As it is sent, without the query. */
  path: string
  /** Begins with `?`, also where there is none. */
  query: string
}

const DERIVED: Readonly<Record<string, (target: RequestTarget) => string>> = {
  '@method': ({ method }) => method,
  '@authority': ({ authority }) => authority,
  '@path': ({ path }) => path,
  '@query': ({ query }) => query,
}

/** Path and query of an absolute URL, as they are written in it. */
export function targetOfUrl(url: string): Pick<RequestTarget, 'path' | 'query'> {
  const begin = url.indexOf('/', url.indexOf('://') + 3)
  const rest = (begin < 0 ? '/' : url.slice(begin)).split('#', 1)[0] as string
  const at = rest.indexOf('?')
  return at < 0
    ? { path: rest, query: '?' }
    : { path: rest.slice(0, at) || '/', query: rest.slice(at) }
}

/** Line breaks and what is not ASCII: RFC 9421 s2.1 has no bytes for them that both sides agree on. */
const OTHER_THAN_ASCII = /[^\t\x20-\x7e]/

/**
 * The text that is signed: a line for each component, and the line of the parameters, which are given as they were serialized. Refused
 * where a component is not of the request, or has no value that a line can hold.
 */
export function signatureBase(
  components: readonly string[],
  parameters: string,
  target: RequestTarget,
  header: (name: string) => string | undefined,
): Result<string, 'componentMissing'> {
  const lines: string[] = []
  for (const name of components) {
    const value = name.startsWith('@') ? DERIVED[name]?.(target) : header(name)?.trim()
    if (value === undefined || OTHER_THAN_ASCII.test(value))
      return refuse('componentMissing', { component: name })
    lines.push(`"${name}": ${value}`)
  }
  lines.push(`"@signature-params": ${parameters}`)
  return ok(lines.join('\n'))
}
