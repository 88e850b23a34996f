import { createHash } from 'node:crypto'
import { Cl } from '@stacks/transactions'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  type CommittedTerms,
  checkCommittedTerms,
  committedTermsTuple,
  committedUuid,
  isUuidOfTerms,
} from '../../src/stacks/committed.ts'
import { isIntentUuid } from '../../src/stacks/intent.ts'
import { NETWORKS, type Network } from '../../src/stacks/network.ts'
import { hostile } from '../support/hostile-values.ts'
import committed from '../vectors/committed.json' with { type: 'json' }
import { anyTerms } from './terms.ts'

const ST = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM'
const SP = 'SP2ZNGJ85ENDY6QRHQ5P2D4FXKGZWCKTB2T0Z55KS'
const TERMS: CommittedTerms = {
  by: null,
  min: '1000',
  salt: '07'.repeat(16),
  to: ST,
  token: `${ST}.usd-token`,
  until: 1_900_000_000,
}

/** The members as strangers may send them. */
type Loose = { [Member in keyof CommittedTerms]?: unknown }
const reason = (change: Loose, network: Network = 'devnet') => {
  const checked = checkCommittedTerms({ ...TERMS, ...change } as CommittedTerms, network)
  return checked.ok ? 'ok' : checked.reason
}

describe('the vectors', () => {
  test('are all here, with the two of the design', () => {
    expect(committed).toHaveLength(7)
    expect(committedUuid(TERMS, 'devnet')).toBe('b3f4e49fcca0144c1c0a0fd81720b91b009e')
    expect(committedUuid({ ...TERMS, by: ST }, 'devnet')).toBe(
      '352bdd198269adc9152c6edcd180c0b53ea5',
    )
  })

  for (const { why, network, terms, bytes, uuid } of committed) {
    test(`serialize and hash as the chain does: ${why}`, () => {
      expect(committedTermsTuple(terms, network as Network)).toBe(bytes)
      expect(committedUuid(terms, network as Network)).toBe(uuid)
      expect(isUuidOfTerms(uuid, terms, network as Network)).toBe(true)
    })
  }
})

describe('a uuid of terms', () => {
  test('fits an intent', () => {
    expect(isIntentUuid(committedUuid(TERMS, 'devnet'))).toBe(true)
  })

  test('is that of no other terms, spelling or network', () => {
    const uuid = committedUuid(TERMS, 'devnet')
    const changes: Partial<CommittedTerms>[] = [
      { by: ST },
      { min: '1001' },
      { salt: `08${'07'.repeat(15)}` },
      { to: `${ST}.usd-token` },
      { token: `${ST}.usd-token-` },
      { until: 1_900_000_001 },
    ]
    for (const change of changes) {
      expect(isUuidOfTerms(uuid, { ...TERMS, ...change }, 'devnet')).toBe(false)
    }
    for (const other of [uuid.toUpperCase(), `0x${uuid}`, uuid.slice(1), '', null, undefined]) {
      expect(isUuidOfTerms(other, TERMS, 'devnet')).toBe(false)
    }
    expect(isUuidOfTerms(uuid, TERMS, 'mainnet')).toBe(false)
  })

  test('is not made of terms that are not well formed', () => {
    const wrong = { ...TERMS, min: '0' }
    expect(() => committedUuid(wrong, 'devnet')).toThrow('invalid_min')
    expect(() => committedTermsTuple(wrong, 'devnet')).toThrow(TypeError)
    expect(isUuidOfTerms('', wrong, 'devnet')).toBe(false)
  })
})

describe('the members of terms', () => {
  test.each([
    ['by', [ST, `${ST}.executor`, null]],
    ['min', ['1', '340282366920938463463374607431768211455']],
    ['salt', ['00'.repeat(16), 'ff'.repeat(16)]],
    ['to', [ST, `${ST}.treasury`]],
    ['token', [`${ST}.a`, `${ST}.${'a'.repeat(40)}`]],
    ['until', [1, Number.MAX_SAFE_INTEGER]],
  ])('accepts %s', (member, values) => {
    for (const value of values) expect([value, reason({ [member]: value })]).toEqual([value, 'ok'])
  })

  test.each([
    ['by', ['', ST.toLowerCase(), SP, `${ST}.`, `${SP}.executor`, undefined, 1, {}]],
    ['min', ['0', '01', '-1', '1.0', '1e3', '0x1', '', '9'.repeat(39), 1, 1n, null, undefined]],
    [
      'salt',
      ['', '07'.repeat(15), '07'.repeat(17), 'FF'.repeat(16), `0x${'07'.repeat(15)}`, 7, null],
    ],
    ['to', ['', SP, 'me', `${ST}.${'a'.repeat(41)}`, null, undefined, 7]],
    ['token', ['', ST, `${SP}.usd-token`, '.stx', null, undefined, 7]],
    [
      'until',
      [0, -1, 1.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, '1900000000', null, undefined],
    ],
  ])('refuses %s', (member, values) => {
    for (const value of values)
      expect([value, reason({ [member]: value })]).toEqual([value, `invalid_${member}`])
  })

  test('are of one network: every principal of another is refused', () => {
    for (const network of NETWORKS) {
      expect(reason({}, network)).toBe(network === 'mainnet' ? 'invalid_to' : 'ok')
    }
  })

  test('are taken as they are checked, and nothing else with them', () => {
    const checked = checkCommittedTerms({ ...TERMS, extra: 1 } as CommittedTerms, 'devnet')
    expect(checked).toEqual({ ok: true, value: TERMS })
  })
})

describe('properties', () => {
  test('any terms serialize as stacks.js serializes them, and hash to 36 hexadecimal characters', () => {
    fc.assert(
      fc.property(anyTerms(ST), (terms) => {
        const { by, min, salt, to, token, until } = terms
        const bytes = Cl.serialize(
          Cl.tuple({
            by: by === null ? Cl.none() : Cl.some(Cl.principal(by)),
            min: Cl.uint(min),
            salt: Cl.bufferFromHex(salt),
            to: Cl.principal(to),
            token: Cl.principal(token),
            until: Cl.uint(until),
          }),
        )
        expect(committedTermsTuple(terms, 'testnet')).toBe(bytes)
        const hash = createHash('sha256').update(Buffer.from(bytes, 'hex')).digest('hex')
        expect(committedUuid(terms, 'testnet')).toBe(hash.slice(0, 36))
      }),
      { numRuns: 500 },
    )
  })

  test('two terms never share a uuid', () => {
    const seen = new Map<string, string>()
    fc.assert(
      fc.property(anyTerms(ST), (terms) => {
        const text = JSON.stringify(terms)
        const uuid = committedUuid(terms, 'devnet')
        expect(seen.get(uuid) ?? text).toBe(text)
        seen.set(uuid, text)
      }),
    )
  })

  test('nothing that a stranger sends makes a check throw', () => {
    for (const member of Object.keys(TERMS)) {
      fc.assert(
        fc.property(hostile, (value) => {
          const terms = { ...TERMS, [member]: value } as CommittedTerms
          expect(isUuidOfTerms('', terms, 'devnet')).toBe(false)
        }),
        { numRuns: 200 },
      )
    }
    fc.assert(
      fc.property(fc.anything(), (terms) => {
        expect(checkCommittedTerms(terms as CommittedTerms, 'devnet').ok).toBe(false)
      }),
    )
  })
})
