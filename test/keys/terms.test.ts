import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import type { OpenDatabase } from '../../src/db/postgres.ts'
import {
  KEY_TERMS,
  type KeyTerms,
  memberOf,
  presentTerms,
  TERM_NAMES,
  termsAfter,
  termsShown,
} from '../../src/keys/terms.ts'
import { termLists } from '../../src/keys/terms-sql.ts'

/** Names as Postgres has them in its catalog. */
const UDT_NAMES = {
  text: 'text',
  list: '_text',
  ranges: '_cidr',
  integer: 'int4',
  time: 'timestamptz',
  amounts: 'jsonb',
  flag: 'bool',
  publicKey: 'jsonb',
  record: 'jsonb',
}

const texts = (...from: string[]) =>
  fc.uniqueArray(fc.constantFrom(...from), { minLength: 1, maxLength: from.length })
const orNone = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null })
const amount = fc.bigInt({ min: 1n, max: 10n ** 38n }).map(String)
const action = fc.constantFrom('notify' as const, 'suspend' as const)
const limit = fc.oneof(
  fc.record({ perOrder: amount }),
  fc.record({ perDay: amount }),
  fc.record({ perOrder: amount, perDay: amount }),
)
/** Any value that a key may have of each term. A new term needs one here. */
const TERMS = {
  name: fc.constantFrom('bot', 'Café 🤖', `O'Brien "x" \\ {,}`, 'NULL'),
  permissions: fc.subarray(['create', 'execute', 'cancel', 'null']),
  expiresAt: orNone(fc.integer({ min: 1, max: Date.UTC(9999, 11, 31) })),
  rateLimit: orNone(fc.integer({ min: 10, max: 100 })),
  ipAllowlist: orNone(texts('192.0.2.1', '192.0.2.0/24', '2001:DB8::/32', '::ffff:192.0.2.7')),
  tokens: orNone(texts('.stx', 'ST1.token', 'ST1.null')),
  recipients: orNone(texts('ST1', 'ST2')),
  maxAmountIn: orNone(
    fc.dictionary(fc.constantFrom('.stx', 'ST1.constructor'), limit, { minKeys: 1 }),
  ),
  ownOrdersOnly: fc.boolean(),
  maxOpenOrders: orNone(fc.integer({ min: 1, max: 10_000 })),
  publicKey: orNone(fc.constant({ alg: 'ed25519' as const, key: `${'A'.repeat(41)}-A` })),
  requireSignature: fc.boolean(),
  maxSignatureAgeSeconds: orNone(fc.integer({ min: 5, max: 300 })),
  heartbeat: orNone(
    fc.record({
      seconds: fc.integer({ min: 10, max: 2_592_000 }),
      then: fc.constantFrom('cancel' as const, 'suspend' as const),
    }),
  ),
  alerts: orNone(
    fc.oneof(
      fc.record({ newAddress: fc.record({ action }), newNetwork: fc.record({ action }) }),
      fc.record({
        errorRate: fc.record({ percent: fc.nat(100), requests: fc.nat(100), action }),
        requestsPerMinute: fc.record({ above: fc.nat(1_000), action }),
      }),
      fc.record({
        spendPerHour: fc.record({ above: fc.dictionary(fc.constant('.stx'), amount), action }),
        expiring: fc.constant({ action: 'notify' as const }),
      }),
    ),
  ),
  label: orNone(fc.constantFrom('prod', 'NULL', `'); --`)),
  justification: orNone(fc.constantFrom('ticket 4711', '{}', '"')),
} satisfies { [Name in keyof KeyTerms]: fc.Arbitrary<KeyTerms[Name]> }
const anyTerms: fc.Arbitrary<KeyTerms> = fc.record(TERMS)

describe('A term of the table', () => {
  let database: OpenDatabase
  beforeAll(async () => {
    database = await openDatabase('pglite::memory:')
  })
  afterAll(() => database.close())

  it('has a column of its type', async () => {
    const found = await rows<{ name: string; type: string }>(
      database.db,
      sql`SELECT column_name AS name, udt_name AS type FROM information_schema.columns WHERE table_name = 'api_keys'`,
    )
    const types = Object.fromEntries(found.map(({ name, type }) => [name, type]))
    for (const { column, type } of Object.values(KEY_TERMS))
      expect([column, types[column]]).toEqual([column, UDT_NAMES[type]])
  })

  it('is read from its column as it was written', async () => {
    await fc.assert(
      fc.asyncProperty(anyTerms, async (terms) => {
        const { columns, values } = termLists(terms)
        const [row] = await rows<Record<string, unknown>>(
          database.db,
          sql`SELECT to_jsonb(written) AS row FROM (SELECT * FROM (VALUES (${values})) AS v (${columns})) AS written`,
        )
        const stored = row?.row as Record<string, unknown>
        for (const name of TERM_NAMES) {
          const { column, canonical = (value: unknown) => value } = KEY_TERMS[name]
          const value = stored[column]
          const read = name === 'expiresAt' && value !== null ? Date.parse(String(value)) : value
          expect([name, canonical(read)]).toEqual([name, canonical(terms[name])])
        }
      }),
      { numRuns: 50 },
    )
  })

  it('is claimed by a response exactly as it was set', () => {
    fc.assert(
      fc.property(anyTerms, (terms) => {
        const { name, permissions, rateLimit, expiresAt } = terms
        const shown = {
          name,
          permissions,
          rateLimit: rateLimit ?? 100,
          ...presentTerms(terms),
          ...(expiresAt !== null && { expiresAt: new Date(expiresAt).toISOString() }),
        }
        const claimed = termsShown(JSON.parse(JSON.stringify(shown)))
        expect(claimed).toEqual({ ...terms, rateLimit: shown.rateLimit })
      }),
    )
  })

  it('is changed by its own member, kept by its absence, and lifted by null unless every grant sets it', () => {
    fc.assert(
      fc.property(anyTerms, anyTerms, fc.constantFrom(...TERM_NAMES), (before, other, term) => {
        const { isRequired = false, none } = KEY_TERMS[term]
        const signed = other[term]
        fc.pre(signed !== null)
        expect(termsAfter({ [memberOf(term)]: signed }, before)).toEqual({
          ...before,
          [term]: signed,
        })
        if (!isRequired)
          expect(termsAfter({ [memberOf(term)]: null }, before)).toEqual({
            ...before,
            [term]: none,
          })
      }),
    )
  })
})
