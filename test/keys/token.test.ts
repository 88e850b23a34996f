import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toBase62 } from '../../src/crypto/bytes.ts'
import { SHARDS } from '../../src/db/shard.ts'
import {
  hashSecret,
  makeSecret,
  parseSecret,
  previewOf,
  type Secret,
  shardOf,
} from '../../src/keys/secret.ts'
import { oldSecret, unknownSecret } from '../support/secrets.ts'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const shard = fc.integer({ min: 0, max: SHARDS - 1 })
const bytes29 = fc.uint8Array({ minLength: 29, maxLength: 29 })
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })

describe('A token', () => {
  it('is the prefix, 4 characters for the shard, 39 for 232 bits and 6 for their CRC-32', () => {
    fc.assert(
      fc.property(shard, bytes29, (of, random) => {
        const token = makeSecret('ck_live_', of, random)
        expect(token).toMatch(/^ck_live_[0-9A-Za-z]{49}$/)
        expect(token.slice(-6)).toBe(checksum(token.slice(0, -6)))
        expect(numberOf(token.slice(8, 12))).toBe(62n ** 4n - BigInt(SHARDS - of))
        expect(numberOf(token.slice(12, -6))).toBe(
          BigInt(`0x${Buffer.from(random).toString('hex')}`),
        )
        expect(parseSecret('ck_live_', token)).toBe(token)
        expect(shardOf('ck_live_', token)).toBe(of)
      }),
    )
    expect(62n ** 39n).toBeGreaterThan(2n ** 232n)
  })

  it('of a release before shards is one, and names no shard, whatever its bits are', () => {
    const most = new Uint8Array(32).fill(255)
    for (const random of [most, new Uint8Array(32)]) expectOld(oldSecret('ck_live_', random))
    fc.assert(fc.property(bytes32, (random) => expectOld(oldSecret('ck_live_', random))))
  })

  const expectOld = (token: string) => {
    expect(parseSecret('ck_live_', token)).toBe(token)
    expect(shardOf('ck_live_', token as Secret)).toBeUndefined()
  }

  it('differs for different random bits', () => {
    fc.assert(
      fc.property(shard, bytes29, bytes29, (of, one, other) => {
        fc.pre(Buffer.compare(one, other) !== 0)
        expect(makeSecret('ck_live_', of, one)).not.toBe(makeSecret('ck_live_', of, other))
      }),
    )
  })

  it('is not one with any change of one or two neighbouring characters', () => {
    const token = unknownSecret()
    const characters = [...ALPHABET, '_', '-', ' ', 'é']
    for (let at = 0; at < token.length; at++) {
      for (const character of characters)
        if (character !== token[at])
          expect(
            parseSecret('ck_live_', token.slice(0, at) + character + token.slice(at + 1)),
          ).toBeUndefined()
      const swapped = `${token.slice(0, at)}${token[at + 1] ?? ''}${token[at]}${token.slice(at + 2)}`
      if (swapped !== token) expect(parseSecret('ck_live_', swapped)).toBeUndefined()
    }
  })

  it('is of one prefix only', () => {
    const token = unknownSecret()
    expect(parseSecret('ck_test_', token)).toBeUndefined()
    expect(parseSecret('ck_', token)).toBeUndefined()
    expect(parseSecret('', token)).toBeUndefined()
    expect(parseSecret('my_own_', unknownSecret('my_own_'))).toBeDefined()
  })

  it('is known by SHA-256 of the whole of it', () => {
    const token = unknownSecret()
    expect(hashSecret(token)).toBe(createHash('sha256').update(token).digest('hex'))
  })

  it('shows too little in its preview to be guessed from it', () => {
    const token = unknownSecret()
    expect(previewOf('ck_live_', token)).toBe(`${token.slice(0, 12)}...${token.slice(-4)}`)
  })
})

function checksum(text: string): string {
  const crc = Buffer.alloc(4)
  crc.writeUInt32BE(crc32(text))
  return toBase62(crc, 6)
}

function numberOf(base62: string): bigint {
  return [...base62].reduce((sum, digit) => sum * 62n + BigInt(ALPHABET.indexOf(digit)), 0n)
}
