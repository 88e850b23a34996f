import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { INPUT_TOKEN } from '../../src/devnet/constants.ts'
import { TERM_MEMBERS } from '../../src/keys/terms.ts'
import { startService } from '../http/documented.ts'
import { stored } from '../support/assertions.ts'
import type { Service } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

const RUNS = Number(process.env.FUZZ_RUNS ?? 150)

/** Each signed act on keys: where it goes, and members that are valid. */
const ACTS = [
  ['POST', '/api-keys', 'create_api_key', { keyName: 'fuzzed', permissions: ['create'] }],
  ['PATCH', '/api-keys/{}', 'update_api_key', { label: 'fuzzed' }],
  ['POST', '/api-keys/{}/rotate', 'rotate_api_key', { graceSeconds: 60 }],
  ['POST', '/api-keys/{}/suspend', 'suspend_api_key', {}],
  ['POST', '/api-keys/{}/resume', 'resume_api_key', {}],
  ['POST', '/api-keys/{}/revoke', 'revoke_api_key', { notAfter: Date.now() + 86_400_000 }],
  ['DELETE', '/api-keys/{}', 'delete_api_key', {}],
  ['POST', '/api-keys/revoke-all', 'revoke_all_api_keys', { cancelOpenOrders: true }],
  ['POST', '/sessions', 'create_session', { ttlSeconds: 60 }],
] as const

const MEMBERS = [
  ...TERM_MEMBERS,
  'graceSeconds',
  'notAfter',
  'ttlSeconds',
  'cancelOpenOrders',
  'timestamp',
  'keyId',
  'action',
  '__proto__',
  'constructor',
]

const hostile = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -1,
    50,
    1.5,
    Number.MAX_SAFE_INTEGER,
    '',
    'create',
    [],
    {},
    [null],
    ['create', 'create'],
    ['0.0.0.0/0', '::/0'],
    ['192.0.2.1/24'],
    ['{},"NULL'],
    [INPUT_TOKEN],
    ['.stx'],
    ['NULL'],
    { [INPUT_TOKEN]: { perDay: '9'.repeat(39) } },
    { [INPUT_TOKEN]: { perOrder: '1' } },
    JSON.parse('{"__proto__":{"perDay":"1"}}'),
    JSON.parse(`{"__proto__":{"perDay":"1"},"${INPUT_TOKEN}":{"perDay":"1"}}`),
    { constructor: { perDay: '1' } },
    '2999-01-01T00:00:00Z',
    '{}',
    "'); DROP TABLE api_keys;--",
    '\u0000',
    '\ud800',
  ),
  fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<unknown>,
)

describe('Signed acts on keys with whatever members', () => {
  let service: Service
  beforeAll(async () => {
    service = await startService('PGlite', { env: { MAX_ACTIVE_KEYS_PER_WALLET: '10000' } })
  })
  afterAll(() => service.close())

  const send = (wallet: Wallet, method: string, path: string, members: object) => {
    const body = wallet.sign(members as Record<string, unknown>)
    return { body, answer: service.call(path, { ...json(body), method }) }
  }

  it.each(
    ACTS,
  )('%s %s: %s answers, and changes nothing that was not signed', async (method, path, action, valid) => {
    const wallet = newWallet(service)
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.constantFrom(...MEMBERS), hostile, { maxKeys: 3, noNullPrototype: true }),
        async (changed) => {
          service.clock.now += 1
          const { keyId } = await createKey(service, wallet)
          const before = await stored(service)
          const members = { action, ...(path.includes('{}') && { keyId }), ...valid, ...changed }
          const { body, answer } = send(wallet, method, path.replace('{}', keyId), members)
          const response = await answer
          expect(response.status, body.message).toBeLessThan(500)
          const after = await stored(service)
          const isKept = after.some(
            (row) =>
              row.startsWith('signed_actions ') &&
              row.includes(JSON.stringify(body.message).slice(1, -1)),
          )
          if (response.ok) expect(isKept, body.message).toBe(true)
          else expect(after, body.message).toEqual(before)
        },
      ),
      { numRuns: Math.ceil(RUNS / ACTS.length) * 2 },
    )
  })
})
