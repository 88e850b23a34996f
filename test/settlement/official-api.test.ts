import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { FAR_TOKEN, INPUT_TOKEN, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import { connectStacksNode } from '../../src/settlement/stacks-node.ts'
import { createOrder, json } from '../support/wallet.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from './chain.ts'

const SUBMIT = '/v2/transactions'

describe('where the official API differs from a simple one', () => {
  let chain: OwnChain
  let service: Settling
  beforeAll(async () => {
    chain = await startOwnChain()
    service = await startSettling(chain, { engine: 'Postgres', env: { CONFIRMATIONS: '1' } })
  })
  afterEach(async () => {
    await chain.clear()
    await chain.feeRate({})
    await chain.blockTime(0)
  })
  afterAll(async () => {
    await service.close()
    await chain.stop()
  })

  it('nothing is asked for the time that a 429 names, by any of its endpoints', async () => {
    const asked: string[] = []
    let now = 1_000_000
    const node = connectStacksNode({
      network: 'devnet',
      apiUrl: chain.url,
      quoteUrl: `${chain.url}/quote`,
      now: () => now,
      async fetch(url, init) {
        asked.push(new URL(String(url)).pathname)
        return fetch(url, init)
      },
    })
    const txid = '00'.repeat(32)
    await chain.plan({
      on: '/extended/v3/',
      do: 'answer',
      status: 429,
      headers: { 'Retry-After': '7' },
      times: 1,
    })
    expect(await node.find(txid)).toEqual({ kind: 'unknown' })
    expect(await node.height()).toBeUndefined()
    now += 6_999
    expect(await node.find(txid)).toEqual({ kind: 'unknown' })
    expect(asked).toEqual([`/extended/v3/transactions/0x${txid}`])
    now += 1
    expect(await node.find(txid)).toEqual({ kind: 'absent' })
  })

  it('a microblock that is not canonical confirms nothing', async () => {
    const uuid = await createOrder(service, service.wallet)
    const { body } = await service.execute(uuid)
    await service.until(uuid, 'confirmed')
    await chain.blockTime(null)
    await chain.reorganise(String(body.txid), 'microblock')
    await service.until(uuid, 'broadcasted', 200)
    await chain.blockTime(0)
    await service.until(uuid, 'confirmed')
  })

  it('a route comes with numbers for opcodes and amounts, and without assets', async () => {
    await chain.plan({ on: '/quote', do: 'public-quote' })
    const uuid = await createOrder(service, service.wallet)
    expect(await service.execute(uuid)).toMatchObject({ status: 200 })
    await service.until(uuid, 'confirmed')
  })

  it('a route whose tokens in between are not named is not sent: post-conditions would abort it', async () => {
    await chain.plan({ on: '/quote', do: 'public-quote' })
    const orders = [
      service.wallet.order({ outputToken: FAR_TOKEN }),
      service.wallet.committedOrder({ outputToken: FAR_TOKEN }),
    ]
    for (const order of orders) {
      await service.call('/orders/new', json(order))
      expect(await service.execute(order.uuid)).toMatchObject({
        status: 502,
        body: { details: { reason: 'route_asset_unknown' } },
      })
      expect(await service.order(order.uuid)).toMatchObject({ status: 'open' })
    }
  })

  it('an amount beyond what a post-condition can hold is not swapped below its minimum', async () => {
    const seen = await service.world.chain.quote(INPUT_TOKEN, OUTPUT_TOKEN, '1000000')
    const hops = seen.ok ? seen.value.hops : []
    const body = { success: true, data: { amountOut: String(2n ** 70n), hops } }
    await chain.plan({ on: '/quote', do: 'answer', status: 200, body })
    const uuid = await createOrder(service, service.wallet)
    expect(await service.execute(uuid)).toMatchObject({
      status: 502,
      body: { details: { reason: 'amount_too_large' } },
    })
    expect(await service.order(uuid)).toMatchObject({ status: 'open' })
    const committed = service.wallet.committedOrder()
    await service.call('/orders/new', json(committed))
    expect(await service.execute(committed.uuid)).toMatchObject({ status: 200 })
    await service.until(committed.uuid, 'failed')
  })

  it('a quote service that fails where it has no route leaves the order open', async () => {
    await chain.plan({ on: '/quote', do: 'public-quote' })
    const outputToken = `${OUTPUT_TOKEN}-of-none`
    const uuid = await createOrder(service, service.wallet, { outputToken })
    expect(await service.execute(uuid)).toMatchObject({ status: 503 })
    expect(await service.order(uuid)).toMatchObject({ status: 'open' })
  })

  it.each([
    [
      'a vault as an object, and no minimum',
      { hops: [{ vault: { contractId: 'VAULT' }, opcode: 0 }] },
      1,
    ],
    ['no hops', { hops: [] }, 'noRoute'],
    ['no hops at all', {}, 'noRoute'],
    [
      'more hops than a router takes',
      { hops: Array(6).fill({ vault: 'VAULT', opcode: 0 }) },
      'chainUnavailable',
    ],
    [
      'a vault of another network',
      { hops: [{ vault: 'SP000000000000000000002Q6VF78.pox', opcode: 0 }] },
      'chainUnavailable',
    ],
    ['an amount that has lost digits', { amountOut: 2 ** 60, hops: [] }, 'chainUnavailable'],
  ])('a quote with %s is read, or refused, and never sent on', async (_, data, expected) => {
    const quote = await service.world.chain.quote(INPUT_TOKEN, OUTPUT_TOKEN, '1000000')
    const vault = quote.ok ? quote.value.hops[0]?.vault : ''
    const body = JSON.parse(
      JSON.stringify({ success: true, data: { amountOut: 5, ...data } }).replaceAll(
        'VAULT',
        vault ?? '',
      ),
    )
    await chain.plan({ on: '/quote', do: 'answer', status: 200, body, times: 1 })
    const seen = await service.world.chain.quote(INPUT_TOKEN, OUTPUT_TOKEN, '1000000')
    if (typeof expected === 'string') expect(seen).toMatchObject({ ok: false, reason: expected })
    else expect(seen).toMatchObject({ ok: true, value: { hops: [{ vault, opcode: '00' }] } })
  })

  it('a swap pays what the node estimates, up to the ceiling, and never less than its size demands', async () => {
    const feeOf = async (rates: object) => {
      await chain.feeRate(rates)
      const uuid = await createOrder(service, service.wallet)
      const { body } = await service.execute(uuid)
      await service.until(uuid, 'confirmed')
      return Number((await service.stored()).find(({ txid }) => txid === body.txid)?.fee)
    }
    expect(await feeOf({})).toBe(3_000)
    const estimated = await feeOf({ estimate: 20 })
    expect(estimated).toBeGreaterThan(10_000)
    expect(await feeOf({ estimate: 10_000 })).toBe(service.world.config.MAX_FEE_IN_MICRO_STX)
    expect(await feeOf({ estimate: 2, minimum: 8 })).toBeGreaterThan(3_000)
  })

  it('problematic_skipped pays the fee, uses the nonce, and swaps nothing', async () => {
    const uuid = await createOrder(service, service.wallet)
    await chain.plan({ on: SUBMIT, do: 'abort', as: 'problematic_skipped', times: 1 })
    await service.execute(uuid)
    expect(await service.until(uuid, 'failed')).toMatchObject({
      failureReason: 'problematic_skipped',
    })
    const next = await createOrder(service, service.wallet)
    expect(await service.execute(next)).toMatchObject({ status: 200 })
    await service.until(next, 'confirmed')
  })
})
