import { hexToBytes } from '@stacks/common'
import { describe, expect, test } from 'vitest'
import { addressOf, publicKeyOf, signIntent, signMessage } from '../../src/stacks/sign.ts'
import { privateKeyOf } from './wallets.ts'

const PRIVATE_KEY = privateKeyOf('signer')
const CONTRACTS = addressOf(PRIVATE_KEY, 'devnet')

describe('signing', () => {
  test('is the same every time, RSV, and low-S', () => {
    for (let i = 0; i < 20; i++) {
      const signature = signMessage({ message: `message ${i}`, privateKey: PRIVATE_KEY })
      expect(signature).toBe(signMessage({ message: `message ${i}`, privateKey: PRIVATE_KEY }))
      expect(signature).toMatch(/^[0-9a-f]{64}[0-7][0-9a-f]{63}0[0-3]$/)
    }
  })

  test('takes a private key with or without 0x, in any case, compressed or not', () => {
    const message = 'hello'
    const signature = signMessage({ message, privateKey: PRIVATE_KEY })
    for (const privateKey of [
      `0x${PRIVATE_KEY}`,
      PRIVATE_KEY.toUpperCase(),
      PRIVATE_KEY.slice(0, 64),
      `0x${PRIVATE_KEY.slice(0, 64)}`,
    ]) {
      expect(signMessage({ message, privateKey })).toBe(signature)
    }
    expect(publicKeyOf(PRIVATE_KEY)).toMatch(/^0[23][0-9a-f]{64}$/)
    expect(publicKeyOf(PRIVATE_KEY.slice(0, 64))).toMatch(/^04[0-9a-f]{128}$/)
    expect(publicKeyOf(`0x${PRIVATE_KEY}`)).toBe(publicKeyOf(PRIVATE_KEY))
  })

  test('gives a key one address on each chain', () => {
    expect(addressOf(PRIVATE_KEY, 'mainnet')).toMatch(/^SP/)
    expect(addressOf(PRIVATE_KEY, 'testnet')).toMatch(/^ST/)
    expect(addressOf(PRIVATE_KEY, 'devnet')).toBe(addressOf(PRIVATE_KEY, 'testnet'))
  })

  const badKeys: [why: string, privateKey: unknown][] = [
    ['short', PRIVATE_KEY.slice(0, 62)],
    ['long', `${PRIVATE_KEY}01`],
    ['ending in 02', `${PRIVATE_KEY.slice(0, 64)}02`],
    ['not hex', `zz${PRIVATE_KEY.slice(2)}`],
    ['with a line break', `${PRIVATE_KEY}\n`],
    ['zero', `${'00'.repeat(32)}01`],
    ['beyond the order', `${'ff'.repeat(32)}01`],
    ['bytes', hexToBytes(PRIVATE_KEY)],
    ['missing', undefined],
  ]
  for (const [why, privateKey] of badKeys) {
    test(`refuses a private key that is ${why}, and does not repeat it`, () => {
      const key = privateKey as string
      for (const call of [
        () => signMessage({ message: 'hello', privateKey: key }),
        () => addressOf(key, 'mainnet'),
        () => publicKeyOf(key),
      ]) {
        const error = thrownBy(call)
        expect(error).toBeInstanceOf(Error)
        expect(String(error)).not.toContain(PRIVATE_KEY.slice(2, 10))
        expect(String(error)).not.toMatch(/[0-9a-f]{16}/i)
      }
    })
  }

  test('refuses to sign what would not verify', () => {
    expect(() => signMessage({ message: '\ud800', privateKey: PRIVATE_KEY })).toThrow(TypeError)
    expect(() =>
      signMessage({ message: new Uint8Array(32) as never, privateKey: PRIVATE_KEY }),
    ).toThrow(TypeError)

    const intent = {
      inputToken: `${CONTRACTS}.token`,
      amountIn: '1',
      uuid: 'a',
      router: `${CONTRACTS}.router`,
      network: 'devnet',
      privateKey: PRIVATE_KEY,
    } as const
    expect(signIntent(intent)).toHaveLength(130)
    expect(() => signIntent({ ...intent, amountIn: '0' })).toThrow('invalid_amount')
    expect(() => signIntent({ ...intent, inputToken: '.stx' })).toThrow('stx_cannot_be_signed')
    expect(() => signIntent({ ...intent, network: 'mainnet' })).toThrow('invalid_input_token')
  })
})

function thrownBy(call: () => unknown): unknown {
  try {
    call()
  } catch (error) {
    return error
  }
  return undefined
}
