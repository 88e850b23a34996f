import { createHash } from 'node:crypto'
import { bytesToHex, hexToBytes } from '@stacks/common'
import {
  bufferCV,
  noneCV,
  principalCV,
  serializeCV,
  someCV,
  stringAsciiCV,
  tupleCV,
  uintCV,
} from '@stacks/transactions'
import { describe, expect, test } from 'vitest'
import type { ClarityHex } from '../../src/stacks/clarity.ts'
import {
  type Intent,
  intentDomain,
  intentHash,
  intentMessage,
  type SignedIntent,
  verifyIntent,
} from '../../src/stacks/intent.ts'
import { messageHash } from '../../src/stacks/message.ts'
import type { Network } from '../../src/stacks/network.ts'
import { nobleRecover, parseSignature } from '../../src/stacks/recover.ts'
import { addressOf, publicKeyOf, signIntent, signMessage } from '../../src/stacks/sign.ts'
import { type MessageClaim, verifyMessage } from '../../src/stacks/signature.ts'
import { structuredDataHash } from '../../src/stacks/structured-data.ts'
import vectors from '../vectors/stacks.json' with { type: 'json' }

const DOMAIN_HASHES: Record<Network, string> = {
  mainnet: 'bc88ed0b8dd6ac0b040798154c2ce077e9f37debb5e63334927dfdbc9593c173',
  testnet: 'd2cb50eb7f4a93a8936d9a295f84dfc38456463ad57a1cb41cc55cf18d9b43d3',
  devnet: 'd2cb50eb7f4a93a8936d9a295f84dfc38456463ad57a1cb41cc55cf18d9b43d3',
}

const sha256 = (hex: string) => createHash('sha256').update(hexToBytes(hex)).digest('hex')

test('the vectors are all here', () => {
  expect(vectors.plain.flatMap(({ cases }) => cases)).toHaveLength(279)
  expect(vectors.intents).toHaveLength(10)
  expect(vectors.onchainIntents).toHaveLength(3)
})

describe('stx_signMessage vectors', () => {
  for (const { cases, message, publicKey } of vectors.plain) {
    for (const [index, { why, valid, ...signed }] of cases.entries()) {
      const claim = { message, ...signed } as MessageClaim
      test(`${valid ? 'accepts' : 'refuses'}: ${why} (${claim.walletAddress}, ${index})`, () => {
        const proof = verifyMessage(claim)
        expect(proof.ok).toBe(valid)
        if (proof.ok) expect(proof.value.publicKey).toBe(publicKey)
        expect(verifyMessage({ ...claim, publicKey }).ok).toBe(valid)
      })
    }
  }

  test('signs what wallets signed, to the byte', () => {
    for (const { privateKey, publicKey, message, messageHash: hash, cases } of vectors.plain) {
      expect(bytesToHex(messageHash(message))).toBe(hash)
      expect(signMessage({ message, privateKey })).toBe(cases[0]?.signature)
      expect(publicKeyOf(privateKey)).toBe(publicKey)
      expect(addressOf(privateKey, 'mainnet')).toBe(cases[0]?.walletAddress)
    }
  })
})

describe('SIP-018 intent vectors', () => {
  const other = signedByAnother()

  for (const { hash, privateKey, publicKey, chainId: _, ...vector } of vectors.intents) {
    const claim = vector as SignedIntent

    test(`accepts ${claim.uuid} of ${claim.owner} and signs it to the byte`, () => {
      expect(bytesToHex(intentHash(claim, claim.network))).toBe(hash)
      expect(verifyIntent(claim)).toEqual({ ok: true, value: { publicKey } })
      expect(signIntent({ ...claim, privateKey })).toBe(claim.signature)
    })

    test(`refuses ${claim.uuid} of ${claim.owner} when any one member changes`, () => {
      const mutations: Partial<SignedIntent>[] = [
        { owner: addressOf(other.privateKey, claim.network) },
        { inputToken: `${claim.inputToken}x` },
        { inputToken: claim.router },
        { amountIn: claim.amountIn === '1' ? '2' : '1' },
        { uuid: claim.uuid.slice(1) },
        { uuid: `${claim.uuid.slice(1)}_` },
        { router: `${claim.router}x` },
        { router: claim.inputToken },
        { network: claim.network === 'mainnet' ? 'testnet' : 'mainnet' },
        { signature: signIntent({ ...claim, privateKey: other.privateKey }) },
      ]
      for (const mutation of mutations) {
        expect(verifyIntent({ ...claim, ...mutation }).ok, JSON.stringify(mutation)).toBe(false)
      }
    })
  }
})

describe('SIP-018 as the Clarity contract hashes it', () => {
  for (const vector of vectors.onchainIntents) {
    const { intent } = vector
    const optional = <T>(value: T | null, clarity: (value: T) => ReturnType<typeof principalCV>) =>
      value === null ? noneCV() : someCV(clarity(value))
    const message = tupleCV({
      contract: principalCV(intent.contract),
      intent: stringAsciiCV(intent.intent),
      opcode: intent.opcode === null ? noneCV() : someCV(bufferCV(hexToBytes(intent.opcode))),
      amount: someCV(uintCV(BigInt(intent.amount))),
      target: optional(intent.target, principalCV),
      uuid: stringAsciiCV(intent.uuid),
    })

    test(`${intent.intent} hashes and recovers as it does on chain`, () => {
      expect(serializeCV(message)).toBe(vector.messageBytes)
      expect(sha256(vector.messageBytes)).toBe(vector.messageHash)
      const hash = structuredDataHash(intentDomain('mainnet'), vector.messageBytes as ClarityHex)
      expect(bytesToHex(hash)).toBe(vector.hash)

      const readings = parseSignature(vector.signatureRSV)
      if (!readings.ok) throw new Error(readings.reason)
      const keys = readings.value.map(({ compact, recovery }) =>
        bytesToHex(nobleRecover(hash, compact, recovery) ?? new Uint8Array()),
      )
      expect(keys).toContain(publicKeyOf(vector.privateKey))
      expect(addressOf(vector.privateKey, 'mainnet')).toBe(vector.address)
    })
  }

  test('an order is a TRANSFER_TOKENS without opcode', () => {
    const vector = vectors.onchainIntents.find(({ intent }) => intent.intent === 'TRANSFER_TOKENS')
    if (!vector) throw new Error('no such vector')
    const { contract, amount, target, uuid } = vector.intent
    const intent: Intent = { inputToken: contract, amountIn: amount, router: target ?? '', uuid }
    expect(intentMessage(intent)).toBe(vector.messageBytes)
    expect(bytesToHex(intentHash(intent, 'mainnet'))).toBe(vector.hash)
    expect(
      verifyIntent({
        ...intent,
        owner: vector.address,
        signature: vector.signatureRSV,
        network: 'mainnet',
      }).ok,
    ).toBe(true)
  })

  for (const [network, hash] of Object.entries(DOMAIN_HASHES)) {
    test(`the domain of ${network} is ${hash.slice(0, 8)}`, () => {
      expect(sha256(intentDomain(network as Network))).toBe(hash)
    })
  }
})

function signedByAnother() {
  const [wallet] = vectors.plain
  if (!wallet) throw new Error('no vectors')
  return wallet
}
