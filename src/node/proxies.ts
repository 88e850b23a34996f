import {
  canonicalAddress,
  formatIp,
  type IpRange,
  parseHostAddress,
  parseIpRange,
  rangeContains,
  UNKNOWN_ADDRESS,
} from '../wire/ip.ts'

/** Returns the address that a request came from: the connection's, or the one that trusted proxies report. */
export type ClientAddress = (connection: string, forwardedFor: string | undefined) => string

/**
 * Believes X-Forwarded-For only from the given addresses and ranges. The header is read from the right: each proxy
 * appends the address it received the request from, and the left end is written by the client.
 */
export function trustProxies(trusted: readonly string[]): ClientAddress {
  const ranges = trusted
    .map((text) => parseIpRange(text))
    .filter((range): range is IpRange => range !== undefined)

  return function clientAddress(connection, forwardedFor) {
    if (forwardedFor === undefined || ranges.length === 0) return canonicalAddress(connection)
    let client = parseHostAddress(connection)
    const header = forwardedFor.trim()
    const reported = header === '' ? [] : header.split(',')
    while (client !== undefined && reported.length > 0) {
      const proxy = client
      if (!ranges.some((range) => rangeContains(range, proxy))) break
      client = parseHostAddress(reported.pop()?.trim() ?? '')
    }
    return client === undefined ? UNKNOWN_ADDRESS : formatIp(client)
  }
}
