import { bytesToHex } from '@stacks/common'
import { hashMessage, hashSha256Sync } from '@stacks/encryption'
import {
  addressFromVersionHash,
  addressToString,
  Cl,
  type ClarityValue,
  createAddress,
  encodeStructuredDataBytes,
  hash160 as hash160OfBytes,
  privateKeyToPublic,
  publicKeyFromSignatureRsv,
  publicKeyToAddress,
  serializeCVBytes,
  signMessageHashRsv,
  uncompressPublicKey as uncompressWithStacks,
} from '@stacks/transactions'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { addressOfPublicKey } from '../../src/stacks/address.ts'
import { decodeC32, encodeC32 } from '../../src/stacks/c32.ts'
import {
  type ClarityHex,
  contractPrincipal,
  NONE,
  some,
  stringAscii,
  tuple,
  uint,
} from '../../src/stacks/clarity.ts'
import { intentDomain, intentHash, intentMessage } from '../../src/stacks/intent.ts'
import { messageHash } from '../../src/stacks/message.ts'
import { chainId, NETWORKS, singleSigVersion } from '../../src/stacks/network.ts'
import { hash160, uncompressPublicKey } from '../../src/stacks/public-key.ts'
import { nobleRecover } from '../../src/stacks/recover.ts'
import { publicKeyOf, signIntent, signMessage } from '../../src/stacks/sign.ts'
import { structuredDataHash } from '../../src/stacks/structured-data.ts'
import { mutation } from './mutations.ts'

/** Of each property; ORACLE_CASES=100000 for a long run. */
const CASES = Number(process.env.ORACLE_CASES ?? 1_000)
vi.setConfig({ testTimeout: 60 * CASES + 60_000 })

/** Checks that a property holds, in so many generated cases. */
function always<T extends [unknown, ...unknown[]]>(
  arbitraries: { [Index in keyof T]: fc.Arbitrary<T[Index]> },
  property: (...values: T) => void,
): void {
  fc.assert(fc.property(...arbitraries, property), { numRuns: CASES })
}

const hex = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((array) => bytesToHex(array))
const privateKeys = hex(32)
  .filter((key) => !/^(f{8}|0{64})/.test(key))
  .chain((key) => fc.constantFrom(key, `${key}01`))
const networks = fc.constantFrom(...NETWORKS)
const texts = fc.string({ unit: 'binary', maxLength: 400 })
const asciiTexts = fc.string({ unit: 'binary-ascii', maxLength: 130 })
const uints = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }), fc.bigInt(0n, 300n))
const contractNames = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_-]{0,39}$/)

describe('an address is the one of stacks.js', () => {
  const c32 = (version: number, hash: string) =>
    addressToString(addressFromVersionHash(version, hash))
  const versions = fc.nat(31)
  const hashes = fc.oneof(
    hex(20),
    fc
      .tuple(fc.nat(20), hex(20))
      .map(([zeros, hash]) => '00'.repeat(zeros) + hash.slice(2 * zeros)),
  )

  test('encoded and decoded, for every version and hash', () => {
    always([versions, hashes], (version, hash) => {
      const text = c32(version, hash)
      expect(encodeC32({ version, hash160: hash })).toBe(text)
      expect(decodeC32(text)).toEqual({ version, hash160: hash })
    })
  })

  /** What stacks.js decodes, less the aliases that it does not write itself. */
  function decodedWithStacks(text: string) {
    try {
      const { version, hash160 } = createAddress(text)
      return c32(version, hash160) === text ? { version, hash160 } : undefined
    } catch {
      return undefined
    }
  }

  test('refused, where one character is replaced, added or left out', () => {
    const characters = fc.constantFrom(...'0123456789ABCDEFGHJKMNPQRSTVWXYZOILU.sp ')
    always(
      [versions, hashes, fc.nat(41), characters, fc.constantFrom(0, 1, 2)],
      (version, hash, at, character, removed) => {
        const text = c32(version, hash)
        const changed = text.slice(0, at) + character.repeat(removed % 2) + text.slice(at + removed)
        expect(decodeC32(changed)).toEqual(decodedWithStacks(changed))
        const replaced = text.slice(0, at) + character + text.slice(at + 1)
        expect(decodeC32(replaced)).toEqual(decodedWithStacks(replaced))
      },
    )
  })

  test('refused, where the text is any other', () => {
    always([fc.stringMatching(/^S?[0-9A-HJKMNP-TV-Z]{0,45}$/)], (text) => {
      expect(decodeC32(text)).toEqual(decodedWithStacks(text))
    })
  })

  test('made of a public key, compressed or not', () => {
    always([privateKeys, networks], (privateKey, network) => {
      const publicKey = publicKeyOf(privateKey)
      const address = publicKeyToAddress(singleSigVersion(network), publicKey)
      expect(addressOfPublicKey(publicKey, network)).toBe(address)
    })
    always([fc.uint8Array({ maxLength: 70 })], (bytes) => {
      expect(hash160(bytesToHex(bytes))).toBe(bytesToHex(hash160OfBytes(bytes)))
    })
  })
})

describe('a key is the one of stacks.js', () => {
  test('made of a private key, compressed or not', () => {
    always([privateKeys], (privateKey) => {
      expect(publicKeyOf(privateKey)).toBe(privateKeyToPublic(privateKey))
    })
  })

  test('uncompressed', () => {
    always([privateKeys], (privateKey) => {
      const publicKey = publicKeyOf(`${privateKey.slice(0, 64)}01`)
      expect(uncompressPublicKey(publicKey)).toBe(uncompressWithStacks(publicKey))
    })
  })

  test('recovered from a signature, or not, whatever was done to it', () => {
    for (let run = 0; run < CASES; run++) {
      const [digest, compact, recovery] = mutation(run)
      const rsv = `${bytesToHex(compact)}0${recovery}`
      const key = nobleRecover(digest, compact, recovery)
      expect([bytesToHex(digest), rsv, key && bytesToHex(key)]).toEqual([
        bytesToHex(digest),
        rsv,
        recoveredWithStacks(bytesToHex(digest), rsv),
      ])
    }
  })

  function recoveredWithStacks(digest: string, rsv: string): string | undefined {
    try {
      return publicKeyFromSignatureRsv(digest, rsv)
    } catch {
      return undefined
    }
  }
})

describe('a message is hashed and signed as by stacks.js', () => {
  const signedWithStacks = (digest: Uint8Array, privateKey: string) =>
    signMessageHashRsv({ messageHash: bytesToHex(digest), privateKey })

  test('to the byte', () => {
    always([texts, privateKeys], (message, privateKey) => {
      expect(messageHash(message)).toEqual(hashMessage(message))
      expect(signMessage({ message, privateKey })).toBe(
        signedWithStacks(hashMessage(message), privateKey),
      )
    })
  })

  test('whatever its length is', () => {
    always([fc.oneof(fc.integer({ min: 250, max: 256 }), fc.nat(70_000))], (length) => {
      const message = 'x'.repeat(length)
      expect(messageHash(message)).toEqual(hashMessage(message))
    })
  })
})

describe('a Clarity value is serialized as by stacks.js', () => {
  const address = 'SP307WEQGAQVNN90MANVD4BC2ZY132G3PNG3ZME4K'
  const serialized = (value: ClarityValue) => bytesToHex(serializeCVBytes(value)) as ClarityHex
  const leaves: fc.Arbitrary<[ours: ClarityHex, theirs: ClarityValue]> = fc.oneof(
    uints.map((number) => [uint(number), Cl.uint(number)] as [ClarityHex, ClarityValue]),
    asciiTexts.map(
      (text) => [stringAscii(text), Cl.stringAscii(text)] as [ClarityHex, ClarityValue],
    ),
    contractNames.map(
      (name) =>
        [contractPrincipal(`${address}.${name}`), Cl.contractPrincipal(address, name)] as [
          ClarityHex,
          ClarityValue,
        ],
    ),
  )

  test('uint, string-ascii, principal, none and some', () => {
    always([leaves], ([ours, theirs]) => {
      expect(ours).toBe(serialized(theirs))
      expect(some(ours)).toBe(serialized(Cl.some(theirs)))
    })
    expect(NONE).toBe(serialized(Cl.none()))
  })

  test('tuple, in the order of its names, and nested', () => {
    // Of one case: stacks.js orders names as a locale does, the chain by their bytes.
    const names = fc.stringMatching(/^[a-z]{1,20}$/)
    always([fc.uniqueArray(fc.tuple(names, leaves), { selector: ([name]) => name })], (members) => {
      const ours = tuple(Object.fromEntries(members.map(([name, [value]]) => [name, value])))
      const theirs = Cl.tuple(Object.fromEntries(members.map(([name, [, value]]) => [name, value])))
      expect(ours).toBe(serialized(theirs))
      expect(tuple({ inner: ours })).toBe(serialized(Cl.tuple({ inner: theirs })))
    })
  })

  test('tuple, in the order of the bytes of its names, which the chain keeps', () => {
    const members = { 'a-b': NONE, ab: NONE, Z: NONE, a: NONE }
    expect(tuple(members)).toBe('0c00000004015a09016109' + '03612d6209' + '02616209')
  })

  test('and refused where stacks.js would write another value', () => {
    expect(() => uint(-1n)).toThrow(RangeError)
    expect(() => uint(2n ** 128n)).toThrow(RangeError)
    expect(serialized(Cl.stringAscii('\u0141'))).toBe(serialized(Cl.stringAscii('A')))
    expect(() => stringAscii('\u0141')).toThrow(TypeError)
    for (const text of [
      '',
      '.',
      address,
      `${address}.`,
      `${address}.\u0141`,
      `.${address}`,
      '.stx',
    ])
      expect(() => contractPrincipal(text)).toThrow(TypeError)
  })
})

describe('an intent is hashed and signed as by stacks.js', () => {
  const intents = fc.record({
    inputToken: contractNames,
    amountIn: fc.bigInt({ min: 1n, max: 2n ** 128n - 1n }).map(String),
    uuid: fc.stringMatching(/^[A-Za-z0-9_-]{1,36}$/),
    router: contractNames,
  })

  test('to the byte', () => {
    always(
      [intents, networks, privateKeys],
      ({ inputToken, amountIn, uuid, router }, network, privateKey) => {
        const deployer = addressOfPublicKey(publicKeyOf(privateKey), network)
        const message = Cl.tuple({
          contract: Cl.contractPrincipal(deployer, inputToken),
          intent: Cl.stringAscii('TRANSFER_TOKENS'),
          opcode: Cl.none(),
          amount: Cl.some(Cl.uint(BigInt(amountIn))),
          target: Cl.some(Cl.contractPrincipal(deployer, router)),
          uuid: Cl.stringAscii(uuid),
        })
        const domain = Cl.tuple({
          name: Cl.stringAscii('BLAZE_PROTOCOL'),
          version: Cl.stringAscii('v1.0'),
          'chain-id': Cl.uint(chainId(network)),
        })
        const digest = hashSha256Sync(encodeStructuredDataBytes({ domain, message }))
        const intent = {
          inputToken: `${deployer}.${inputToken}`,
          amountIn,
          uuid,
          router: `${deployer}.${router}`,
        }

        expect(intentMessage(intent)).toBe(Cl.serialize(message))
        expect(intentDomain(network)).toBe(Cl.serialize(domain))
        expect(structuredDataHash(intentDomain(network), intentMessage(intent))).toEqual(digest)
        expect(intentHash(intent, network)).toEqual(digest)
        expect(signIntent({ ...intent, network, privateKey })).toBe(
          signMessageHashRsv({ messageHash: bytesToHex(digest), privateKey }),
        )
      },
    )
  })
})
