import { describe, expect, it } from 'vitest'
import type { AppContext } from '../../src/http/context.ts'
import { openLog } from '../../src/log.ts'
import { addressReader, trustProxies } from '../../src/node/proxies.ts'

describe('the client address', () => {
  it('is the connection when no proxy is trusted, whatever the request says', () => {
    const addressOf = trustProxies([])
    for (const header of [undefined, '', '203.0.113.9', '127.0.0.1', '203.0.113.9, 10.0.0.1'])
      expect(addressOf('198.51.100.7', header)).toBe('198.51.100.7')
  })

  it('is the connection when that is no trusted proxy', () => {
    const addressOf = trustProxies(['10.0.0.0/8'])
    expect(addressOf('198.51.100.7', '203.0.113.9')).toBe('198.51.100.7')
    expect(addressOf('11.0.0.1', '203.0.113.9')).toBe('11.0.0.1')
  })

  it('is what the last trusted proxy reports, not what the client wrote before', () => {
    const addressOf = trustProxies(['10.0.0.0/8', '192.0.2.1'])
    expect(addressOf('10.0.0.1', '203.0.113.9')).toBe('203.0.113.9')
    expect(addressOf('10.0.0.1', '127.0.0.1, 203.0.113.9')).toBe('203.0.113.9')
    expect(addressOf('10.0.0.1', '10.9.9.9, 203.0.113.9')).toBe('203.0.113.9')
    expect(addressOf('10.0.0.1', '1.1.1.1, 203.0.113.9, 192.0.2.1')).toBe('203.0.113.9')
    expect(addressOf('10.0.0.1', '1.1.1.1,203.0.113.9 ,\t10.2.3.4')).toBe('203.0.113.9')
  })

  it('is the outermost trusted proxy when all that is reported is trusted', () => {
    const addressOf = trustProxies(['10.0.0.0/8'])
    expect(addressOf('10.0.0.1', '10.0.0.3, 10.0.0.2')).toBe('10.0.0.3')
    expect(addressOf('10.0.0.1', undefined)).toBe('10.0.0.1')
    expect(addressOf('10.0.0.1', '')).toBe('10.0.0.1')
  })

  it.each([
    'unknown',
    '_hidden',
    '203.0.113.9:',
    '203.0.113.9:123456',
    'ck_live_x',
    '1.1.1.1, ',
  ])('is unknown, and not the trusted proxy, when a proxy reports %j', (header) => {
    expect(trustProxies(['10.0.0.0/8'])('10.0.0.1', header)).toBe('unknown')
  })

  it.each([
    ['198.51.100.9:4711, 10.0.0.7', '198.51.100.9'],
    ['[2001:db8::1]', '2001:db8::1'],
    ['[2001:db8::1]:443', '2001:db8::1'],
    ['2001:0DB8:0::1', '2001:db8::1'],
    ['fe80::1%eth0', 'fe80::1'],
    ['::ffff:203.0.113.9', '203.0.113.9'],
    ['[::ffff:203.0.113.9]:80', '203.0.113.9'],
  ])('is read with a port, brackets or a zone: %s', (header, address) => {
    expect(trustProxies(['10.0.0.0/8'])('10.0.0.1', header)).toBe(address)
  })

  it('is read in IPv6 too, and in IPv4 written as IPv6', () => {
    const addressOf = trustProxies(['2001:db8::/32', '10.0.0.0/8', '::1'])
    expect(addressOf('2001:db8::1', '2001:db9::9')).toBe('2001:db9::9')
    expect(addressOf('::1', '203.0.113.9')).toBe('203.0.113.9')
    expect(addressOf('::ffff:10.0.0.1', '::ffff:203.0.113.9')).toBe('203.0.113.9')
    expect(addressOf('::FFFF:198.51.100.7', undefined)).toBe('198.51.100.7')
    expect(addressOf('2001:db9::9', '203.0.113.9')).toBe('2001:db9::9')
    expect(trustProxies(['::ffff:10.0.0.0/104'])('10.0.0.1', '203.0.113.9')).toBe('203.0.113.9')
  })

  it('is unknown, and trusts nothing, when the connection has none', () => {
    expect(trustProxies(['0.0.0.0/0'])('', '203.0.113.9')).toBe('unknown')
  })
})

describe('A forwarded header that is not believed', () => {
  /** As much of a request as the reader of addresses looks at. */
  const request = (remoteAddress: string, headers: Record<string, string>) =>
    ({
      env: { incoming: { socket: { remoteAddress }, headers } },
      req: { header: (name: string) => headers[name] },
    }) as unknown as AppContext
  function open(trusted: string[]) {
    const logged: Record<string, unknown>[] = []
    const log = openLog('info', (line) => logged.push(JSON.parse(line)), Date.now)
    return { addressOf: addressReader(trusted, log), logged }
  }

  it('is logged once for each peer, with what to trust', () => {
    const { addressOf, logged } = open([])
    for (let time = 0; time < 5; time++)
      for (const peer of ['::ffff:10.0.0.1', '10.0.0.1', '10.0.0.2', '2001:db8::1', '2001:db8::2'])
        addressOf(request(peer, { 'x-forwarded-for': '192.0.2.1' }))
    expect(logged.map(({ event, network, reason }) => [event, network, reason])).toEqual(
      ['10.0.0.1/32', '10.0.0.2/32', '2001:db8::/64'].map((network) => [
        'forwarded_header_ignored',
        network,
        'peer_not_trusted',
      ]),
    )
  })

  it.each([
    'forwarded',
    'x-real-ip',
    'true-client-ip',
    'cf-connecting-ip',
  ])('is logged also when it is %s, which is not read from a trusted peer either', (header) => {
    const { addressOf, logged } = open(['10.0.0.0/8'])
    expect(addressOf(request('10.0.0.1', { [header]: '192.0.2.1' }))).toBe('10.0.0.1')
    expect(logged).toMatchObject([{ header, reason: 'header_not_read' }])
  })

  it('fills neither the log nor the memory when many peers send it', () => {
    const { addressOf, logged } = open([])
    for (let at = 0; at < 10_000; at++)
      addressOf(request(`10.0.${at >> 8}.${at & 255}`, { 'x-forwarded-for': '192.0.2.1' }))
    expect(logged).toHaveLength(100)
  })

  it('is no matter where there is none, or where the peer is trusted', () => {
    const { addressOf, logged } = open(['10.0.0.0/8'])
    addressOf(request('198.51.100.7', {}))
    expect(
      addressOf(request('10.0.0.1', { 'x-forwarded-for': '192.0.2.1', 'x-real-ip': '1' })),
    ).toBe('192.0.2.1')
    expect(logged).toEqual([])
  })
})
