import { describe, expect, it } from 'vitest'
import { trustProxies } from '../../src/node/proxies.ts'

describe('The address of a client', () => {
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

  it('is whom the last trusted proxy heard from, not what that client wrote before', () => {
    const addressOf = trustProxies(['10.0.0.0/8', '192.0.2.1'])
    expect(addressOf('10.0.0.1', '203.0.113.9')).toBe('203.0.113.9')
    expect(addressOf('10.0.0.1', '127.0.0.1, 203.0.113.9')).toBe('203.0.113.9')
    expect(addressOf('10.0.0.1', '10.9.9.9, 203.0.113.9')).toBe('203.0.113.9')
    expect(addressOf('10.0.0.1', '1.1.1.1, 203.0.113.9, 192.0.2.1')).toBe('203.0.113.9')
    expect(addressOf('10.0.0.1', '1.1.1.1,203.0.113.9 ,\t10.2.3.4')).toBe('203.0.113.9')
  })

  it('is the outermost trusted proxy when all that is said is trusted', () => {
    const addressOf = trustProxies(['10.0.0.0/8'])
    expect(addressOf('10.0.0.1', '10.0.0.3, 10.0.0.2')).toBe('10.0.0.3')
    expect(addressOf('10.0.0.1', undefined)).toBe('10.0.0.1')
  })

  it.each([
    'unknown',
    '_hidden',
    '203.0.113.9:1234',
    '[2001:db8::1]',
    'ck_live_x',
    '',
    '1.1.1.1, ',
  ])('is the proxy when the proxy says %j, which is no address', (header) => {
    expect(trustProxies(['10.0.0.0/8'])('10.0.0.1', header)).toBe('10.0.0.1')
  })

  it('is read in IPv6 too, and in IPv4 written as IPv6', () => {
    const addressOf = trustProxies(['2001:db8::/32', '10.0.0.0/8', '::1'])
    expect(addressOf('2001:db8::1', '2001:db9::9')).toBe('2001:db9::9')
    expect(addressOf('::1', '203.0.113.9')).toBe('203.0.113.9')
    expect(addressOf('::ffff:10.0.0.1', '::ffff:203.0.113.9')).toBe('203.0.113.9')
    expect(addressOf('::FFFF:198.51.100.7', undefined)).toBe('198.51.100.7')
    expect(addressOf('2001:db9::9', '203.0.113.9')).toBe('2001:db9::9')
  })

  it('is nothing to trust when the connection has none', () => {
    expect(trustProxies(['0.0.0.0/0'])('', '203.0.113.9')).toBe('')
  })
})
