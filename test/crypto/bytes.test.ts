import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromHex, sha256, toBase62, toHex } from '../../src/crypto/bytes.ts'

describe('Bytes', () => {
  it('are written as hexadecimal and read back', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(toHex(bytes)).toBe(Buffer.from(bytes).toString('hex'))
        expect(fromHex(toHex(bytes))).toEqual(bytes)
        expect(fromHex(toHex(bytes).toUpperCase())).toEqual(bytes)
      }),
    )
  })

  it.each([255, 256, 257, 12_000])('are written alike, also %i of them', (length) => {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 31) & 255)
    expect(toHex(bytes)).toBe(Buffer.from(bytes).toString('hex'))
  })

  it('are hashed as SHA-256; a text as its UTF-8', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (text) => {
        const digest = createHash('sha256').update(text).digest('hex')
        expect(toHex(sha256(text))).toBe(digest)
        expect(toHex(sha256(new TextEncoder().encode(text)))).toBe(digest)
      }),
    )
  })

  it('are written as base62 of a fixed length', () => {
    expect(toBase62(new Uint8Array(4), 6)).toBe('000000')
    expect(toBase62(Uint8Array.of(61), 2)).toBe('0z')
    expect(toBase62(Uint8Array.of(62), 2)).toBe('10')
    expect(toBase62(new Uint8Array(4).fill(255), 6)).toBe('4gfFC3')
    expect(toBase62(new Uint8Array(32).fill(255), 43)).toHaveLength(43)
  })
})
