import { memoize } from '../memoize.ts'

/*
 * The one reader of IP addresses: for client addresses, allow lists, trusted proxies and limits. An IPv4 address that is
 * written as IPv4-mapped IPv6 (::ffff:a.b.c.d, RFC 4291 s2.5.5.2) is the IPv4 address.
 */

/** An IP address: 4 or 16 bytes. */
export type Ip = readonly number[]

/** An address range: an address whose bits beyond the prefix are zero. */
export interface IpRange {
  ip: Ip
  prefix: number
}

const V4_BITS = 32
const MAPPED_BITS = 96

/** Parses an IPv4 or IPv6 address literal. Undefined for anything else, zones and ports among it. */
export function parseIp(text: string): Ip | undefined {
  const bytes = text.includes(':') ? bytesOfV6(text) : bytesOfV4(text)
  return bytes === undefined ? undefined : unmapped(bytes)
}

/**
 * Parses an address as proxies and sockets write it: also in brackets, with a port, or with a zone (RFC 4007 s11), which
 * names an interface of the machine that wrote it and is dropped.
 */
export function parseHostAddress(text: string): Ip | undefined {
  const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(text)?.[1]
  const host = bracketed ?? (/^[^:]*:\d{1,5}$/.test(text) ? text.slice(0, text.indexOf(':')) : text)
  return parseIp(host.replace(/%[\w.-]+$/, ''))
}

/** What stands for a client address that cannot be read: it matches no allow list and no trusted range. */
export const UNKNOWN_ADDRESS = 'unknown'

/** The canonical text of an address as proxies and sockets write it, or `UNKNOWN_ADDRESS`. */
export function canonicalAddress(text: string): string {
  return canonical(text) ?? UNKNOWN_ADDRESS
}

const MAX_MEMOIZED = 10_000
const canonical = memoize(MAX_MEMOIZED, (text) => {
  const ip = parseHostAddress(text)
  return ip === undefined ? undefined : formatIp(ip)
})

/** Parses an address or a CIDR range. Undefined for anything else, and for a range with bits beyond its prefix. */
export function parseIpRange(text: string): IpRange | undefined {
  const [address = '', prefixText, ...more] = text.split('/')
  if (more.length > 0) return undefined
  const bytes = address.includes(':') ? bytesOfV6(address) : bytesOfV4(address)
  if (bytes === undefined) return undefined
  const width = bytes.length * 8
  if (prefixText !== undefined && !/^(0|[1-9][0-9]{0,2})$/.test(prefixText)) return undefined
  const prefix = prefixText === undefined ? width : Number(prefixText)
  if (prefix > width || !bytes.every((byte, at) => (byte & maskOf(prefix - at * 8)) === byte))
    return undefined
  const ip = prefix >= MAPPED_BITS ? unmapped(bytes) : bytes
  return { ip, prefix: ip.length === bytes.length ? prefix : prefix - MAPPED_BITS }
}

/** Whether a range contains an address of its own family. */
export function rangeContains({ ip: network, prefix }: IpRange, ip: Ip): boolean {
  return (
    network.length === ip.length &&
    network.every((byte, at) => byte === ((ip[at] ?? 0) & maskOf(prefix - at * 8)))
  )
}

/** 64:ff9b::/96 (RFC 6052 s2.1), by which a NAT64 in front of the service writes IPv4 clients. */
const NAT64: IpRange = { ip: [0, 0x64, 0xff, 0x9b, ...Array<number>(12).fill(0)], prefix: 96 }

/**
 * The networks around an address, narrowest first. The first is what one client is assumed to hold: an address in IPv4, a
 * /64 in IPv6. A NAT64 address is one IPv4 client; the /64 around it would be all of them. It is counted like that only: a
 * range of IPv4 does not contain it, because any host on the network path may be the translator.
 */
export function networksAround(ip: Ip): IpRange[] {
  const prefixes =
    ip.length * 8 === V4_BITS
      ? [32, 24, 16]
      : rangeContains(NAT64, ip)
        ? [128, 120, 112]
        : [64, 48, 32, 20]
  return prefixes.map((prefix) => ({
    ip: ip.map((byte, at) => byte & maskOf(prefix - at * 8)),
    prefix,
  }))
}

/** Writes an address canonically (RFC 5952): equal addresses are equal texts. */
export function formatIp(ip: Ip): string {
  if (ip.length * 8 === V4_BITS) return ip.join('.')
  const groups = Array.from({ length: 8 }, (_, at) =>
    (((ip[2 * at] ?? 0) << 8) | (ip[2 * at + 1] ?? 0)).toString(16),
  )
  const zeros = longestZeros(groups)
  if (zeros === undefined) return groups.join(':')
  return `${groups.slice(0, zeros.start).join(':')}::${groups.slice(zeros.end).join(':')}`
}

/** Writes a range canonically, its prefix always included. */
export function formatIpRange({ ip, prefix }: IpRange): string {
  return `${formatIp(ip)}/${prefix}`
}

/** The canonical text of a range; other text as it is. Equal ranges have equal canonical texts. */
export function canonicalIpRange(text: string): string {
  const range = parseIpRange(text)
  return range === undefined ? text : formatIpRange(range)
}

/** The first of the longest runs of at least two zero groups. */
function longestZeros(groups: readonly string[]): { start: number; end: number } | undefined {
  let longest: { start: number; end: number } | undefined
  for (let start = 0; start < groups.length; start++) {
    let end = start
    while (groups[end] === '0') end++
    if (end - start > Math.max(1, longest === undefined ? 0 : longest.end - longest.start))
      longest = { start, end }
  }
  return longest
}

function maskOf(bits: number): number {
  if (bits >= 8) return 0xff
  return bits <= 0 ? 0 : (0xff << (8 - bits)) & 0xff
}

function unmapped(bytes: Ip): Ip {
  const isMapped =
    bytes.length === 16 && bytes.slice(0, 12).every((byte, at) => byte === (at < 10 ? 0 : 0xff))
  return isMapped ? bytes.slice(12) : bytes
}

function bytesOfV4(text: string): number[] | undefined {
  const parts = text.split('.')
  const isWhole = parts.length === 4 && parts.every((part) => /^(0|[1-9][0-9]{0,2})$/.test(part))
  const bytes = parts.map(Number)
  return isWhole && bytes.every((byte) => byte <= 255) ? bytes : undefined
}

function bytesOfV6(text: string): number[] | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map((half, at) => groupsOf(half, at === halves.length - 1))
  if (head === undefined) return undefined
  if (halves.length === 1) return head.length === 16 ? head : undefined
  if (tail === undefined || head.length + tail.length > 14) return undefined
  return [...head, ...Array<number>(16 - head.length - tail.length).fill(0), ...tail]
}

/** The bytes of groups between colons; the last of an address may be written as IPv4. */
function groupsOf(text: string, isLast: boolean): number[] | undefined {
  if (text === '') return []
  const bytes: number[] = []
  const groups = text.split(':')
  for (const [at, group] of groups.entries()) {
    const dotted =
      group.includes('.') && isLast && at === groups.length - 1 ? bytesOfV4(group) : undefined
    if (dotted !== undefined) bytes.push(...dotted)
    else if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const value = Number.parseInt(group, 16)
      bytes.push(value >> 8, value & 0xff)
    } else return undefined
  }
  return bytes
}
