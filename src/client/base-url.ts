import { type LatchkeyError, latchkeyError } from './errors.ts'

/**
 * Returns the root of the API, without a slash at its end. Throws `INVALID_ARGUMENT` for what would send a key in the clear to
 * another machine.
 */
export function apiRoot(baseUrl: string | URL, allowInsecure: boolean): string {
  const url = parse(baseUrl)
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw invalid('baseUrl must be an address only, without credentials, query or fragment')
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw invalid('baseUrl must begin with https://')
  if (url.protocol === 'http:' && !allowInsecure && !isLoopback(url.hostname))
    throw invalid(
      `baseUrl http://${url.host} would send keys and signatures unencrypted; use https://, or pass allowInsecure: true if the network between is yours`,
    )
  const path = url.pathname.replace(/\/+$/, '').replace(/\/api\/v1$/, '')
  return `${url.origin}${path}/api/v1`
}

function parse(baseUrl: string | URL): URL {
  if (URL.canParse(baseUrl)) return new URL(baseUrl)
  throw invalid('baseUrl must be an absolute URL, such as https://dex.example')
}

/**
 * Returns whether a host name of a URL is this machine: `http:` is accepted there, and a devnet's own routers are trusted.
 *
 * @example
 * ```ts
 * import { isLoopback } from 'latchkey/client'
 *
 * console.log(isLoopback(new URL('http://127.0.0.1:8787').hostname)) // true
 * ```
 */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|.+\.localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname)
}

function invalid(error: string): LatchkeyError {
  return latchkeyError('INVALID_ARGUMENT', error)
}
