import { ok, type Result, refuse } from '../result.ts'
import type { Network } from '../stacks/network.ts'
import { parseIp, parseIpRange, rangeContains } from '../wire/ip.ts'
import { MAX_URL_LENGTH } from './webhook.ts'

/*
 * Where a webhook may lead. The service sends from inside of its operator's network: an address there, or one of the machine's own, would
 * let any wallet reach what only the operator should (server-side request forgery, OWASP API7).
 */

/** Why a webhook's address is refused. */
export type TargetProblem =
  | 'malformed'
  | 'not_https'
  | 'has_credentials'
  | 'has_fragment'
  | 'port_not_allowed'
  | 'private_address'
  | 'name_not_found'

export interface Target {
  url: URL
  /** A name or an address, without brackets. */
  host: string
  port: number
  /** On a devnet alone: http:// to this machine, where a receiver is tried out. */
  isLocal: boolean
}

/** Addresses that are not of the public internet: the special-purpose registries of IANA (RFC 6890), and metadata of clouds. */
const NOT_PUBLIC_V4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  // Also the metadata of most clouds, 169.254.169.254.
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // Azure's wire server, which is within a public range.
  '168.63.129.16/32',
].flatMap((range) => parseIpRange(range) ?? [])
/** The rest is private, link-local, multicast, NAT64 or not allocated. */
const PUBLIC_V6 = parseIpRange('2000::/3')
/** Within it: protocols that carry an IPv4 address, documentation, and benchmarks. */
const NOT_PUBLIC_V6 = [
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
  '2620:4f:8000::/48',
].flatMap((range) => parseIpRange(range) ?? [])
const LOOPBACK = ['127.0.0.0/8', '::1/128'].flatMap((range) => parseIpRange(range) ?? [])

/** Whether an address is one of the public internet. An IPv4 address in IPv6 is the IPv4 address; text that is none is not. */
export function isPublicAddress(text: string): boolean {
  const ip = parseIp(text)
  if (ip === undefined) return false
  const isIn = (ranges: typeof NOT_PUBLIC_V4) => ranges.some((range) => rangeContains(range, ip))
  if (ip.length === 4) return !isIn(NOT_PUBLIC_V4)
  return PUBLIC_V6 !== undefined && rangeContains(PUBLIC_V6, ip) && !isIn(NOT_PUBLIC_V6)
}

function isLoopbackAddress(text: string): boolean {
  const ip = parseIp(text)
  return ip !== undefined && LOOPBACK.some((range) => rangeContains(range, ip))
}

const HTTPS_PORT = 443
/** Ports of the system below are of other protocols, which a request could be smuggled to. */
const FIRST_FREE_PORT = 1_024
/** Above them, those that Fetch (s2.9) refuses for the same reason. */
const OTHER_PROTOCOLS = new Set([
  1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669,
  6679, 6697, 10080,
])

/** Reads a webhook's address, without looking its name up. */
export function readTarget(text: string, network: Network): Result<Target, TargetProblem> {
  if (text.length > MAX_URL_LENGTH || !/^[\x21-\x7e]+$/.test(text)) return refuse('malformed')
  const url = URL.parse(text)
  if (url === null || url.hostname === '') return refuse('malformed')
  if (url.username !== '' || url.password !== '') return refuse('has_credentials')
  if (text.includes('#')) return refuse('has_fragment')
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  const isLocal = network === 'devnet' && url.protocol === 'http:' && isLocalHost(host)
  if (url.protocol !== 'https:' && !isLocal) return refuse('not_https')
  const port = Number(url.port || (isLocal ? 80 : HTTPS_PORT))
  if (!isLocal && port !== HTTPS_PORT && (port < FIRST_FREE_PORT || OTHER_PROTOCOLS.has(port)))
    return refuse('port_not_allowed')
  return ok({ url, host, port, isLocal })
}

function isLocalHost(host: string): boolean {
  return host === 'localhost' || isLoopbackAddress(host)
}

/**
 * The addresses that a target may be reached at; all that its name has are checked, because the caller connects to any of them. A name with
 * one private address is refused: which one a connection takes is no decision of the service.
 */
export function allowedAddresses(
  { isLocal }: Target,
  addresses: readonly string[],
): Result<readonly string[], TargetProblem> {
  if (addresses.length === 0) return refuse('name_not_found')
  const isAllowed = isLocal ? isLoopbackAddress : isPublicAddress
  return addresses.every(isAllowed) ? ok(addresses) : refuse('private_address')
}
