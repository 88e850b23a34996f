import { bytesToHex, hexToBytes } from '@stacks/common'
import {
  AddressVersion,
  addressFromVersionHash,
  addressToString,
  Cl,
  signStructuredData,
  stringAsciiCV,
  type TupleCV,
} from '@stacks/transactions'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { NONE, some, uint } from '../../src/stacks/clarity.ts'
import {
  checkIntent,
  type Intent,
  intentDomain,
  intentHash,
  intentMessage,
  type SignedIntent,
  verifyIntent,
} from '../../src/stacks/intent.ts'
import { nobleRecover, type Recover } from '../../src/stacks/recover.ts'
import { addressOf, publicKeyOf, signIntent } from '../../src/stacks/sign.ts'
import { structuredDataHash } from '../../src/stacks/structured-data.ts'
import { hostile } from '../support/hostile-values.ts'
import { flipBit, privateKeyOf, toHighS, toVrs, withRecovery } from './wallets.ts'

const PRIVATE_KEY = privateKeyOf('owner')
const PUBLIC_KEY = publicKeyOf(PRIVATE_KEY)
const CONTRACTS = addressOf(privateKeyOf('deployer'), 'mainnet')

const INTENT: Intent = {
  inputToken: `${CONTRACTS}.charisma-token-subnet-v1`,
  amountIn: '1000000',
  uuid: '7d14db6a-b1fc-443e-8dc0-80958d878293',
  router: `${CONTRACTS}.x-multihop-rc9`,
}

const FIXTURE: SignedIntent = {
  ...INTENT,
  owner: addressOf(PRIVATE_KEY, 'mainnet'),
  network: 'mainnet',
  signature: signIntent({ ...INTENT, network: 'mainnet', privateKey: PRIVATE_KEY }),
}

const accepted = { ok: true, value: { publicKey: PUBLIC_KEY } }

function reason(changes: { [Member in keyof SignedIntent]?: unknown }) {
  const proof = verifyIntent({ ...FIXTURE, ...changes } as SignedIntent)
  return proof.ok ? 'ok' : proof.reason
}

/** Signs the changed intent, so that only its form can be what is refused. */
function reasonWhenSigned(changes: Partial<Intent>) {
  const intent = { ...INTENT, ...changes }
  const signature = signIntent({ ...intent, network: 'mainnet', privateKey: PRIVATE_KEY })
  return reason({ ...intent, signature })
}

describe('a signed intent', () => {
  test('proves that its owner signed it', () => {
    expect(verifyIntent(FIXTURE)).toEqual(accepted)
  })

  test('is what a wallet signs when it is shown intentDomain and intentMessage', () => {
    for (const network of ['mainnet', 'testnet'] as const) {
      const contracts = addressOf(privateKeyOf('deployer'), network)
      const intent = { ...INTENT, inputToken: `${contracts}.a`, router: `${contracts}.b` }
      const signature = signStructuredData({
        domain: Cl.deserialize<TupleCV>(intentDomain(network)),
        message: Cl.deserialize(intentMessage(intent)),
        privateKey: PRIVATE_KEY,
      })
      expect(signIntent({ ...intent, network, privateKey: PRIVATE_KEY })).toBe(signature)
      const owner = addressOf(PRIVATE_KEY, network)
      expect(verifyIntent({ ...intent, owner, network, signature })).toEqual(accepted)
    }
  })

  test('is the same on testnet and devnet, and another on mainnet', () => {
    const contracts = addressOf(privateKeyOf('deployer'), 'testnet')
    const intent = { ...INTENT, inputToken: `${contracts}.a`, router: `${contracts}.b` }
    expect(intentHash(intent, 'devnet')).toEqual(intentHash(intent, 'testnet'))
    expect(structuredDataHash(intentDomain('mainnet'), intentMessage(intent))).not.toEqual(
      intentHash(intent, 'testnet'),
    )
  })

  test('is accepted in VRS order, with 0x, and in upper case', () => {
    const vrs = toVrs(FIXTURE.signature)
    for (const signature of [vrs, `0x${vrs}`, `0x${FIXTURE.signature}`, vrs.toUpperCase()]) {
      expect(verifyIntent({ ...FIXTURE, signature })).toEqual(accepted)
    }
  })

  test('is accepted for contracts of a multi-signature deployer', () => {
    const script = addressToString(
      addressFromVersionHash(AddressVersion.MainnetMultiSig, '9f'.repeat(20)),
    )
    expect(reasonWhenSigned({ inputToken: `${script}.token` })).toBe('ok')
  })

  test('is refused when any one member changes', () => {
    const other = addressOf(privateKeyOf('mallory'), 'mainnet')
    for (const changes of [
      { owner: other },
      { inputToken: `${other}.charisma-token-subnet-v1` },
      { inputToken: `${CONTRACTS}.charisma-token-subnet-v2` },
      { amountIn: '1000001' },
      { uuid: '7D14db6a-b1fc-443e-8dc0-80958d878293' },
      { router: `${CONTRACTS}.x-multihop-rc8` },
      { inputToken: INTENT.router, router: INTENT.inputToken },
    ]) {
      expect(reason(changes)).toMatch(/^(another_wallet|unrecoverable)$/)
    }
  })

  test('is refused for a wrong V, a high S, and a signature out of form', () => {
    const { signature } = FIXTURE
    expect(reason({ signature: flipBit(signature, 64 * 8) })).toBe('another_wallet')
    expect(reason({ signature: withRecovery(signature, '1b') })).toBe('recovery_id_out_of_range')
    expect(reason({ signature: toHighS(signature) })).toBe('high_s')
    expect(reason({ signature: `${'00'.repeat(64)}1b` })).toBe('out_of_range')
    expect(reason({ signature: `${signature}00` })).toBe('malformed')
  })
})

describe('an owner who cannot sign intents', () => {
  test('is told so: a multi-signature address', () => {
    const owner = addressToString(
      addressFromVersionHash(AddressVersion.MainnetMultiSig, '9f'.repeat(20)),
    )
    expect(reason({ owner })).toBe('owner_cannot_sign_intents')
  })

  test('is told so: a contract', () => {
    expect(reason({ owner: INTENT.router })).toBe('owner_cannot_sign_intents')
  })

  test('is told so: the address of an uncompressed key, which the chain never recovers', () => {
    const uncompressed = PRIVATE_KEY.slice(0, 64)
    const owner = addressOf(uncompressed, 'mainnet')
    expect(reason({ owner })).toBe('uncompressed_key')
    const signature = signIntent({ ...INTENT, network: 'mainnet', privateKey: uncompressed })
    expect(reason({ owner, signature })).toBe('uncompressed_key')
  })

  test('is told apart from a wrong network and from no address at all', () => {
    expect(reason({ owner: addressOf(PRIVATE_KEY, 'testnet') })).toBe('wrong_network')
    expect(reason({ owner: FIXTURE.owner.toLowerCase() })).toBe('invalid_address')
  })
})

describe('the members of an intent', () => {
  test('STX cannot be signed away', () => {
    expect(reason({ inputToken: '.stx' })).toBe('stx_cannot_be_signed')
  })

  test('the input token and the router are contracts of the network', () => {
    const elsewhere = addressOf(privateKeyOf('deployer'), 'testnet')
    for (const text of ['', CONTRACTS, `${CONTRACTS}.`, `${elsewhere}.token`, '.STX', null, 1]) {
      expect(reason({ inputToken: text })).toBe('invalid_input_token')
      expect(reason({ router: text })).toBe('invalid_router')
    }
    expect(reason({ router: '.stx' })).toBe('invalid_router')
  })

  for (const amountIn of ['1', '9', '340282366920938463463374607431768211455']) {
    test(`accepts the amount ${amountIn}`, () => {
      expect(reasonWhenSigned({ amountIn })).toBe('ok')
    })
  }

  for (const amountIn of [
    '0',
    '340282366920938463463374607431768211456',
    '999999999999999999999999999999999999999',
    '1000000000000000000000000000000000000000',
    '01',
    '+1',
    '-1',
    '1e3',
    '1.0',
    '0x10',
    '1n',
    ' 1',
    '1\n',
    '1_000',
    '١',
    '',
    '9'.repeat(100_000),
    1,
    1n,
    null,
    undefined,
  ]) {
    test(`refuses the amount ${String(amountIn).slice(0, 45)} (${typeof amountIn})`, () => {
      expect(reason({ amountIn })).toBe('invalid_amount')
    })
  }

  test('an amount of zero is not an amount of none', () => {
    expect(some(uint(0n))).not.toBe(NONE)
    expect(reason({ amountIn: '0' })).toBe('invalid_amount')
  })

  for (const uuid of ['a', 'uuid-fb47ed764', '_', '-', 'A'.repeat(36)]) {
    test(`accepts the uuid ${uuid}`, () => {
      expect(reasonWhenSigned({ uuid })).toBe('ok')
    })
  }

  for (const uuid of ['', 'a'.repeat(37), 'a b', 'a\n', 'a\0', 'é', 'a.b', '🔑', 1, null]) {
    test(`refuses the uuid ${JSON.stringify(uuid)}`, () => {
      expect(reason({ uuid })).toBe('invalid_uuid')
    })
  }

  test('refuses a uuid that stringAsciiCV would flatten into the signed one', () => {
    const lossy = String.fromCharCode(0x100 + INTENT.uuid.charCodeAt(0)) + INTENT.uuid.slice(1)
    expect(Cl.serialize(stringAsciiCV(lossy))).toBe(Cl.serialize(stringAsciiCV(INTENT.uuid)))
    expect(reason({ uuid: lossy })).toBe('invalid_uuid')
    expect(() => intentMessage({ ...INTENT, uuid: lossy })).toThrow(TypeError)
    expect(() => intentHash({ ...INTENT, uuid: lossy }, 'mainnet')).toThrow('invalid_uuid')
  })

  test('are taken as they are checked, and nothing else with them', () => {
    const checked = checkIntent({ ...FIXTURE }, 'mainnet')
    expect(checked).toEqual({ ok: true, value: INTENT })
  })
})

test('the engine is the caller\u2019s choice, and its answer is compared with the owner', () => {
  let calls = 0
  const recover: Recover = (...args) => {
    calls++
    return nobleRecover(...args)
  }
  expect(verifyIntent({ ...FIXTURE, recover })).toEqual(accepted)
  expect(calls).toBe(1)
  const mallory = hexToBytes(publicKeyOf(privateKeyOf('mallory')))
  expect(reason({ recover: () => mallory })).toBe('another_wallet')
  expect(reason({ recover: () => undefined })).toBe('unrecoverable')
})

describe('properties', () => {
  const anyIntent = fc.record({
    inputToken: fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_-]{0,39}$/).map((n) => `${CONTRACTS}.${n}`),
    amountIn: fc.bigInt({ min: 1n, max: 2n ** 128n - 1n }).map(String),
    uuid: fc.stringMatching(/^[A-Za-z0-9_-]{1,36}$/),
    router: fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_-]{0,39}$/).map((n) => `${CONTRACTS}.${n}`),
  })

  test('whatever an owner signs, verifies', () => {
    fc.assert(
      fc.property(anyIntent, (intent) => {
        expect(reasonWhenSigned(intent)).toBe('ok')
      }),
      { numRuns: 60 },
    )
  })

  test('two intents never share a hash', () => {
    const hashes = new Map<string, string>()
    fc.assert(
      fc.property(anyIntent, (intent) => {
        const text = JSON.stringify(intent)
        const hash = bytesToHex(intentHash(intent, 'mainnet'))
        expect(hashes.get(hash) ?? text).toBe(text)
        hashes.set(hash, text)
      }),
    )
  })

  test('any one bit of the signature matters', () => {
    for (let bit = 0; bit < 65 * 8; bit += 3) {
      expect(reason({ signature: flipBit(FIXTURE.signature, bit) }), `bit ${bit}`).not.toBe('ok')
    }
  })

  test('never throws, whatever it is given', () => {
    for (const member of Object.keys(FIXTURE)) {
      fc.assert(
        fc.property(hostile, (value) => {
          expect(reason({ [member]: value })).not.toBe('ok')
        }),
        { numRuns: 150 },
      )
    }
    fc.assert(
      fc.property(fc.anything(), (claim) => {
        expect(verifyIntent(claim as SignedIntent).ok).toBe(false)
      }),
    )
  })
})
