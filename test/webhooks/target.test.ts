import { describe, expect, it } from 'vitest'
import type { Network } from '../../src/stacks/network.ts'
import { allowedAddresses, isPublicAddress, readTarget } from '../../src/webhooks/target.ts'

const refusalOf = (url: string, network: Network = 'mainnet') => {
  const read = readTarget(url, network)
  return read.ok ? undefined : read.reason
}

describe("a webhook's address", () => {
  it.each([
    ['https://bot.example/hook?a=1'],
    ['https://bot.example:8443/'],
    ['https://8.8.8.8/'],
    ['https://[2606:4700::1111]/'],
    ['https://xn--bcher-kva.example/'],
  ])('may be %s', (url) => {
    expect(refusalOf(url)).toBeUndefined()
  })

  it.each([
    ['http://bot.example/', 'not_https'],
    ['ftp://bot.example/', 'not_https'],
    ['file:///etc/passwd', 'malformed'],
    ['javascript:alert(1)', 'malformed'],
    ['gopher://bot.example/', 'not_https'],
    ['https://user@bot.example/', 'has_credentials'],
    ['https://user:password@bot.example/', 'has_credentials'],
    ['https://:password@bot.example/', 'has_credentials'],
    ['https://bot.example/#a', 'has_fragment'],
    ['https://bot.example/#', 'has_fragment'],
    ['https://bot.example:22/', 'port_not_allowed'],
    ['https://bot.example:80/', 'port_not_allowed'],
    ['https://bot.example:6667/', 'port_not_allowed'],
    ['https://bot.example:0/', 'port_not_allowed'],
    ['https://', 'malformed'],
    ['bot.example', 'malformed'],
    ['https://bot.example/ ', 'malformed'],
    ['https://bot.example/\r\nHost: a', 'malformed'],
    ['https://bücher.example/', 'malformed'],
    [`https://bot.example/${'a'.repeat(2_048)}`, 'malformed'],
  ])('is refused as %s', (url, reason) => {
    expect(refusalOf(url)).toBe(reason)
  })

  it.each([
    'http://127.0.0.1:9000/',
    'http://localhost:9000/',
    'http://[::1]:9000/',
  ])('may be plain to this machine on a devnet, and nowhere else: %s', (url) => {
    expect(refusalOf(url, 'devnet')).toBeUndefined()
    expect(refusalOf(url, 'testnet')).toBe('not_https')
    expect(refusalOf(url, 'mainnet')).toBe('not_https')
  })

  it('is not plain to another machine on a devnet either', () => {
    for (const host of ['10.0.0.1', '169.254.169.254', 'bot.example', '[fd00::1]'])
      expect(refusalOf(`http://${host}/`, 'devnet')).toBe('not_https')
  })
})

/** An address of each range, at its ends where they are neighbours of public ones. */
const NOT_PUBLIC: Readonly<Record<string, string[]>> = {
  'this network': ['0.0.0.0', '0.255.255.255'],
  private: [
    '10.0.0.0',
    '10.255.255.255',
    '172.16.0.0',
    '172.31.255.255',
    '192.168.0.0',
    '192.168.255.255',
  ],
  'of a carrier': ['100.64.0.0', '100.127.255.255', '100.100.100.200'],
  loopback: ['127.0.0.1', '127.255.255.255', '::1'],
  'link-local and metadata': [
    '169.254.0.0',
    '169.254.169.254',
    '169.254.255.255',
    'fe80::1',
    '168.63.129.16',
    '192.0.0.192',
    'fd00:ec2::254',
  ],
  documentation: ['192.0.2.1', '198.51.100.1', '203.0.113.1', '2001:db8::1', '3fff::1'],
  'of benchmarks': ['198.18.0.0', '198.19.255.255', '2001:2::1'],
  multicast: ['224.0.0.1', '239.255.255.255', 'ff02::1'],
  'reserved and broadcast': ['240.0.0.0', '255.255.255.255', '4000::1', '::', '100::1'],
  'of a site': ['fc00::1', 'fdff::1', 'fec0::1'],
  'IPv4 in IPv6': [
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:10.0.0.1',
    '::ffff:169.254.169.254',
    '::127.0.0.1',
    '64:ff9b::7f00:1',
    '64:ff9b:1::7f00:1',
    '2002:7f00:1::',
    '2001:0:7f00:1::',
  ],
  'no address': [
    '',
    'localhost',
    '127.1',
    '0x7f.0.0.1',
    '2130706433',
    '1.2.3',
    '1.2.3.4.5',
    'fe80::1%eth0',
  ],
}

describe('an address that is looked up', () => {
  it.each(Object.entries(NOT_PUBLIC))('is not public where it is %s', (_, addresses) => {
    expect(addresses.filter(isPublicAddress)).toEqual([])
  })

  it('is public beside these ranges', () => {
    const neighbours = [
      '1.0.0.0',
      '9.255.255.255',
      '11.0.0.0',
      '100.63.255.255',
      '100.128.0.0',
      '126.255.255.255',
      '128.0.0.0',
      '169.253.255.255',
      '169.255.0.0',
      '172.15.255.255',
      '172.32.0.0',
      '192.167.255.255',
      '192.169.0.0',
      '198.17.255.255',
      '198.20.0.0',
      '223.255.255.255',
      '2001:200::1',
      '2606:4700::1111',
      '2a00::1',
      '::ffff:8.8.8.8',
    ]
    expect(neighbours.filter((one) => !isPublicAddress(one))).toEqual([])
  })

  it('however a URL writes it, is the one that is judged', () => {
    for (const host of [
      '127.1',
      '0x7f.1',
      '2130706433',
      '0177.0.0.1',
      '[::ffff:127.0.0.1]',
      '[::ffff:7f00:1]',
      '127.0.0.1.',
    ]) {
      const read = readTarget(`https://${host}/`, 'mainnet')
      const allowed = read.ok ? allowedAddresses(read.value, [read.value.host]) : read
      expect([host, allowed.ok]).toEqual([host, false])
    }
  })

  it('is refused with every other one of its name', () => {
    const read = readTarget('https://bot.example/', 'mainnet')
    if (!read.ok) throw new Error(read.reason)
    const judge = (addresses: string[]) => {
      const allowed = allowedAddresses(read.value, addresses)
      return allowed.ok ? 'allowed' : allowed.reason
    }
    expect(judge(['8.8.8.8', '2606:4700::1111'])).toBe('allowed')
    expect(judge(['8.8.8.8', '10.0.0.1'])).toBe('private_address')
    expect(judge([])).toBe('name_not_found')
  })
})
