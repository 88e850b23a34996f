import { createHash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toBase62 } from '../../src/crypto/bytes.ts'
import { hashSecret, makeSecret, parseSecret, previewOf } from '../../src/keys/secret.ts'

const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 })

describe('A token', () => {
  it('is the prefix, 43 characters for 256 bits and 6 for their CRC-32', () => {
    expect(makeSecret('ck_live_', new Uint8Array(32))).toBe(
      `ck_live_${'0'.repeat(43)}${checksum(`ck_live_${'0'.repeat(43)}`)}`,
    )
    fc.assert(
      fc.property(bytes32, (random) => {
        const token = makeSecret('ck_live_', random)
        expect(token).toMatch(/^ck_live_[0-9A-Za-z]{49}$/)
        expect(token.slice(-6)).toBe(checksum(token.slice(0, -6)))
        expect(numberOf(token.slice(8, -6))).toBe(
          BigInt(`0x${Buffer.from(random).toString('hex')}`),
        )
        expect(parseSecret('ck_live_', token)).toBe(token)
      }),
    )
  })

  it('differs for different random bits', () => {
    fc.assert(
      fc.property(bytes32, bytes32, (one, other) => {
        fc.pre(Buffer.compare(one, other) !== 0)
        expect(makeSecret('ck_live_', one)).not.toBe(makeSecret('ck_live_', other))
      }),
    )
  })

  it('is not one with any change of one or two neighbouring characters', () => {
    const token = makeSecret('ck_live_', randomBytes(32))
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
    const token = makeSecret('ck_live_', randomBytes(32))
    expect(parseSecret('ck_test_', token)).toBeUndefined()
    expect(parseSecret('ck_', token)).toBeUndefined()
    expect(parseSecret('', token)).toBeUndefined()
    expect(parseSecret('my_own_', makeSecret('my_own_', randomBytes(32)))).toBeDefined()
  })

  it('is known by SHA-256 of the whole of it', () => {
    const token = makeSecret('ck_live_', randomBytes(32))
    expect(hashSecret(token)).toBe(createHash('sha256').update(token).digest('hex'))
  })

  it('shows too little in its preview to be guessed from it', () => {
    const token = makeSecret('ck_live_', randomBytes(32))
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
