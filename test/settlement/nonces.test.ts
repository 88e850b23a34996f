import { makeSTXTokenTransfer } from '@stacks/transactions'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Database, rows } from '../../src/db/database.ts'
import { encryptTransaction } from '../../src/settlement/encrypt.ts'
import { recordFiller } from '../../src/settlement/record.ts'
import { signFiller } from '../../src/settlement/transaction.ts'
import { createOrder } from '../support/wallet.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from './chain.ts'

const SUBMIT = '/v2/transactions'

describe('the nonces of operators', () => {
  let chain: OwnChain
  const opened: Settling[] = []
  beforeAll(async () => {
    chain = await startOwnChain()
  })
  afterEach(async () => {
    await chain.clear()
    await chain.blockTime(0)
    for (const service of opened.splice(0)) {
      await expectNoGap(service)
      await service.close()
    }
  })
  afterAll(() => chain.stop())

  async function start(options: Parameters<typeof startSettling>[1] = {}): Promise<Settling> {
    const service = await startSettling(chain, { engine: 'Postgres', ...options })
    opened.push(service)
    return service
  }
  const orders = (service: Settling, count: number) =>
    Promise.all(Array.from({ length: count }, () => createOrder(service, service.wallet)))

  /** Every nonce up to the next one is on chain, once. */
  async function expectNoGap(service: Settling) {
    for (const { address } of service.world.operators.all) {
      const mined = (await chain.transactionsOf(address)).filter((one) => one.height !== undefined)
      const nonces = mined.map(({ nonce }) => nonce).sort((a, b) => a - b)
      expect(nonces).toEqual(nonces.map((_, at) => at))
      const uuids = mined.flatMap(({ uuid }) => uuid ?? [])
      expect(new Set(uuids).size).toBe(uuids.length)
    }
  }

  /** Another program that has the operator's key. */
  async function strangerSends(service: Settling, nonce: number, fee = 400n) {
    const [operator] = service.world.operators.all
    const transaction = await makeSTXTokenTransfer({
      recipient: service.wallet.address,
      amount: 1n,
      fee,
      nonce,
      network: 'devnet',
      senderKey: operator?.privateKey ?? '',
    })
    const raw = new Uint8Array(transaction.serializeBytes())
    expect(await service.world.chain.submit(raw)).toEqual({ kind: 'accepted' })
    return transaction.txid()
  }

  it('are given out 25 at most before the chain has mined some: then another operator’s, then none', async () => {
    const service = await start({ operators: 2 })
    await chain.blockTime(null)
    const uuids = await orders(service, 51)
    const answers = await Promise.all(uuids.map((uuid) => service.execute(uuid)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(50)
    for (const { address } of service.world.operators.all)
      expect(await chain.transactionsOf(address)).toHaveLength(25)
    const refused = uuids[answers.findIndex(({ status }) => status !== 200)] ?? ''
    expect(await service.execute(refused)).toMatchObject({
      status: 503,
      body: { details: { reason: 'operator_busy' } },
    })
    expect(await service.order(refused)).toMatchObject({ status: 'open' })
    await chain.mine()
    expect(await service.execute(refused)).toMatchObject({ status: 200 })
  })

  it('are filled where another program left one that the API shows, for later ones wait for it', async () => {
    const service = await start()
    const [first = '', second = ''] = await orders(service, 2)
    await service.execute(first)
    await service.until(first, 'confirmed')
    await chain.blockTime(null)
    const txid = await strangerSends(service, 1)
    service.world.operators.all[0]?.expect(undefined)
    await service.world.operators.all[0]?.reconcile()
    expect(await service.execute(second)).toMatchObject({ status: 200 })
    await chain.drop(txid, 'dropped_stale_garbage_collect')
    await chain.blockTime(0)
    await service.until(second, 'confirmed')
    expect(await service.stored()).toMatchObject([
      { nonce: 0, kind: 'swap', status: 'mined' },
      { nonce: 1, kind: 'filler', status: 'mined', order_uuid: null },
      { nonce: 2, kind: 'swap', status: 'mined' },
    ])
  })

  it('are never filled where the API lists no pending transactions: one may be another program’s', async () => {
    const service = await start()
    await chain.blockTime(null)
    const txid = await strangerSends(service, 0)
    const [uuid = ''] = await orders(service, 1)
    expect(await service.execute(uuid)).toMatchObject({ status: 200 })
    for (let passes = 0; passes < 20; passes++) await service.pass(20_000)
    await chain.mine()
    await chain.blockTime(0)
    await service.until(uuid, 'confirmed')
    expect(await service.onChain()).toMatchObject([
      { txid, nonce: 0, status: 'success' },
      { uuid, nonce: 1, status: 'success' },
    ])
  })

  it('are never filled under an order that has claimed them since somebody looked', async () => {
    const service = await start()
    const { db } = service.world
    const [uuid = ''] = await orders(service, 1)
    await chain.plan({ on: SUBMIT, do: 'hang-up-before', times: 1 })
    expect(await service.execute(uuid)).toMatchObject({ status: 202 })
    const [operator] = service.world.operators.all
    const { address = '', privateKey = '' } = operator ?? {}
    const terms = { privateKey, nonce: 0, feeInMicroStx: 600, network: 'devnet' } as const
    const transaction = await signFiller(terms)
    // As an earlier release left it, which gave nonces back.
    await db.execute(sql`UPDATE transactions SET status = 'refused', check_at = NULL`)
    let filled: Promise<void> | undefined
    await db.transaction(async (tx) => {
      await tx.execute(sql`SELECT FROM operators WHERE address = ${address} FOR UPDATE`)
      const sealed = { transaction, rawBox: await encryptTransaction(service.world, transaction) }
      filled = recordFiller(service.world, address, sealed)
      await untilWaiting(db)
      await tx.execute(sql`UPDATE transactions SET status = 'signed', check_at = now()`)
    })
    await filled
    expect(await service.stored()).toMatchObject([{ nonce: 0, kind: 'swap', status: 'signed' }])
    await service.until(uuid, 'confirmed')
  })

  /** Until some statement waits for a row that another transaction holds. */
  async function untilWaiting(db: Database) {
    for (;;) {
      const waiting = await rows(db, sql`SELECT FROM pg_locks WHERE NOT granted`)
      if (waiting.length > 0) return
    }
  }

  it('start where the chain says, and skip what another program has used since', async () => {
    const service = await start()
    await strangerSends(service, 0)
    const [first = '', second = '', third = ''] = await orders(service, 3)
    expect(await service.execute(first)).toMatchObject({ status: 200 })
    await strangerSends(service, 2)
    expect(await service.execute(second)).toMatchObject({ status: 200 })
    await chain.blockTime(null)
    await strangerSends(service, 4, 9_000n)
    // Its bytes may be at another node: only the chain proves that they will not be mined, and reopens the order.
    expect(await service.execute(third)).toMatchObject({ status: 202 })
    await chain.mine()
    await chain.blockTime(0)
    await service.until(third, 'open', 60)
    expect(await service.execute(third)).toMatchObject({ status: 200 })
    for (const uuid of [first, second, third]) await service.until(uuid, 'confirmed')
    const live = (await service.stored()).filter(({ status }) => status !== 'replaced')
    expect(live.map(({ nonce, status }) => [nonce, status])).toEqual([
      [1, 'mined'],
      [3, 'mined'],
      [5, 'mined'],
    ])
  })

  it('are lost to another program only when nothing of ours is anywhere, and the order opens again', async () => {
    const service = await start()
    const [uuid = ''] = await orders(service, 1)
    await chain.plan({ on: SUBMIT, do: 'hang-up-before', times: 1 })
    expect(await service.execute(uuid)).toMatchObject({ status: 202 })
    await strangerSends(service, 0)
    await service.pass(20_000)
    expect(await service.order(uuid)).toMatchObject({ status: 'executing' })
    await service.until(uuid, 'open', 60)
    expect(await service.execute(uuid)).toMatchObject({ status: 200 })
    await service.until(uuid, 'confirmed')
  })

  it('carry a higher fee when what they carry is stuck, up to the limit', async () => {
    const service = await start({
      env: { STUCK_AFTER_SECONDS: '60', MAX_FEE_IN_MICRO_STX: '10000' },
    })
    await chain.blockTime(null)
    const [first = '', second = ''] = await orders(service, 2)
    for (const uuid of [first, second]) await service.execute(uuid)
    for (let passes = 0; passes < 40; passes++) await service.pass(30_000)
    expect(await service.stored()).toMatchObject([
      { nonce: 0, fee: 3_000, status: 'outbid' },
      { nonce: 0, fee: 6_000, status: 'outbid' },
      { nonce: 0, fee: 10_000, status: 'accepted' },
      { nonce: 1, fee: 3_000, status: 'accepted' },
    ])
    await chain.blockTime(0)
    for (const uuid of [first, second]) await service.until(uuid, 'confirmed')
    expect((await service.stored()).map(({ status }) => status)).toEqual([
      'replaced',
      'replaced',
      'mined',
      'mined',
    ])
    const stored = await service.stored()
    expect(await service.order(first)).toMatchObject({ txid: stored[2]?.txid })
    expect(await service.events(first)).toEqual(['open', 'executing', 'broadcasted', 'confirmed'])
  })

  it('carry either of two transactions, and the order is that of the one that was mined', async () => {
    const service = await start({ env: { STUCK_AFTER_SECONDS: '60' } })
    await chain.blockTime(null)
    const [uuid = ''] = await orders(service, 1)
    const { body } = await service.execute(uuid)
    await chain.plan({ on: SUBMIT, do: 'answer', status: 503 })
    for (let passes = 0; passes < 8; passes++) await service.pass(30_000)
    expect(await service.stored()).toMatchObject([{ status: 'outbid' }, { status: 'signed' }])
    await chain.blockTime(0)
    expect(await service.until(uuid, 'confirmed')).toMatchObject({ txid: body.txid })
    expect(await service.stored()).toMatchObject([{ status: 'mined' }, { status: 'replaced' }])
  })
})

describe('an order', () => {
  let chain: OwnChain
  beforeAll(async () => {
    chain = await startOwnChain()
  })
  afterAll(() => chain.stop())

  it('with a target price is executed beyond it only, and never for less on chain', async () => {
    const service = await startSettling(chain, {
      engine: 'Postgres',
      env: { ENFORCE_TARGET_PRICE: 'true' },
    })
    const condition = { conditionToken: '*' }
    const [cheap, dear, below] = [
      await createOrder(service, service.wallet, {
        ...condition,
        targetPrice: '0.1',
        direction: 'gt',
      }),
      await createOrder(service, service.wallet, {
        ...condition,
        targetPrice: '0.9',
        direction: 'gt',
      }),
      await createOrder(service, service.wallet, {
        ...condition,
        targetPrice: '0.1',
        direction: 'lt',
      }),
    ]
    expect(await service.execute(cheap)).toMatchObject({ status: 200 })
    for (const uuid of [dear, below]) {
      expect(await service.execute(uuid)).toMatchObject({
        status: 502,
        body: { code: 'EXECUTION_FAILED', details: { reason: 'target_price' } },
      })
      expect(await service.order(uuid)).toMatchObject({ status: 'open' })
    }
    await service.close()
  })

  it('expires without anybody asking, once, and is told of', async () => {
    const service = await startSettling(chain, { engine: 'Postgres' })
    const validTo = new Date(service.clock.now + 60_000).toISOString()
    const uuid = await createOrder(service, service.wallet, { validTo })
    await service.pass()
    expect(await service.order(uuid)).toMatchObject({ status: 'open' })
    for (const ahead of [60_000, 1, 1]) await service.pass(ahead)
    expect(await service.order(uuid)).toMatchObject({ status: 'expired' })
    expect(await service.events(uuid)).toEqual(['open', 'expired'])
    expect(await service.execute(uuid)).toMatchObject({
      status: 400,
      body: { details: { status: 'expired' } },
    })
    const list = await service.call(`/orders?owner=${service.wallet.address}&status=expired`)
    expect(((await list.json()) as { data: unknown[] }).data).toHaveLength(1)
    await service.close()
  })
})
