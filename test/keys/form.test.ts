import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { formIssues } from '../../src/keys/form.ts'
import { KEY_TERMS, memberOf, TERM_NAMES, type TermName } from '../../src/keys/terms.ts'
import { CHANGE_MEMBERS, GRANT_MEMBERS } from '../../src/keys/values.ts'
import { orderFormIssues } from '../../src/orders/form.ts'
import { NewOrderSchema } from '../../src/orders/schemas.ts'

/*
 * The SDK bundles no zod: it finds what a service would refuse by functions of its own. These tests hold that both accept and refuse
 * the same, so that a wallet signs nothing in vain, and that nothing good is held back.
 */

const GRANT = z.strictObject(GRANT_MEMBERS)
const CHANGE = z.strictObject(CHANGE_MEMBERS)

const TIMES = [
  ...['2027-01-31T00:00:00Z', '2027-01-31T00:00Z', '2027-01-31T00:00:00.123456Z'],
  ...['2027-01-31T00:00:00+02:00', '2027-01-31T00:00:00', '2027-01-31', '2027-02-29T00:00:00Z'],
  ...[
    '2028-02-29T00:00:00Z',
    '2100-02-29T00:00:00Z',
    '2027-13-01T00:00:00Z',
    '0000-01-01T00:00:00Z',
  ],
  ...['0001-01-01T00:00:00+14:00', '9999-12-31T23:59:59Z', '9999-12-31T23:59:59-14:00'],
  ...[
    '2027-01-31t00:00:00z',
    '2027-01-31 00:00:00Z',
    '2027-01-31T24:00:00Z',
    '2027-01-31T00:60:00Z',
  ],
  ...[
    '2027-01-31T00:00:60Z',
    '2027-01-31T00:00:00+0200',
    '2027-01-31T00:00:00+24:00',
    '27-01-31T00:00:00Z',
  ],
  ...[
    '2027-01-31T00:00:00.Z',
    '2027-04-31T00:00:00Z',
    '+02027-01-31T00:00:00Z',
    ' 2027-01-31T00:00:00Z',
  ],
]
const TEXTS = [
  ...[
    '',
    ' ',
    'bot',
    ' bot',
    'b'.repeat(64),
    'b'.repeat(65),
    'b'.repeat(201),
    'café',
    'cafe\u0301',
  ],
  ...[
    'a\u200bb',
    '\u007f',
    'execute',
    'Execute',
    '.stx',
    'ST1.a',
    '203.0.113.0/24',
    '::1',
    'x y',
    '__proto__',
  ],
  ...[
    '1',
    '0',
    '01',
    '1'.repeat(39),
    '1'.repeat(40),
    '-1',
    '1.5',
    'gt',
    '340282366920938463463374607431768211456',
  ],
]
const NUMBERS = [
  0,
  -0,
  1,
  -1,
  1.5,
  9,
  10,
  10_000,
  10_001,
  2 ** 53,
  253_402_300_799_999,
  253_402_300_800_000,
  Number.NaN,
  Number.POSITIVE_INFINITY,
]

const text = fc.oneof(
  fc.constantFrom(...TEXTS, ...TIMES),
  fc.string({ unit: 'grapheme', maxLength: 8 }),
)
const action = fc.constantFrom<unknown>('notify', 'suspend', 'cancel', null, undefined)
const whole = fc.constantFrom<unknown>(...NUMBERS, '10', 60, 100, 101, 2_592_000, 2_592_001)
const record = (members: Record<string, fc.Arbitrary<unknown>>) =>
  fc.record(members, { requiredKeys: [] })
/** Nearly what a heartbeat or alerts may be. */
const rules = fc.oneof(
  record({ seconds: whole, then: action, more: action }),
  record({
    newAddress: record({ action }),
    newNetwork: record({ action, above: whole }),
    errorRate: record({ percent: whole, requests: whole, action }),
    requestsPerMinute: record({ above: whole, action }),
    spendPerHour: record({ above: fc.dictionary(text, text, { maxKeys: 2 }), action }),
    expiring: record({ action }),
    __proto__: action,
    constructor: action,
  }),
  record({ requestsPerMinute: fc.record({ above: fc.constant(5), action }) }),
)
const value = fc.oneof(
  rules,
  text,
  fc.constantFrom<unknown>(...NUMBERS),
  fc.jsonValue(),
  fc.array(fc.oneof(text, fc.constant(1)), { maxLength: 22 }),
  fc.dictionary(
    text,
    fc.oneof(text, fc.record({ perOrder: text, perDay: text }, { requiredKeys: [] })),
  ),
  fc.constantFrom<unknown>(null, undefined, true, false, {}, [], { perOrder: '1' }),
)

describe('What the SDK finds wrong with the terms of a key', () => {
  it.each(TERM_NAMES)('is what the schema of a message refuses: %s', (name: TermName) => {
    const good = { keyName: 'bot', permissions: ['execute'] }
    fc.assert(
      fc.property(value, fc.boolean(), (given, isChange) => {
        const members = { ...good, [memberOf(name)]: given }
        const schema = isChange ? CHANGE : GRANT
        const isRefused = !schema.safeParse(members).success
        expect(formIssues(members, isChange).length > 0, JSON.stringify(given)).toBe(isRefused)
      }),
      { numRuns: 2_000 },
    )
  })

  it('is what the schema refuses of each value by itself', () => {
    const isAmount = (name: TermName) => KEY_TERMS[name].type === 'amounts'
    for (const name of TERM_NAMES)
      for (const given of [
        ...TEXTS,
        ...TIMES,
        ...NUMBERS,
        ...TEXTS.map((one) => [one]),
        ...(isAmount(name) ? TEXTS.map((one) => ({ '.stx': { perDay: one } })) : []),
      ]) {
        const members = { keyName: 'bot', permissions: [], [memberOf(name)]: given }
        const isRefused = !GRANT.safeParse(members).success
        expect(formIssues(members, false).length > 0, `${name} ${JSON.stringify(given)}`).toBe(
          isRefused,
        )
      }
  })

  it('is every member that no message has, and every one that a grant needs', () => {
    expect(formIssues({ keyName: 'a', permissions: [], rateLimits: 9 }, false)).toMatchObject([
      { path: 'rateLimits' },
    ])
    expect(formIssues({}, false).map(({ path }) => path)).toEqual(['keyName', 'permissions'])
    expect(formIssues({}, true)).toEqual([])
  })
})

describe('What the SDK finds wrong with an order', () => {
  const ORDER = {
    owner: 'ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG',
    inputToken: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.a',
    outputToken: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.b',
    amountIn: '1',
    uuid: 'uuid-1',
    signature: '00'.repeat(65),
  }
  const fields = [
    ...[
      'owner',
      'inputToken',
      'outputToken',
      'amountIn',
      'uuid',
      'recipient',
      'targetPrice',
      'direction',
    ],
    ...[
      'conditionToken',
      'baseAsset',
      'validFrom',
      'validTo',
      'routerContract',
      'minAmountOut',
      'salt',
    ],
    ...['deadline', 'executor', 'other'],
  ]
  const given = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        'a'.repeat(32),
        '1',
        '0.5',
        '*',
        'gt',
        '2027-01-31T00:00:00Z',
        '2027-02-01T00:00:00Z',
      ),
    },
    { weight: 1, arbitrary: value },
  )

  it('is what its schema refuses', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...fields), given, { maxKeys: 4 }), (changed) => {
        const order = Object.fromEntries(
          Object.entries({ ...ORDER, ...changed }).filter(([, one]) => one !== undefined),
        )
        const isRefused = !NewOrderSchema.safeParse(order).success
        expect(orderFormIssues(order).length > 0, JSON.stringify(changed)).toBe(isRefused)
      }),
      { numRuns: 10_000 },
    )
  })
})
