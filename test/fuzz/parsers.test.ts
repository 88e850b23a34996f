import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { z } from 'zod'
import { SignedBody } from '../../src/actions/schemas.ts'
import { verifyAction } from '../../src/actions/verify.ts'
import { OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import { readConfig } from '../../src/env.ts'
import { countByIp } from '../../src/http/ip-limits.ts'
import * as keys from '../../src/keys/schemas.ts'
import { SCOPES } from '../../src/keys/scope.ts'
import { parseSecret } from '../../src/keys/secret.ts'
import { trustProxies } from '../../src/node/proxies.ts'
import type { NewOrder } from '../../src/orders/order.ts'
import * as orders from '../../src/orders/schemas.ts'
import { canonicalOrder, orderHash, validateOrder } from '../../src/orders/validate.ts'
import { isContractId, isStacksAddress, isWalletAddress } from '../../src/stacks/address.ts'
import { isIntentAmount, isIntentUuid, verifyIntent } from '../../src/stacks/intent.ts'
import { nobleRecover, parseSignature } from '../../src/stacks/recover.ts'
import { verifyMessage } from '../../src/stacks/signature.ts'
import { canonicalAddress, UNKNOWN_ADDRESS } from '../../src/wire/ip.ts'
import { issuesOf } from '../../src/wire/issues.ts'
import { parseJson } from '../../src/wire/json.ts'
import { unknownSecret } from '../support/secrets.ts'
import { newWallet } from '../support/wallet.ts'
import { json, objectChange, text, textChange } from './hostile-requests.ts'

/** Tries of all parsers together; with those of the endpoints 100,000. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 90_000)
const clock = { now: Date.UTC(2026, 10, 21) }
const wallet = newWallet({ clock })

/** Tries one parser with its share of the runs. */
function tries<T>(share: number, input: fc.Arbitrary<T>, holds: (input: T) => void): void {
  const property = fc.property(input, (value) => {
    holds(value)
  })
  fc.assert(property, { numRuns: Math.ceil(RUNS * share) })
}

/** A valid object with some changes, or any JSON value. */
const near = (valid: object): fc.Arbitrary<unknown> =>
  fc.oneof(
    {
      weight: 9,
      arbitrary: fc
        .array(objectChange, { maxLength: 3 })
        .map((changes) => changes.reduce((value, change) => change(value), valid)),
    },
    { weight: 1, arbitrary: json },
  )
/** A valid text with some changes, or any text. */
const nearText = (valid: string): fc.Arbitrary<string> =>
  fc.oneof(
    {
      weight: 3,
      arbitrary: fc
        .array(textChange, { maxLength: 3 })
        .map((changes) => changes.reduce((value, change) => change(value), valid)),
    },
    { weight: 1, arbitrary: text },
  )

describe('Whatever it is given,', () => {
  it('parseJson answers what JSON.parse does, or refuses', () => {
    const valid = JSON.stringify(wallet.order({ targetPrice: '1.5', direction: 'gt' }))
    tries(0.2, nearText(valid), (input) => {
      const parsed = parseJson(input)
      if (parsed.ok) {
        expect(parsed.value).toEqual(JSON.parse(input))
        expect(JSON.stringify(parsed.value).isWellFormed()).toBe(true)
      } else if (parsed.reason === 'notJson') expect(() => JSON.parse(input)).toThrow()
      else JSON.parse(input)
    })
  })

  it('parseSecret answers a token of this prefix and checksum, or nothing', () => {
    const valid = unknownSecret()
    tries(0.1, nearText(valid), (input) => {
      if (parseSecret('ck_live_', input) !== undefined) expect(input).toBe(valid)
    })
  })

  const messages: [z.ZodType, object][] = [
    [
      keys.CreateApiKey,
      {
        action: 'create_api_key',
        keyName: 'bot',
        permissions: ['execute'],
        expiresAt: '2099-01-01T00:00:00Z',
      },
    ],
    [keys.ListApiKeys, { action: 'list_api_keys' }],
    [keys.DeleteApiKey, { action: 'delete_api_key', keyId: 'key_123abc' }],
    [orders.CreateOrder, { action: 'create_order', orderHash: 'a'.repeat(64) }],
    [orders.ExecuteOrder, { action: 'execute_order', uuid: 'uuid-1' }],
  ]
  it('the schema of a message refuses with a path, or answers what was signed and no more', () => {
    for (const [schema, members] of messages)
      tries(0.03, near({ ...members, timestamp: clock.now }), (input) => {
        const parsed = schema.safeParse(input)
        if (!parsed.success) return expect(issuesOf(parsed.error)).not.toEqual([])
        expect(parsed.data).toEqual(input)
        const { timestamp, keyName, permissions, uuid } = parsed.data as Record<string, never>
        expect(Number.isSafeInteger(timestamp)).toBe(true)
        if (keyName !== undefined) {
          expect([...String(keyName)].length).toBeLessThanOrEqual(64)
          expect(keyName).not.toMatch(/^\s|\s$|^$|\p{Cc}/u)
        }
        for (const scope of permissions ?? []) expect(SCOPES).toContain(scope)
        if (uuid !== undefined) expect(isIntentUuid(uuid)).toBe(true)
      })
  })

  it('the schema of a signed body refuses, or answers texts', () => {
    tries(0.05, near(wallet.sign({ action: 'list_api_keys' })), (input) => {
      const parsed = SignedBody.safeParse(input)
      if (parsed.success)
        for (const member of Object.values(parsed.data)) expect(typeof member).toBe('string')
    })
  })

  it('the schema of an order refuses, or answers an order that the database can hold', () => {
    const valid = wallet.order({
      recipient: wallet.address,
      targetPrice: '1.5',
      direction: 'gt',
      conditionToken: OUTPUT_TOKEN,
      baseAsset: 'USD',
      validFrom: '2026-01-01T00:00:00Z',
      validTo: '2099-01-01T00:00:00Z',
    })
    tries(0.2, near(valid), (input) => {
      const parsed = orders.NewOrderSchema.safeParse(input)
      if (!parsed.success) return expect(issuesOf(parsed.error)).not.toEqual([])
      const order = parsed.data as NewOrder
      expect(isIntentUuid(order.uuid)).toBe(true)
      expect(isIntentAmount(order.amountIn)).toBe(true)
      for (const time of [order.validFrom, order.validTo])
        if (time !== undefined) expect(new Date(time).toISOString()).toMatch(/^(?!0000)\d{4}-/)
      expect(JSON.stringify(order)).toMatch(/^[\x20-\x7e]*$|"message/)
      validateOrder(order, 'devnet', { enforcesTargetPrice: true, now: 0 })
      expect(orderHash(order)).toMatch(/^[0-9a-f]{64}$/)
      expect(canonicalOrder(order)).not.toContain(order.signature)
    })
  })

  it('the schema of a query refuses, or answers one that the database can run', () => {
    const valid = { owner: wallet.address, status: 'open', limit: '5', cursor: '12' }
    tries(0.05, near(valid), (input) => {
      const parsed = orders.OrderQuery.safeParse(input)
      if (!parsed.success) return
      expect(parsed.data.limit).toBeGreaterThanOrEqual(1)
      expect(parsed.data.limit).toBeLessThanOrEqual(100)
      expect(Number.isSafeInteger(Number(parsed.data.cursor ?? 0))).toBe(true)
      expect(parsed.data.owner ?? '').toMatch(/^[\x21-\x7e]{0,96}$/)
    })
  })

  it('parseSignature refuses, or answers readings of exactly 65 bytes with low S', () => {
    const { signature } = wallet.sign({ action: 'list_api_keys' })
    tries(0.1, fc.oneof(nearText(signature), json), (input) => {
      const parsed = parseSignature(input)
      if (!parsed.ok) return
      expect(input).toMatch(/^(0x)?[0-9a-f]{130}$/i)
      for (const { compact, recovery } of parsed.value) {
        expect(compact).toHaveLength(64)
        expect(recovery).toBeLessThanOrEqual(3)
        expect(compact[32]).toBeLessThanOrEqual(0x7f)
      }
    })
  })

  it('verifyAction lets nothing through that the wallet did not sign', () => {
    const config = readConfig({})
    const valid = wallet.sign({ action: 'execute_order', uuid: 'uuid-1' })
    const policy = { config, recover: nobleRecover, example: {} }
    tries(0.03, near(valid), (input) => {
      const body = SignedBody.safeParse(input)
      if (!body.success) return
      const proof = verifyAction(body.data, orders.ExecuteOrder, policy, clock.now)
      if (!proof.ok) return
      expect(proof.value.message).toBe(valid.message)
      expect(proof.value.walletAddress).toBe(wallet.address)
    })
  })

  it('verifyMessage and verifyIntent answer, and never for something changed', () => {
    const message = { ...wallet.sign({ action: 'list_api_keys' }), network: 'devnet' }
    tries(0.02, near(message), (input) => {
      const proof = verifyMessage(input as never)
      if (proof.ok) expect(input).toMatchObject({ message: message.message })
    })
    const order = wallet.order()
    const intent = { ...order, router: OUTPUT_TOKEN, network: 'devnet' }
    tries(0.02, near(intent), (input) => expect(verifyIntent(input as never).ok).toBe(false))
  })

  it('an address is one, of one network, or none', () => {
    const anything = fc.oneof(nearText(wallet.address), nearText(OUTPUT_TOKEN), json)
    tries(0.05, anything, (input) => {
      const is = [isStacksAddress(input, 'devnet'), isContractId(input, 'devnet')]
      expect(is).not.toEqual([true, true])
      if (is.includes(true)) expect(input).toMatch(/^S[TN][0-9A-HJKMNP-TV-Z]+(\.[A-Za-z][\w-]*)?$/)
      if (isWalletAddress(input, 'devnet')) expect(isWalletAddress(input, 'mainnet')).toBe(false)
    })
  })

  it('the client address is one that was reported, in its canonical form, or unknown', () => {
    const addressOf = trustProxies(['10.0.0.0/8', '2001:db8::/32'])
    const limits = countByIp(10)
    const heard = fc.oneof(nearText('203.0.113.9, 10.0.0.1'), fc.ipV4(), fc.ipV6(), text)
    tries(
      0.03,
      fc.tuple(fc.oneof(fc.constant('10.0.0.1'), fc.ipV6(), text), heard),
      ([connection, header]) => {
        const client = addressOf(connection, header)
        const reported = [connection, ...header.split(',').map((part) => part.trim())]
        expect([UNKNOWN_ADDRESS, ...reported.map(canonicalAddress)]).toContain(client)
        expect(limits.take('keyless', client, clock.now).limit).toBe(10)
      },
    )
  })
})
