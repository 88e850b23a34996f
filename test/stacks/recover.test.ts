import { createHash } from 'node:crypto'
import { hexToBytes } from '@stacks/common'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { nobleRecover, parseSignature } from '../../src/stacks/recover.ts'
import { hostile } from '../support/hostile-values.ts'
import { signedFixture, toHighS, toVrs, withRecovery } from './wallets.ts'

const { signature: SIGNATURE } = signedFixture()
const R = SIGNATURE.slice(0, 64)
const S = SIGNATURE.slice(64, 128)
const ZERO = '00'.repeat(32)
const N = 'fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141'
const N_LESS_1 = `${N.slice(0, -1)}0`
const HALF = '7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0'
const HALF_PLUS_1 = `${HALF.slice(0, -1)}1`
const MAX = 'ff'.repeat(32)

function orders(text: unknown) {
  const parsed = parseSignature(text)
  return parsed.ok ? parsed.value.map(({ order }) => order) : parsed.reason
}

describe('the form of a signature', () => {
  // The first and last bytes of these name one order only.
  test('is RSV or VRS', () => {
    expect(orders(SIGNATURE)).toEqual(['RSV'])
    expect(orders(toVrs(SIGNATURE))).toEqual(['VRS'])
  })

  test('may have 0x and any letter case', () => {
    for (const text of [
      `0x${SIGNATURE}`,
      SIGNATURE.toUpperCase(),
      `0x${SIGNATURE.toUpperCase()}`,
      `0X${SIGNATURE}`,
    ]) {
      expect(parseSignature(text)).toEqual(parseSignature(SIGNATURE))
    }
  })

  test('has two readings when both ends look like a recovery id', () => {
    expect(orders(`01${R.slice(2)}${S}01`)).toEqual(['RSV', 'VRS'])
  })

  const inRange: [r: string, s: string][] = [
    [N_LESS_1, S],
    [R, HALF],
    [`${'00'.repeat(31)}01`, S],
    [R, `${'00'.repeat(31)}01`],
  ]
  for (const [r, s] of inRange) {
    test(`accepts r ${r.slice(0, 8)}.. and s ${s.slice(0, 8)}..${s.slice(-2)}`, () => {
      expect(orders(`${r}${s}01`)).toContain('RSV')
      expect(orders(`01${r}${s}`)).toContain('VRS')
    })
  }

  const refused: [why: string, text: unknown, reason: string][] = [
    ['r = n', `${N}${S}00`, 'out_of_range'],
    ['r above n', `${MAX}${S}00`, 'out_of_range'],
    ['s = 0', `${R}${ZERO}01`, 'out_of_range'],
    ['s = n', `${R}${N}00`, 'out_of_range'],
    ['s above n', `${R}${MAX}00`, 'out_of_range'],
    ['r = 0 in VRS', `01${ZERO}${S}`, 'out_of_range'],
    ['s half the order and one', `${R}${HALF_PLUS_1}00`, 'high_s'],
    ['s = n - 1', `${R}${N_LESS_1}00`, 'high_s'],
    ['high-S twin', toHighS(SIGNATURE), 'high_s'],
    ['high-S twin in VRS', toVrs(toHighS(SIGNATURE)), 'high_s'],
    ['recovery id 4', withRecovery(SIGNATURE, '04'), 'recovery_id_out_of_range'],
    ['V = 27, Ethereum style', withRecovery(SIGNATURE, '1b'), 'recovery_id_out_of_range'],
    ['V = 28, Ethereum style', withRecovery(SIGNATURE, '1c'), 'recovery_id_out_of_range'],
    ['V = 31, Bitcoin style', withRecovery(SIGNATURE, '1f'), 'recovery_id_out_of_range'],
    ['V = 27 in VRS', toVrs(withRecovery(SIGNATURE, '1b')), 'recovery_id_out_of_range'],
    ['64 bytes', SIGNATURE.slice(0, 128), 'malformed'],
    ['66 bytes', `${SIGNATURE}00`, 'malformed'],
    ['zero padding between r and s', `${R}00${S}00`, 'malformed'],
    ['half a byte short', SIGNATURE.slice(1), 'malformed'],
    ['V = zz', withRecovery(SIGNATURE, 'zz'), 'malformed'],
    ['a space before', ` ${SIGNATURE}`, 'malformed'],
    ['a line break after', `${SIGNATURE}\n`, 'malformed'],
    ['0x twice', `0x0x${SIGNATURE}`, 'malformed'],
    [
      'full-width digits',
      SIGNATURE.replace(/[0-9]/g, (d) => String.fromCharCode(0xff10 + +d)),
      'malformed',
    ],
    ['base64', Buffer.from(SIGNATURE, 'hex').toString('base64'), 'malformed'],
    ['DER', `3044022${R.slice(1)}0220${S}`, 'malformed'],
    ['nothing', '', 'malformed'],
    ['a megabyte of zeros', '0'.repeat(2 ** 20), 'malformed'],
    ['bytes', hexToBytes(SIGNATURE), 'malformed'],
    ['a number', 1, 'malformed'],
    ['null', null, 'malformed'],
  ]
  for (const [why, text, reason] of refused) {
    test(`is refused for ${why}: ${reason}`, () => {
      expect(orders(text)).toBe(reason)
    })
  }

  test('never throws', () => {
    fc.assert(fc.property(hostile, (text) => !parseSignature(text).ok))
  })
})

describe('the portable engine', () => {
  test('recovers some key for about half of all noise, so that recovering proves nothing', () => {
    const runs = 200
    let recovered = 0
    for (let i = 0; i < runs; i++) {
      const noise = createHash('sha512').update(`noise ${i}`).digest()
      const key = nobleRecover(new Uint8Array(32).fill(7), new Uint8Array(noise), i % 2)
      if (key === undefined) continue
      recovered++
      expect(key).toHaveLength(33)
    }
    expect(recovered / runs).toBeGreaterThan(0.35)
    expect(recovered / runs).toBeLessThan(0.65)
  })

  test('answers undefined, not an exception, for what no key fits', () => {
    expect(nobleRecover(new Uint8Array(32), new Uint8Array(64), 0)).toBeUndefined()
    expect(nobleRecover(new Uint8Array(32), new Uint8Array(64).fill(255), 3)).toBeUndefined()
    expect(nobleRecover(new Uint8Array(32), new Uint8Array(3), 9)).toBeUndefined()
  })
})
