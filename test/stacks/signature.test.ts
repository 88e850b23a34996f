import { bytesToHex, hexToBytes } from '@stacks/common'
import { hashMessage, verifyMessageSignatureRsv } from '@stacks/encryption'
import { signMessageHashRsv, uncompressPublicKey } from '@stacks/transactions'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressOfPublicKey } from '../../src/stacks/address.ts'
import { messageHash } from '../../src/stacks/message.ts'
import { nobleRecover, parseSignature, type Recover } from '../../src/stacks/recover.ts'
import { addressOf, publicKeyOf, signMessage } from '../../src/stacks/sign.ts'
import { type MessageClaim, verifyMessage } from '../../src/stacks/signature.ts'
import { hostile } from '../support/hostile-values.ts'
import { flipBit, privateKeyOf, signedFixture, toHighS, toVrs, withRecovery } from './wallets.ts'

const PRIVATE_KEY = privateKeyOf('alice')
const PUBLIC_KEY = publicKeyOf(PRIVATE_KEY)
const FIXTURE = signedFixture('alice')

const accepted = { ok: true, value: { publicKey: PUBLIC_KEY } }

function reason(changes: { [Member in keyof MessageClaim]?: unknown }) {
  const proof = verifyMessage({ ...FIXTURE, ...changes } as MessageClaim)
  return proof.ok ? 'ok' : proof.reason
}

describe('a signed message', () => {
  test('proves which key signed it', () => {
    expect(verifyMessage(FIXTURE)).toEqual(accepted)
  })

  test('proves it for the same key on every network', () => {
    for (const network of ['mainnet', 'testnet', 'devnet'] as const) {
      const walletAddress = addressOf(PRIVATE_KEY, network)
      expect(verifyMessage({ ...FIXTURE, network, walletAddress })).toEqual(accepted)
    }
  })

  test('is accepted in VRS order, with 0x, and in upper case', () => {
    const vrs = toVrs(FIXTURE.signature)
    for (const signature of [vrs, `0x${vrs}`, vrs.toUpperCase(), `0x${FIXTURE.signature}`]) {
      expect(verifyMessage({ ...FIXTURE, signature })).toEqual(accepted)
    }
  })

  test('is accepted in either order when its bytes can be read as both', () => {
    for (let i = 0, found = 0; found < 2; i++) {
      const message = `ambiguous ${i}`
      const signature = signMessage({ message, privateKey: PRIVATE_KEY })
      const vrs = toVrs(signature)
      const readings = [signature, vrs].map((text) => parseSignature(text))
      if (!readings.some((parsed) => parsed.ok && parsed.value.length === 2)) continue
      found++
      expect(verifyMessage({ ...FIXTURE, message, signature })).toEqual(accepted)
      expect(verifyMessage({ ...FIXTURE, message, signature: vrs })).toEqual(accepted)
    }
  })

  test('is accepted for the address of the uncompressed key', () => {
    const walletAddress = addressOf(PRIVATE_KEY.slice(0, 64), 'mainnet')
    expect(walletAddress).not.toBe(FIXTURE.walletAddress)
    expect(verifyMessage({ ...FIXTURE, walletAddress })).toEqual(accepted)
  })

  test('is accepted for an address shorter than 41 characters', () => {
    const seen = new Set<number>()
    for (let i = 0; seen.size < 2; i++) {
      const fixture = signedFixture(`short ${i}`)
      const { length } = fixture.walletAddress
      if (length === 41 || seen.has(length)) continue
      seen.add(length)
      expect(verifyMessage(fixture).ok).toBe(true)
    }
  })

  test('is accepted with multi-byte characters and characters beyond the BMP', () => {
    for (const message of ['señor', 'łódź', '鍵', '🔑', '👩‍👩‍👧', '\u{10ffff}', '\0', '\ufeff{}']) {
      const signature = signMessage({ message, privateKey: PRIVATE_KEY })
      expect(verifyMessage({ ...FIXTURE, message, signature })).toEqual(accepted)
    }
  })

  test('is accepted with recovery ids 2 and 3, where r stands for r + n', () => {
    let found = 0
    for (let r = 1; found < 2; r++) {
      const rsv = `${r.toString(16).padStart(64, '0')}${'11'.repeat(32)}0${2 + (found % 2)}`
      const compact = hexToBytes(rsv.slice(0, 128))
      const key = nobleRecover(messageHash(FIXTURE.message), compact, 2 + (found % 2))
      if (key === undefined) continue
      found++
      const walletAddress = addressOfPublicKey(bytesToHex(key), 'mainnet')
      expect(reason({ signature: rsv, walletAddress })).toBe('ok')
    }
  })

  test('is refused when another wallet signed it', () => {
    const signature = signMessage({ message: FIXTURE.message, privateKey: privateKeyOf('mallory') })
    expect(reason({ signature })).toBe('another_wallet')
    expect(reason({ walletAddress: signedFixture('mallory').walletAddress })).toBe('another_wallet')
  })

  test('is refused when it was signed for another message', () => {
    expect(reason({ message: `${FIXTURE.message} ` })).toBe('another_wallet')
    expect(reason({ message: '' })).toBe('another_wallet')
  })

  test('is refused for an address of another network, whoever signed', () => {
    expect(reason({ walletAddress: addressOf(PRIVATE_KEY, 'testnet') })).toBe('wrong_network')
    expect(reason({ network: 'testnet' })).toBe('wrong_network')
    expect(reason({ network: 'devnet' })).toBe('wrong_network')
  })

  test('is refused for O, I and L aliases of the address', () => {
    for (const [digit, alias] of ['0O', '1I', '1L']) {
      const fixture = fixtureWithAddressHolding(digit as string)
      const walletAddress = fixture.walletAddress.replace(digit as string, alias as string)
      expect(verifyMessage(fixture).ok).toBe(true)
      expect(verifyMessage({ ...fixture, walletAddress })).toEqual({
        ok: false,
        reason: 'invalid_address',
      })
    }
  })

  test('is refused for V = 27, and for every other V beyond 3', () => {
    for (let v = 4; v < 256; v++) {
      const signature = withRecovery(FIXTURE.signature, v.toString(16).padStart(2, '0'))
      expect(reason({ signature })).toBe('recovery_id_out_of_range')
    }
  })

  test('is refused with zero padding between r and s', () => {
    const { signature } = FIXTURE
    expect(reason({ signature: `${signature.slice(0, 64)}00${signature.slice(64)}` })).toBe(
      'malformed',
    )
  })

  test('is refused when r is the x of no point', () => {
    for (let r = 1; ; r++) {
      const signature = `${r.toString(16).padStart(64, 'f0')}${FIXTURE.signature.slice(64)}`
      const outcome = reason({ signature })
      expect(['unrecoverable', 'another_wallet']).toContain(outcome)
      if (outcome === 'unrecoverable') break
    }
  })
})

describe('what stacks.js would let through', () => {
  const { message, signature } = FIXTURE
  const publicKey = PUBLIC_KEY

  test('refuses a Uint8Array message, which stacks.js takes for an unhashed digest', () => {
    const digest = hashMessage('a message that the caller never sees')
    const forDigest = signMessageHashRsv({
      messageHash: bytesToHex(digest),
      privateKey: PRIVATE_KEY,
    })
    expect(verifyMessageSignatureRsv({ message: digest, signature: forDigest, publicKey })).toBe(
      true,
    )
    expect(reason({ message: digest, signature: forDigest })).toBe('message_not_text')
    expect(reason({ message: new TextEncoder().encode(message) })).toBe('message_not_text')
  })

  test('refuses a wrong V, which stacks.js verify ignores', () => {
    for (const v of ['00', '01', '02', '03']) {
      const other = withRecovery(signature, v)
      expect(verifyMessageSignatureRsv({ message, signature: other, publicKey })).toBe(true)
      expect(reason({ signature: other }) === 'ok').toBe(other === signature)
    }
  })

  test('refuses the high-S twin, which stacks.js verify takes', () => {
    const twin = toHighS(signature)
    expect(verifyMessageSignatureRsv({ message, signature: twin, publicKey })).toBe(true)
    expect(reason({ signature: twin })).toBe('high_s')
    expect(reason({ signature: toVrs(twin) })).toBe('high_s')
  })

  test('refuses the legacy prefix, which stacks.js verify falls back to', () => {
    const legacyHash = hashMessage(message, '\x18Stacks Message Signing:\n')
    const legacy = signMessageHashRsv({
      messageHash: bytesToHex(legacyHash),
      privateKey: PRIVATE_KEY,
    })
    expect(verifyMessageSignatureRsv({ message, signature: legacy, publicKey })).toBe(true)
    expect(reason({ signature: legacy })).toBe('another_wallet')
  })

  test('refuses lone surrogates, which stacks.js hashes as U+FFFD', () => {
    const replaced = { message: '\ufffd', privateKey: PRIVATE_KEY }
    const forReplacement = signMessage(replaced)
    expect(
      verifyMessageSignatureRsv({ message: '\ud800', signature: forReplacement, publicKey }),
    ).toBe(true)
    expect(reason({ message: '\ud800', signature: forReplacement })).toBe('message_not_text')
    expect(reason({ message: '\ufffd', signature: forReplacement })).toBe('ok')
  })
})

describe('the public key beside a signature', () => {
  const uncompressed = uncompressPublicKey(PUBLIC_KEY)

  test('is accepted compressed or uncompressed, with 0x, in any case', () => {
    for (const key of [PUBLIC_KEY, uncompressed]) {
      for (const publicKey of [key, `0x${key}`, key.toUpperCase()]) {
        expect(verifyMessage({ ...FIXTURE, publicKey })).toEqual(accepted)
      }
    }
    expect(verifyMessage({ ...FIXTURE, publicKey: undefined })).toEqual(accepted)
  })

  test('is refused when it is not the key that signed', () => {
    const other = publicKeyOf(privateKeyOf('mallory'))
    const negated = (PUBLIC_KEY.startsWith('02') ? '03' : '02') + PUBLIC_KEY.slice(2)
    for (const publicKey of [other, uncompressPublicKey(other), negated]) {
      expect(reason({ publicKey })).toBe('public_key_mismatch')
    }
  })

  test('does not stand in for the signer: the key of another wallet changes nothing', () => {
    const mallory = signedFixture('mallory')
    const publicKey = publicKeyOf(privateKeyOf('mallory'))
    expect(reason({ signature: mallory.signature, message: mallory.message, publicKey })).toBe(
      'another_wallet',
    )
  })

  test('is refused when it is no public key', () => {
    for (const publicKey of [
      '',
      null,
      1,
      'zz',
      PUBLIC_KEY.slice(2),
      `${PUBLIC_KEY}00`,
      `04${PUBLIC_KEY.slice(2)}`,
      `06${uncompressed.slice(2)}`,
      `${PUBLIC_KEY}\n`,
      hexToBytes(PUBLIC_KEY),
    ]) {
      expect(reason({ publicKey })).toBe('malformed_public_key')
    }
  })
})

describe('the engine', () => {
  test('is the caller\u2019s choice, and sees nothing that is not strictly in form', () => {
    const calls: number[] = []
    const recover: Recover = (digest, compact, recovery) => {
      calls.push(recovery)
      expect(digest).toHaveLength(32)
      expect(compact).toHaveLength(64)
      return nobleRecover(digest, compact, recovery)
    }
    expect(verifyMessage({ ...FIXTURE, recover })).toEqual(accepted)
    expect(calls).toEqual([Number(FIXTURE.signature.slice(-2))])

    for (const changes of [
      { signature: toHighS(FIXTURE.signature) },
      { signature: 'zz' },
      { walletAddress: 'nobody' },
      { message: '\ud800' },
      { publicKey: 'zz' },
      { network: 'testnet' as const },
    ]) {
      expect(verifyMessage({ ...FIXTURE, ...changes, recover }).ok).toBe(false)
    }
    expect(calls).toHaveLength(1)
  })

  test('proves nothing by answering some key: the address decides', () => {
    const mallory = hexToBytes(publicKeyOf(privateKeyOf('mallory')))
    expect(reason({ recover: () => mallory })).toBe('another_wallet')
    expect(reason({ recover: () => undefined })).toBe('unrecoverable')
  })
})

describe('properties', () => {
  const anyKey = fc
    .uint8Array({ minLength: 32, maxLength: 32 })
    .map((bytes) => `${bytesToHex(bytes).replace(/^f{8}/, '0fffffff')}01`)
    .filter((key) => !/^0{64}/.test(key))

  test('whatever a wallet signs, verifies', () => {
    fc.assert(
      fc.property(
        anyKey,
        fc.string({ unit: 'binary', maxLength: 300 }),
        fc.constantFrom('mainnet' as const, 'testnet' as const, 'devnet' as const),
        fc.boolean(),
        fc.boolean(),
        (privateKey, message, network, isVrs, isUncompressed) => {
          const rsv = signMessage({ message, privateKey })
          const walletAddress = addressOf(
            isUncompressed ? privateKey.slice(0, 64) : privateKey,
            network,
          )
          const signature = isVrs ? toVrs(rsv) : rsv
          expect(verifyMessage({ message, signature, walletAddress, network })).toEqual({
            ok: true,
            value: { publicKey: publicKeyOf(privateKey) },
          })
        },
      ),
      { numRuns: 60 },
    )
  })

  test('noise never verifies', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 64, maxLength: 64 }),
        fc.nat(3),
        fc.boolean(),
        (noise, recovery, isVrs) => {
          const rsv = `${bytesToHex(noise)}0${recovery}`
          expect(reason({ signature: isVrs ? toVrs(rsv) : rsv })).not.toBe('ok')
        },
      ),
      { numRuns: 600 },
    )
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 65, maxLength: 65 }), (noise) => {
        expect(reason({ signature: bytesToHex(noise) })).not.toBe('ok')
      }),
      { numRuns: 2000 },
    )
  })

  test('any one bit of the signature matters', () => {
    for (let bit = 0; bit < 65 * 8; bit++) {
      expect(reason({ signature: flipBit(FIXTURE.signature, bit) }), `bit ${bit}`).not.toBe('ok')
    }
  })

  test('any one bit of the message matters', () => {
    const bits = FIXTURE.message.length * 16
    for (let bit = 0; bit < bits; bit += 3) {
      expect(reason({ message: flipTextBit(FIXTURE.message, bit) }), `bit ${bit}`).not.toBe('ok')
    }
  })

  test('any one bit of the address matters', () => {
    const bits = FIXTURE.walletAddress.length * 16
    for (let bit = 0; bit < bits; bit++) {
      const walletAddress = flipTextBit(FIXTURE.walletAddress, bit)
      expect(reason({ walletAddress }), `bit ${bit}`).not.toBe('ok')
    }
  })

  test('never throws, whatever it is given', () => {
    const members = ['message', 'signature', 'walletAddress', 'network', 'publicKey'] as const
    for (const member of members) {
      fc.assert(
        fc.property(hostile, (value) => {
          fc.pre(!(member === 'publicKey' && value === undefined))
          expect(reason({ [member]: value })).not.toBe('ok')
        }),
        { numRuns: 150 },
      )
    }
    fc.assert(
      fc.property(fc.anything(), (claim) => {
        expect(verifyMessage(claim as MessageClaim).ok).toBe(false)
      }),
    )
  })

  test('is not slowed by giant texts', () => {
    const giant = '0'.repeat(2 ** 22)
    expect(reason({ signature: giant })).toBe('malformed')
    expect(reason({ walletAddress: `SP${giant}` })).toBe('invalid_address')
    expect(reason({ publicKey: `02${giant}` })).toBe('malformed_public_key')
    expect(reason({ message: giant })).toBe('another_wallet')
  })
})

function fixtureWithAddressHolding(character: string) {
  for (let i = 0; ; i++) {
    const fixture = signedFixture(`alias ${i}`)
    if (fixture.walletAddress.slice(2).includes(character)) return fixture
  }
}

function flipTextBit(text: string, bit: number): string {
  const at = bit >> 4
  const flipped = String.fromCharCode(text.charCodeAt(at) ^ (1 << (bit & 15)))
  return text.slice(0, at) + flipped + text.slice(at + 1)
}
