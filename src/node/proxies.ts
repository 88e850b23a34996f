import type { HttpBindings } from '@hono/node-server'
import { type AppContext, headerOf } from '../http/context.ts'
import { limitKey } from '../http/ip-limits.ts'
import type { Log } from '../log.ts'
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
    if (forwardedFor === undefined) return canonicalAddress(connection)
    let client = connection
    const header = forwardedFor.trim()
    const reported = header === '' ? [] : header.split(',')
    while (reported.length > 0 && isTrusted(client)) client = reported.pop()?.trim() ?? ''
    return canonicalAddress(client)
  }
}

/** Whether the connection of a request to a Node server is of a trusted proxy. */
export function proxyReader(trusted: readonly string[]): (c: AppContext) => boolean {
  const isTrusted = inRanges(trusted)
  return (c) => isTrusted((c.env as HttpBindings).incoming.socket.remoteAddress ?? '')
}

/** Headers by which proxies report a client. Only the first is read. */
const FORWARDED_HEADERS = [
  'x-forwarded-for',
  'forwarded',
  'x-real-ip',
  'true-client-ip',
  'cf-connecting-ip',
]
/** Peers that are warned of. A client can send such headers too: it must not fill the log or the memory. */
const MAX_WARNED = 100

/**
 * Reads the client address of requests to a Node server. Logs once for each peer that reports clients and is not believed: all of
 * its clients share one address, and with it their limits.
 */
export function addressReader(trusted: readonly string[], log: Log): (c: AppContext) => string {
  const clientAddress = trustProxies(trusted)
  const isTrusted = inRanges(trusted)
  const warned = new Set<string>()

  function warn(peer: string, header: string): void {
    const network = limitKey(canonicalAddress(peer))
    if (warned.has(network) || warned.size >= MAX_WARNED) return
    warned.add(network)
    const reason = isTrusted(peer) ? 'header_not_read' : 'peer_not_trusted'
    log('warn', 'forwarded_header_ignored', { network, header, reason })
  }

  return (c) => {
    const peer = (c.env as HttpBindings).incoming.socket.remoteAddress ?? ''
    const forwardedFor = headerOf(c, 'x-forwarded-for')
    const isRead = forwardedFor !== undefined && isTrusted(peer)
    const ignored = isRead
      ? undefined
      : FORWARDED_HEADERS.find((name) => headerOf(c, name) !== undefined)
    if (ignored !== undefined) warn(peer, ignored)
    return clientAddress(peer, forwardedFor)
  }
}
