import {
  canonicalAddress,
  type IpRange,
  parseHostAddress,
  parseIpRange,
  rangeContains,
} from '../wire/ip.ts'

/** Returns the address that a request came from: the connection's, or the one that trusted proxies report. */
export type ClientAddress = (connection: string, forwardedFor: string | undefined) => string

/** Returns whether one of the addresses and CIDR ranges contains an address. What cannot be read is contained in none. */
export function inRanges(texts: readonly string[]): (address: string) => boolean {
  const ranges = texts
    .map((text) => parseIpRange(text))
    .filter((range): range is IpRange => range !== undefined)
  return (address) => {
    const ip = parseHostAddress(address)
    return ip !== undefined && ranges.some((range) => rangeContains(range, ip))
  }
}

/**
 * Believes X-Forwarded-For only from the given addresses and ranges. The header is read from the right: each proxy
 * appends the address it received the request from, and the left end is written by the client.
 */
export function trustProxies(trusted: readonly string[]): ClientAddress {
  const isTrusted = inRanges(trusted)

  return function clientAddress(connection, forwardedFor) {
    let client = connection
    const header = forwardedFor?.trim() ?? ''
    const reported = header === '' ? [] : header.split(',')
    while (reported.length > 0 && isTrusted(client)) client = reported.pop()?.trim() ?? ''
    return canonicalAddress(client)
  }
}
