import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { FAR_TOKEN, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import { ok, refuse } from '../../src/result.ts'
import type { Chain } from '../../src/settlement/chain.ts'
import type { SubmitResult } from '../../src/settlement/submit-result.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

describe('executing an order', () => {
  let service: Service
  let wallet: Wallet
  let key: { apiKey: string; keyId: string }
  /** What the chain's next answers are, instead of its own. */
  let saying: Partial<Chain> = {}
  beforeAll(async () => {
    service = await startService('PGlite', {
      change: (world) => {
        const chain = new Proxy(world.chain, {
          get: (real, name: keyof Chain) => saying[name] ?? real[name],
        })
        return { ...world, chain }
      },
    })
    wallet = newWallet(service)
    await fund(service, wallet)
    key = await createKey(service, wallet)
  })
  afterAll(() => service.close())

  async function execute(uuid: string, chain: Partial<Chain> = {}) {
    saying = chain
    const response = await service.call(`/orders/${uuid}/execute`, {
      method: 'POST',
      headers: { 'X-API-Key': key.apiKey },
    })
    saying = {}
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const answering = (answer: SubmitResult): Partial<Chain> => ({ submit: async () => answer })
  async function stored(uuid: string) {
    const [row] = await rows<Record<string, unknown>>(
      service.world.db,
      sql`SELECT orders.status, orders.txid, failure_reason, transactions.status AS sent
        FROM orders LEFT JOIN transactions ON order_uuid = uuid WHERE uuid = ${uuid}`,
    )
    return row
  }
  async function nextNonce() {
    const [row] = await rows<{ nonce: number }>(
      service.world.db,
      sql`SELECT next_nonce::int AS nonce FROM operators`,
    )
    return row?.nonce
  }

  it('keeps the bytes to the one who sends them first, however long the quote took', async () => {
    const uuid = await createOrder(service, wallet)
    let leasedForMs: number | undefined
    const { quote } = service.world.chain
    const { status } = await execute(uuid, {
      async quote(...asked) {
        const quoted = await quote(...asked)
        service.clock.now += 60_000
        return quoted
      },
      async submit() {
        const [row] = await rows<{ until: number }>(
          service.world.db,
          sql`SELECT (extract(epoch FROM check_at) * 1000)::float8 AS until FROM transactions
            WHERE order_uuid = ${uuid}`,
        )
        leasedForMs = (row?.until ?? 0) - service.clock.now
        return { kind: 'refused', reason: 'NoSuchContract' }
      },
    })
    expect(status).toBe(202)
    expect(leasedForMs).toBeGreaterThan(service.world.config.NODE_TIMEOUT_MS)
    await sendStored(service, uuid)
  })

  it('pays the recipient through as many vaults as the route has', async () => {
    for (const outputToken of [OUTPUT_TOKEN, FAR_TOKEN]) {
      const uuid = await createOrder(service, wallet, { outputToken })
      expect(await execute(uuid)).toMatchObject({ status: 200 })
      expect(BigInt((await balancesOf(wallet))[outputToken] ?? '0')).toBeGreaterThan(0n)
    }
  })

  it('sends nothing and changes nothing when there is no route', async () => {
    const uuid = await createOrder(service, wallet)
    const answer = await execute(uuid, { quote: async () => refuse('noRoute') })
    expect(answer).toMatchObject({ status: 502, body: { code: 'EXECUTION_FAILED' } })
    expect(await stored(uuid)).toMatchObject({ status: 'open', txid: null, sent: null })
  })

  it('sends nothing and changes nothing when nobody can say whether there is a route', async () => {
    const uuid = await createOrder(service, wallet)
    const answer = await execute(uuid, { quote: async () => refuse('chainUnavailable') })
    expect(answer).toMatchObject({ status: 503, body: { code: 'UNAVAILABLE' } })
    expect(await stored(uuid)).toMatchObject({ status: 'open', txid: null, sent: null })
  })

  it('answers pending with the txid, and keeps the order, when the node said nothing', async () => {
    const uuid = await createOrder(service, wallet)
    const answer = await execute(uuid, answering({ kind: 'unknown', reason: 'TimeoutError' }))
    expect(answer).toMatchObject({ status: 202, body: { status: 'pending' } })
    expect(await stored(uuid)).toMatchObject({
      status: 'executing',
      txid: answer.body.txid,
      sent: 'signed',
    })
    expect(await execute(uuid)).toMatchObject({
      status: 400,
      body: { code: 'ORDER_NOT_OPEN', details: { status: 'executing' } },
    })
    // The nonce is in use for good: give it to the chain, so that later tests have no gap.
    await sendStored(service, uuid)
  })

  it.each<SubmitResult>([
    { kind: 'refused', reason: 'NoSuchContract' },
    { kind: 'noFunds', reason: 'NotEnoughFunds' },
    { kind: 'feeTooLow', reason: 'FeeTooLow' },
    { kind: 'nonceTaken', reason: 'BadNonce' },
    { kind: 'waiting', reason: 'TooMuchChaining' },
  ])('holds the order for the bytes that were sent, whatever the node says: $reason', async (result) => {
    const uuid = await createOrder(service, wallet)
    const before = await nextNonce()
    const answer = await execute(uuid, answering(result))
    expect(answer).toMatchObject({ status: 202, body: { status: 'pending' } })
    expect(await stored(uuid)).toMatchObject({
      status: 'executing',
      txid: answer.body.txid,
      sent: 'signed',
    })
    expect(await nextNonce()).toBe((before ?? 0) + 1)
    await sendStored(service, uuid)
  })

  it('sends nothing when the owner cannot pay, or the uuid is used: a mined abort costs fees', async () => {
    const uuid = await createOrder(service, wallet)
    expect(await execute(uuid, { tokenBalance: async () => 999_999n })).toMatchObject({
      status: 502,
      body: { details: { reason: 'insufficient_balance', amountIn: '1000000', balance: '999999' } },
    })
    expect(await execute(uuid, { isUuidUsed: async () => true })).toMatchObject({
      status: 502,
      body: { details: { reason: 'uuid_used' } },
    })
    for (const silent of ['tokenBalance', 'isUuidUsed'])
      expect(await execute(uuid, { [silent]: async () => undefined })).toMatchObject({
        status: 503,
        body: { code: 'UNAVAILABLE' },
      })
    expect(await stored(uuid)).toMatchObject({ status: 'open', txid: null, sent: null })
  })

  it('promises the trader the minimum of the quote: a worse swap aborts on chain', async () => {
    const uuid = await createOrder(service, wallet)
    const before = await balancesOf(wallet)
    const honest = service.world.chain.quote
    expect(
      await execute(uuid, {
        quote: async (...asked) => {
          const quote = await honest(...asked)
          return quote.ok
            ? ok({ ...quote.value, minimumReceived: `${quote.value.amountOut}0` })
            : quote
        },
      }),
    ).toMatchObject({ status: 200 })
    expect(await balancesOf(wallet)).toEqual(before)
  })

  it('is asked for by the owner as well, with a signed execute_order', async () => {
    const uuid = await createOrder(service, wallet)
    const signed = wallet.sign({ action: 'execute_order', uuid })
    const response = await service.call(`/orders/${uuid}/execute`, json(signed))
    expect(response.status).toBe(200)
    const again = await service.call(`/orders/${uuid}/execute`, json(signed))
    expect(await again.json()).toMatchObject({ code: 'MESSAGE_REPLAYED' })
  })

  async function balancesOf({ address }: Wallet): Promise<Record<string, string>> {
    const response = await fetch(`${service.world.config.STACKS_API_URL}/balances/${address}`)
    return ((await response.json()) as { tokens: Record<string, string> }).tokens
  }
})

/** What a reconciler does: the same bytes once more. */
async function sendStored(service: Service, uuid: string): Promise<void> {
  const [sent] = await rows<{ txid: string; box: string }>(
    service.world.db,
    sql`SELECT txid, encode(raw_box, 'hex') AS box FROM transactions WHERE order_uuid = ${uuid}`,
  )
  const raw = await service.world.encryption.decrypt(
    Uint8Array.from(Buffer.from(sent?.box ?? '', 'hex')),
    `transaction ${sent?.txid}`,
  )
  expect(await service.world.chain.submit(raw)).toEqual({ kind: 'accepted' })
}
