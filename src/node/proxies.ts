import { BlockList, isIP } from 'node:net'

/** Finds the address a request came from: the connection's, or what trusted proxies say of it. */
export type ClientAddress = (connection: string, forwardedFor: string | undefined) => string

/**
 * Believes X-Forwarded-For only from the given addresses and ranges. The header is read from the right: each proxy
 * appends whom it heard from, and the left end is written by whoever sent the request.
 */
export function trustProxies(trusted: readonly string[]): ClientAddress {
  const list = new BlockList()
  for (const range of trusted) {
    const [address = '', prefix] = range.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (prefix === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(prefix), family)
  }
  const isTrusted = (address: string) =>
    isIP(address) !== 0 && list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')

  return function clientAddress(connection, forwardedFor) {
    if (forwardedFor === undefined) return unmapped(connection)
    const heard = forwardedFor.split(',').map((address) => unmapped(address.trim()))
    let client = unmapped(connection)
    while (isTrusted(client)) {
      const before = heard.pop()
      if (before === undefined || isIP(before) === 0) break
      client = before
    }
    return client
  }
}

/** An IPv4 client on a dual-stack socket appears as ::ffff:1.2.3.4. */
function unmapped(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')
}
