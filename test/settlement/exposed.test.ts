import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { signatureLabel } from '../../src/crypto/labels.ts'
import { rows } from '../../src/db/database.ts'
import { INTENT_VERIFIER, OUTPUT_TOKEN, ROUTER } from '../../src/devnet/constants.ts'
import { buildSwap, signFiller } from '../../src/settlement/transaction.ts'
import { addressOf } from '../../src/stacks/sign.ts'
import { answered, refused } from '../support/assertions.ts'
import { createOrder, json } from '../support/wallet.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from './chain.ts'

const SUBMIT = '/v2/transactions'

describe('an intent that a broadcast made public', () => {
  let chain: OwnChain
  let service: Settling
  beforeAll(async () => {
    chain = await startOwnChain()
    service = await startSettling(chain, {
      engine: 'Postgres',
      env: { MAX_BURNS_PER_WALLET_AND_DAY: '1000' },
    })
  })
  afterEach(async () => {
    await chain.clear()
    await chain.blockTime(0)
  })
  afterAll(async () => {
    await service.close()
    await chain.stop()
  })

  /** Sends the intent of an order with a recipient of the sender's choice; the status that it is mined with. */
  async function steal(uuid: string): Promise<string> {
    const thief = await chain.newOperator()
    const [order] = await rows<{ box: string; input: string; amount: string }>(
      service.world.db,
      sql`SELECT encode(signature_box, 'hex') AS box, input_token AS input, amount_in::text AS amount FROM orders
        WHERE uuid = ${uuid}`,
    )
    if (order === undefined) throw new Error('no such order')
    const box = Uint8Array.from(Buffer.from(order.box, 'hex'))
    const quote = await service.world.chain.quote(order.input, OUTPUT_TOKEN, order.amount)
    if (!quote.ok) throw new Error('no route')
    const swap = buildSwap(
      {
        router: ROUTER,
        inputToken: order.input,
        amountIn: order.amount,
        signature: await service.world.encryption.decrypt(box, signatureLabel(uuid)),
        uuid,
        outputToken: OUTPUT_TOKEN,
        recipient: addressOf(thief, 'devnet'),
        terms: undefined,
        hops: quote.value.hops,
        outputAsset: (await service.world.chain.assetName(OUTPUT_TOKEN)) ?? '',
        minimumReceived: '1',
      },
      'devnet',
    )
    const stolen = await swap.sign({ privateKey: thief, nonce: 0, feeInMicroStx: 3_000 })
    await service.world.chain.submit(stolen.raw)
    const seen = await service.world.chain.find(stolen.txid)
    return seen.kind === 'mined' ? seen.outcome : seen.kind
  }
  const passes = async (count: number, aheadMs = 20_000) => {
    for (let made = 0; made < count; made++) await service.pass(aheadMs)
  }

  it('is burnt after its swap aborted, and its owner sees that it is exposed until then', async () => {
    const uuid = await createOrder(service, service.wallet)
    await chain.plan({ on: SUBMIT, do: 'abort', as: 'abort_by_post_condition', times: 1 })
    await service.execute(uuid)
    await chain.blockTime(null)
    expect(await service.until(uuid, 'failed')).toMatchObject({
      intentExposed: true,
      burn: 'requested',
    })
    await chain.blockTime(0)
    await passes(4)
    const order = await service.order(uuid)
    expect(order).toMatchObject({ status: 'failed', burn: 'mined' })
    expect(order).not.toHaveProperty('intentExposed')
    expect(await steal(uuid)).toBe('abort_by_response')
  })

  it('is burnt by the very transaction that gives its swap up', async () => {
    const uuid = await createOrder(service, service.wallet)
    await chain.plan({ on: SUBMIT, do: 'reject', reason: 'NoSuchContract', times: 2 })
    await service.execute(uuid)
    await service.until(uuid, 'failed')
    expect(await steal(uuid)).toBe('abort_by_response')
  })

  it('is burnt when the order expires after its nonce was lost', async () => {
    const validTo = new Date(service.clock.now + 7_200_000).toISOString()
    const uuid = await createOrder(service, service.wallet, { validTo })
    await chain.plan({ on: SUBMIT, do: 'hang-up-before', times: 1 })
    await service.execute(uuid)
    // Another program of the operator's account takes the nonce.
    const [operator] = service.world.operators.all
    const nonce = Number((await service.stored()).findLast((one) => one.order_uuid === uuid)?.nonce)
    const other = await signFiller({
      privateKey: operator?.privateKey ?? '',
      nonce,
      feeInMicroStx: 600,
      network: 'devnet',
    })
    await service.world.chain.submit(other.raw)
    await service.until(uuid, 'open', 60)
    await chain.blockTime(null)
    await passes(1, 7_200_000)
    expect(await service.order(uuid)).toMatchObject({ status: 'expired', intentExposed: true })
    await chain.blockTime(0)
    await passes(4)
    expect(await service.order(uuid)).toMatchObject({ status: 'expired', burn: 'mined' })
  })

  it.each([
    'by key',
    'by signature',
  ])('of an open order is burnt where its cancel asks for it, %s', async (how) => {
    const uuid = await createOrder(service, service.wallet)
    const body =
      how === 'by key'
        ? json({ onChain: true }, { 'X-API-Key': service.apiKey })
        : json(service.wallet.sign({ action: 'cancel_order', uuid, onChain: true }))
    const cancel = () => service.call(`/orders/${uuid}/cancel`, { ...body, method: 'PATCH' })
    const { data } = await answered<{ data: object }>(await cancel())
    expect(data).toMatchObject({ status: 'cancelled', burn: 'requested' })
    expect(data).not.toHaveProperty('intentExposed')
    await passes(4)
    expect(await service.order(uuid)).toMatchObject({ status: 'cancelled', burn: 'mined' })
    expect(await service.world.chain.isUuidUsed(INTENT_VERIFIER, uuid)).toBe(true)
    expect(await steal(uuid)).toBe('abort_by_response')
  })

  it('of an order that was cancelled before is burnt when its owner asks for it later', async () => {
    const uuid = await createOrder(service, service.wallet)
    const cancel = (body: object) =>
      service.call(`/orders/${uuid}/cancel`, {
        ...json(body, { 'X-API-Key': service.apiKey }),
        method: 'PATCH',
      })
    await answered(await cancel({}))
    await refused(await cancel({}), 'orderNotOpen')
    await answered(await cancel({ onChain: true }))
    await passes(4)
    expect(await service.order(uuid)).toMatchObject({ status: 'cancelled', burn: 'mined' })
    await refused(await cancel({ onChain: true }), 'orderNotOpen')
    await refused(await cancel({ onChain: 'yes' }), 'invalidRequest')
  })

  it('is burnt once, by however many processes, for at most a number of orders of a wallet a day', async () => {
    const bounded = await startSettling(chain, {
      engine: 'Postgres',
      maxConnections: 24,
      env: { MAX_BURNS_PER_WALLET_AND_DAY: '3' },
    })
    const uuids = await Promise.all(
      Array.from({ length: 5 }, () => createOrder(bounded, bounded.wallet)),
    )
    for (const uuid of uuids)
      await answered(
        await bounded.call(`/orders/${uuid}/cancel`, {
          ...json({ onChain: true }, { 'X-API-Key': bounded.apiKey }),
          method: 'PATCH',
        }),
      )
    for (let made = 0; made < 4; made++)
      await Promise.all(Array.from({ length: 6 }, () => bounded.pass(3_000)))
    const burns = (await bounded.onChain()).filter(({ fn }) => fn === 'execute')
    expect(new Set(burns.map(({ uuid }) => uuid)).size).toBe(burns.length)
    expect(burns).toHaveLength(3)
    for (let made = 0; made < 6; made++) await bounded.pass(86_400_000 / 4)
    expect((await bounded.onChain()).filter(({ fn }) => fn === 'execute')).toHaveLength(5)
    await bounded.close()
  })
})
