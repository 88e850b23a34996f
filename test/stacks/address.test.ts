import { bytesToHex } from '@stacks/common'
import { AddressVersion, addressFromVersionHash, addressToString } from '@stacks/transactions'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  isContractId,
  isStacksAddress,
  isWalletAddress,
  parseWalletAddress,
} from '../../src/stacks/address.ts'
import { NETWORKS, type Network } from '../../src/stacks/network.ts'
import { addressOf } from '../../src/stacks/sign.ts'
import { privateKeyOf } from './wallets.ts'

const encode = (version: number, hash160: string) =>
  addressToString(addressFromVersionHash(version, hash160))

const BOOT = 'SP000000000000000000002Q6VF78'
const MULTI_SIG = encode(AddressVersion.MainnetMultiSig, '9f'.repeat(20))
// Holds 0 and 1, so that c32 has aliases for it.
const WALLET = 'SP307WEQGAQVNN90MANVD4BC2ZY132G3PNG3ZME4K'

describe('addresses', () => {
  const versions: [version: number, networks: Network[], isWallet: boolean][] = [
    [AddressVersion.MainnetSingleSig, ['mainnet'], true],
    [AddressVersion.MainnetMultiSig, ['mainnet'], false],
    [AddressVersion.TestnetSingleSig, ['testnet', 'devnet'], true],
    [AddressVersion.TestnetMultiSig, ['testnet', 'devnet'], false],
    [0, [], false],
    [31, [], false],
  ]
  for (const [version, networks, isWallet] of versions) {
    test(`version ${version} belongs to ${networks.join(' and ') || 'no network'}`, () => {
      const text = encode(version, 'a5d9d331000f5b79578ce56bd157f29a9056f0d6')
      expect(NETWORKS.filter((network) => isStacksAddress(text, network))).toEqual(networks)
      expect(NETWORKS.filter((network) => isWalletAddress(text, network))).toEqual(
        isWallet ? networks : [],
      )
    })
  }

  test('accepts every length that real addresses have, not only 41 characters', () => {
    const lengths = new Set<number>()
    for (let i = 0; i < 150; i++) {
      const text = addressOf(privateKeyOf(`short ${i}`), 'mainnet')
      lengths.add(text.length)
      expect(isWalletAddress(text, 'mainnet')).toBe(true)
    }
    expect(lengths).toContain(41)
    expect(lengths).toContain(40)
    expect(isStacksAddress(BOOT, 'mainnet')).toBe(true)
    expect(BOOT).toHaveLength(29)
  })

  test('accepts the address of any hash, however many zeros lead it', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 0, maxLength: 20 }),
        fc.constantFrom(20, 21, 22, 26),
        (tail, version) => {
          const text = encode(version, bytesToHex(tail).padStart(40, '0'))
          expect(NETWORKS.some((network) => isStacksAddress(text, network))).toBe(true)
        },
      ),
    )
  })

  test('refuses O for 0 and I or L for 1, which c32 decodes as the same address', () => {
    for (const alias of [
      WALLET.replace('0', 'O'),
      WALLET.replace('1', 'I'),
      WALLET.replace('1', 'L'),
    ]) {
      expect(alias).not.toBe(WALLET)
      expect(isStacksAddress(alias, 'mainnet')).toBe(false)
      expect(isContractId(`${alias}.token`, 'mainnet')).toBe(false)
    }
  })

  test('refuses lower case, padding, and other spellings', () => {
    for (const text of [
      WALLET.toLowerCase(),
      `${WALLET.slice(0, -1)}k`,
      `s${WALLET.slice(1)}`,
      ` ${WALLET}`,
      `${WALLET}\n`,
      `SP0${WALLET.slice(2)}`,
      BOOT.replace('SP0', 'SP00'),
      BOOT.replace('SP0', 'SP'),
      WALLET.replace('K', '\u212a'),
      '',
      'S',
      'SP',
      WALLET.repeat(1000),
    ]) {
      expect(isStacksAddress(text, 'mainnet'), text.slice(0, 50)).toBe(false)
    }
  })

  test('refuses an address with any one character replaced', () => {
    fc.assert(
      fc.property(
        fc.nat(WALLET.length - 1),
        fc.constantFrom(...'0123456789ABCDEFGHJKMNPQRSTVWXYZOILa. '),
        (at, character) => {
          fc.pre(WALLET[at] !== character)
          const text = WALLET.slice(0, at) + character + WALLET.slice(at + 1)
          expect(isStacksAddress(text, 'mainnet')).toBe(false)
        },
      ),
      { numRuns: 500 },
    )
  })

  test('says what is wrong with the address of a wallet', () => {
    const reason = (text: unknown, network: Network) => {
      const parsed = parseWalletAddress(text, network)
      return parsed.ok ? 'ok' : parsed.reason
    }
    expect(reason(WALLET, 'mainnet')).toBe('ok')
    expect(reason(WALLET, 'devnet')).toBe('wrong_network')
    expect(reason(MULTI_SIG, 'mainnet')).toBe('not_a_wallet')
    expect(reason(`${WALLET}.token`, 'mainnet')).toBe('not_a_wallet')
    expect(reason(WALLET.toLowerCase(), 'mainnet')).toBe('invalid_address')
    expect(reason(null, 'mainnet')).toBe('invalid_address')
  })
})

describe('contract ids', () => {
  test('accepts contracts of wallets, of scripts, and of the boot address', () => {
    for (const principal of [WALLET, MULTI_SIG, BOOT]) {
      expect(isContractId(`${principal}.x-multihop-rc9`, 'mainnet')).toBe(true)
      expect(isContractId(`${principal}.x-multihop-rc9`, 'testnet')).toBe(false)
    }
  })

  for (const name of ['a', 'Z', 'charisma-token-subnet-v1', 'a_b', 'a--', `a${'b'.repeat(39)}`]) {
    test(`accepts the name ${name}`, () => {
      expect(isContractId(`${WALLET}.${name}`, 'mainnet')).toBe(true)
    })
  }

  for (const name of [
    '',
    '1a',
    '-a',
    '_a',
    'a.b',
    'a b',
    'a!',
    'ä',
    'aé',
    'a\n',
    'а',
    `a${'b'.repeat(40)}`,
    'a'.repeat(100_000),
  ]) {
    test(`refuses the name ${JSON.stringify(name.slice(0, 45))}`, () => {
      expect(isContractId(`${WALLET}.${name}`, 'mainnet')).toBe(false)
    })
  }

  test('refuses what has no principal or no name', () => {
    for (const text of ['.stx', WALLET, '.', 'token', `${WALLET}token`, `.${WALLET}.token`]) {
      expect(isContractId(text, 'mainnet')).toBe(false)
    }
  })
})

test('answers about any value and any network without throwing', () => {
  fc.assert(
    fc.property(fc.anything(), fc.anything(), (text, network) => {
      expect(isStacksAddress(text, network as Network)).toBe(false)
      expect(isWalletAddress(text, network as Network)).toBe(false)
      expect(isContractId(text, network as Network)).toBe(false)
      expect(parseWalletAddress(text, network as Network).ok).toBe(false)
    }),
  )
  for (const network of ['__proto__', 'constructor', 'Mainnet', undefined]) {
    expect(isStacksAddress(WALLET, network as Network)).toBe(false)
  }
})
