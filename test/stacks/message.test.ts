import { createHash } from 'node:crypto'
import { hashMessage } from '@stacks/encryption'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isSignable, messageHash } from '../../src/stacks/message.ts'
import { addressOf, signMessage } from '../../src/stacks/sign.ts'
import { verifyMessage } from '../../src/stacks/signature.ts'
import { privateKeyOf } from './wallets.ts'

// Written a second time, from the specification: a bug shared with stacks.js would not show
// otherwise.
function specified(message: string): Uint8Array {
  const utf8 = Buffer.from(message, 'utf8')
  const length = Buffer.alloc(9)
  let lengthBytes = 1
  if (utf8.length < 0xfd) length.writeUInt8(utf8.length)
  else if (utf8.length <= 0xffff) {
    length.writeUInt8(0xfd)
    length.writeUInt16LE(utf8.length, 1)
    lengthBytes = 3
  } else {
    length.writeUInt8(0xfe)
    length.writeUInt32LE(utf8.length, 1)
    lengthBytes = 5
  }
  const digest = createHash('sha256')
    .update('\x17Stacks Signed Message:\n')
    .update(length.subarray(0, lengthBytes))
    .update(utf8)
    .digest()
  return new Uint8Array(digest)
}

describe('the hash of a message', () => {
  for (const bytes of [0, 1, 252, 253, 254, 255, 256, 65_535, 65_536, 65_537]) {
    test(`writes the length of ${bytes} bytes as CompactSize does`, () => {
      expect(messageHash('x'.repeat(bytes))).toEqual(specified('x'.repeat(bytes)))
    })
  }

  for (const bytes of [252, 253, 65_535, 65_536]) {
    test(`a signed message of ${bytes} bytes verifies`, () => {
      const privateKey = privateKeyOf('long')
      const message = 'x'.repeat(bytes)
      const claim = {
        message,
        signature: signMessage({ message, privateKey }),
        walletAddress: addressOf(privateKey, 'mainnet'),
        network: 'mainnet',
      } as const
      expect(verifyMessage(claim).ok).toBe(true)
      expect(verifyMessage({ ...claim, message: `${message}x` }).ok).toBe(false)
    })
  }

  test('counts the bytes of a message, not its characters', () => {
    for (const message of ['é'.repeat(126), 'é'.repeat(127), '🔑'.repeat(63), '🔑'.repeat(64)]) {
      expect(messageHash(message)).toEqual(specified(message))
    }
  })

  test('keeps a byte order mark, zeros, and unnormalised text as they are', () => {
    for (const message of ['\ufeff{}', '\0', 'e\u0301', '\u00e9', '\r\n', '\u2028']) {
      expect(messageHash(message)).toEqual(specified(message))
    }
    expect(messageHash('e\u0301')).not.toEqual(messageHash('\u00e9'))
  })

  test('is as specified for any well-formed text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 600 }), (message) => {
        expect(messageHash(message)).toEqual(specified(message))
      }),
    )
  })

  test('tells signable texts from lone surrogates, which all hash as U+FFFD', () => {
    expect(hashMessage('\ud800')).toEqual(hashMessage('\udfff'))
    for (const message of ['\ud800', '\udfff', 'a\udd11\ud83d', '🔑'.slice(1)]) {
      expect(isSignable(message)).toBe(false)
    }
    for (const message of ['', 'a', '🔑', '\ufffd']) expect(isSignable(message)).toBe(true)
    for (const message of [undefined, null, 1, {}, new Uint8Array(32)]) {
      expect(isSignable(message)).toBe(false)
    }
  })
})
