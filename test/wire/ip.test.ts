import { describe, expect, it } from 'vitest'
import {
  canonicalAddress,
  canonicalIpRange,
  parseHostAddress,
  parseIpRange,
  rangeContains,
} from '../../src/wire/ip.ts'

function contains(range: string, address: string): boolean | undefined {
  const [parsed, ip] = [parseIpRange(range), parseHostAddress(address)]
  return parsed === undefined || ip === undefined ? undefined : rangeContains(parsed, ip)
}

describe('An IP address', () => {
  it.each([
    [
      '192.0.2.7',
      ['192.0.2.7:443', '::ffff:192.0.2.7', '::FFFF:c000:207', '[::ffff:192.0.2.7]:80'],
    ],
    [
      '2001:db8::1',
      [
        '2001:DB8:0:0::1',
        '[2001:db8::1]',
        '[2001:db8::1]:443',
        '2001:db8::1%eth0',
        '2001:0db8::0.0.0.1',
      ],
    ],
    ['64:ff9b::c000:207', ['64:ff9b::192.0.2.7']],
  ])('is one in all of its spellings: %s', (address, spellings) => {
    for (const spelling of [address, ...spellings])
      expect(canonicalAddress(spelling), spelling).toBe(address)
  })

  it.each([
    '',
    'unknown',
    '192.0.2',
    '192.0.2.07',
    '192.0.2.256',
    '0x7f.1',
    '2130706433',
    '192.0.2.7:',
    '192.0.2.7:port',
    '[192.0.2.7',
    '2001:db8:::1',
    '1:2:3:4:5:6:7:8:9',
    '::1::',
    '192.0.2.7, 10.0.0.1',
    '192.0.2.7\n',
  ])('is none when it cannot be read: %j', (text) => {
    expect(canonicalAddress(text)).toBe('unknown')
    expect(contains('0.0.0.0/0', text)).toBeUndefined()
  })

  it.each([
    ['::ffff:127.0.0.1', '127.0.0.1', true],
    ['::ffff:127.0.0.0/104', '127.9.9.9', true],
    ['::ffff:127.0.0.0/104', '128.0.0.1', false],
    ['::ffff:0:0/96', '198.51.100.1', true],
    ['127.0.0.0/8', '::ffff:127.0.0.1', true],
    ['::/0', '192.0.2.7', false],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['192.0.2.0/24', '64:ff9b::192.0.2.7', false],
  ])('in %s: %s is %j', (range, address, expected) => {
    expect(contains(range, address)).toBe(expected)
  })

  it('of one range has one text', () => {
    expect(canonicalIpRange('::ffff:127.0.0.0/104')).toBe('127.0.0.0/8')
    expect(canonicalIpRange('2001:DB8::/32')).toBe('2001:db8::/32')
    for (const text of ['10.0.0.1/8', '10.0.0.0/33', '10.0.0.0/08', 'fe80::1%eth0', '10.0.0.0:80'])
      expect(parseIpRange(text), text).toBeUndefined()
  })
})
