import { parseHostAddress, parseIpRange, rangeContains } from './ip.ts'

/**
 * Returns a base address with a path and a query at its end. The base's own path and query stay as they are: they may be a
 * credential of a hosted node. An empty path leaves the base's path untouched.
 */
export function extendUrl(
  base: string,
  path: string,
  query: Readonly<Record<string, string>> = {},
): string {
  const url = new URL(base)
  const [pathname = '', pathQuery = ''] = path.split('?')
  if (pathname !== '') url.pathname = url.pathname.replace(/\/+$/, '') + pathname
  url.search = [url.search.slice(1), pathQuery, String(new URLSearchParams(query))]
    .filter((part) => part !== '')
    .join('&')
  return url.href
}

/** Returns what of an address may be shown: its path and its query may be a credential, as those of hosted nodes are. */
export function originOf(address: string): string {
  return URL.parse(address)?.origin ?? ''
}

/** Names that no public resolver has. */
const PRIVATE_NAMES = /(^|\.)(localhost|local|internal|lan|svc|home\.arpa)$/
const PRIVATE_RANGES = [
  '127.0.0.0/8',
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '169.254.0.0/16',
  '100.64.0.0/10',
  '::1/128',
  'fc00::/7',
  'fe80::/10',
].flatMap((range) => parseIpRange(range) ?? [])

/** Whether an address is http:// and leaves the machine's own network, by its host's name or IP address. */
export function isPublicHttp(address: string): boolean {
  const { protocol, hostname = '' } = URL.parse(address) ?? {}
  if (protocol !== 'http:') return false
  const ip = parseHostAddress(hostname)
  if (ip !== undefined) return !PRIVATE_RANGES.some((range) => rangeContains(range, ip))
  return hostname.includes('.') && !PRIVATE_NAMES.test(hostname)
}
