import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { FAR_TOKEN, INPUT_TOKEN, OUTPUT_TOKEN, ROUTER, VAULTS } from '../../src/devnet/constants.ts'
import { type Devnet, spawnDevnet, swap, transfer } from './devnet.ts'

describe('a fault of the devnet', () => {
  let devnet: Devnet
  beforeAll(async () => {
    devnet = await spawnDevnet()
  }, 60_000)
  afterAll(() => devnet.stop())
  afterEach(async () => {
    await devnet.request('/faults', { method: 'DELETE' })
    await devnet.postJson('/faults/block-time', { ms: 0 })
    await devnet.postJson('/faults/fee-rate', {})
  })
  const plan = (...faults: object[]) => devnet.postJson('/faults', faults)
  const mined = async (txid: string) => (await devnet.status(txid)).status

  test('is listed, meets as many requests as it was told, and can be cleared', async () => {
    const fault = { on: '/v2/info', do: 'answer', status: 503 }
    await plan({ ...fault, times: 2 })
    expect(await devnet.get('/faults')).toEqual([{ ...fault, times: 2 }])
    const met = [1, 2, 3].map(async () => (await devnet.request('/v2/info')).status)
    expect((await Promise.all(met)).sort()).toEqual([200, 503, 503])
    await plan(fault)
    expect((await devnet.request('/v2/info')).status).toBe(503)
    await devnet.request('/faults', { method: 'DELETE' })
    expect((await devnet.request('/v2/info')).status).toBe(200)
  })

  test('is refused when it is none', async () => {
    const unfit = [
      { on: '/', do: 'burn' },
      { on: '/', do: 'delay' },
      { on: '/', do: 'answer', status: 99 },
      { on: '/', do: 'answer-after', status: 429, headers: { 'Retry After': '7' } },
    ]
    for (const fault of [{}, ...unfit, 'delay', null])
      expect((await plan(fault as object)).status).toBe(400)
    expect(await devnet.get('/faults')).toEqual([])
  })

  test('delays an answer', async () => {
    await plan({ on: '/v2/info', do: 'delay', ms: 150, times: 1 })
    const asked = performance.now()
    await devnet.get('/v2/info')
    expect(performance.now() - asked).toBeGreaterThan(140)
  })

  test('hangs up before anything is done, or after all but the answer', async () => {
    const sender = await devnet.wallet()
    const tx = await transfer(sender, 0)
    await plan({ on: '/v2/transactions', do: 'hang-up-before', times: 1 })
    await expect(devnet.postBytes(tx.serializeBytes())).rejects.toThrow()
    expect((await devnet.request(`/extended/v3/transactions/${tx.txid()}`)).status).toBe(404)
    await plan({ on: '/v2/transactions', do: 'hang-up-after', times: 1 })
    await expect(devnet.postBytes(tx.serializeBytes())).rejects.toThrow()
    expect(await mined(tx.txid())).toBe('success')
  })

  test('answers 410 where the old endpoints were', async () => {
    await plan({ on: '/extended/v1/', do: 'answer', status: 410 })
    const { address } = await devnet.wallet()
    expect((await devnet.request(`/extended/v1/address/${address}/nonces`)).status).toBe(410)
    expect((await devnet.request(`/extended/v3/principals/${address}/nonces`)).status).toBe(200)
  })

  test.each([
    ['a string as text/plain', 'answer', 'upstream timed out', 'text/plain'],
    ['an object as JSON', 'answer', { error: 'rate limited' }, 'application/json'],
    ['a string as text/plain', 'answer-after', 'upstream timed out', 'text/plain'],
  ])('answers %s, with the headers given (%s)', async (_, kind, body, type) => {
    await plan({ on: '/v2/info', do: kind, status: 429, body, headers: { 'Retry-After': '7' } })
    const response = await fetch(`${devnet.url}/v2/info`)
    expect(response.status).toBe(429)
    expect(response.headers.get('retry-after')).toBe('7')
    expect(response.headers.get('content-type')).toContain(type)
    expect(await response.text()).toBe(typeof body === 'string' ? body : JSON.stringify(body))
  })

  test('answers otherwise than it acted: the transaction is accepted all the same', async () => {
    const tx = await transfer(await devnet.wallet(), 0)
    const body = { error: 'transaction rejected', reason: 'NoSuchContract', txid: tx.txid() }
    await plan({ on: '/v2/transactions', do: 'answer-after', status: 400, body, times: 1 })
    expect(await devnet.postBytes(tx.serializeBytes())).toEqual({ status: 400, body })
    expect(await mined(tx.txid())).toBe('success')
  })

  test('keeps a transaction out of every block until a higher fee replaces it', async () => {
    const sender = await devnet.wallet()
    const [held, next, richer] = [
      await transfer(sender, 0),
      await transfer(sender, 1),
      await transfer(sender, 0, { fee: 401n }),
    ]
    await plan({ on: '/v2/transactions', do: 'hold', times: 1 })
    for (const tx of [held, next]) await devnet.broadcast(tx)
    await devnet.postJson('/faults/mine', {})
    expect([await mined(held.txid()), await mined(next.txid())]).toEqual(['pending', 'pending'])
    await devnet.broadcast(richer)
    expect(await Promise.all([held, richer, next].map((tx) => mined(tx.txid())))).toEqual([
      'dropped_replace_by_fee',
      'success',
      'success',
    ])
  })

  test.each([
    'ConflictingNonceInMempool',
    'NotEnoughFunds',
    'ServerFailureOther',
  ])('rejects a transaction for %s and does not have it', async (reason) => {
    const tx = await transfer(await devnet.wallet(), 0)
    await plan({ on: '/v2/transactions', do: 'reject', reason, times: 1 })
    expect(await devnet.postBytes(tx.serializeBytes())).toEqual({
      status: 400,
      body: { error: 'transaction rejected', reason, txid: tx.txid() },
    })
    expect((await devnet.request(`/extended/v3/transactions/${tx.txid()}`)).status).toBe(404)
    expect(await devnet.broadcast(tx)).toEqual({ txid: tx.txid() })
  })

  test('answers 200 for what it drops, and takes the same bytes later', async () => {
    const sender = await devnet.wallet()
    for (const [nonce, as] of ['nothing', 'dropped_problematic'].entries()) {
      const tx = await transfer(sender, nonce)
      await plan({ on: '/v2/transactions', do: 'drop', as, times: 1 })
      expect(await devnet.broadcast(tx)).toEqual({ txid: tx.txid() })
      expect((await devnet.request(`/extended/v3/transactions/${tx.txid()}`)).status).toBe(404)
      const seen = await devnet.request(`/extended/v1/tx/${tx.txid()}`)
      expect(seen).toMatchObject(as === 'nothing' ? { status: 404 } : { body: { tx_status: as } })
      await devnet.broadcast(tx)
      expect(await mined(tx.txid())).toBe('success')
    }
  })

  test.each([
    'abort_by_response',
    'abort_by_post_condition',
    'problematic_skipped',
  ])('mines %s: the fee is paid, the nonce used, the swap not done', async (as) => {
    const [owner, sender] = [await devnet.wallet(), await devnet.wallet()]
    const before = await devnet.get(`/balances/${owner.address}`)
    const stx = async () => BigInt((await devnet.get(`/balances/${sender.address}`)).stx)
    const funds = await stx()
    await plan({ on: '/v2/transactions', do: 'abort', as, times: 1 })
    const tx = await swap({ owner, sender, nonce: 0 })
    await devnet.broadcast(tx)
    expect(await mined(tx.txid())).toBe(as)
    expect(await devnet.get(`/balances/${owner.address}`)).toEqual(before)
    expect((await devnet.get(`/v2/accounts/${sender.address}`)).nonce).toBe(1)
    expect(await stx()).toBe(funds - 1_000n)
    const old = await devnet.get(`/extended/v1/tx/${tx.txid()}`)
    expect(old).toMatchObject({ tx_status: as, canonical: true, block_height: expect.any(Number) })
  })

  test('mines when it is told to, and drops what waits', async () => {
    const sender = await devnet.wallet()
    await devnet.postJson('/faults/block-time', { ms: null })
    const [first, second] = [await transfer(sender, 0), await transfer(sender, 1)]
    for (const tx of [first, second]) await devnet.broadcast(tx)
    expect(await mined(first.txid())).toBe('pending')
    await devnet.postJson('/faults/drop', { txid: second.txid() })
    await devnet.postJson('/faults/mine', {})
    expect(await mined(first.txid())).toBe('success')
    expect(await mined(second.txid())).toBe('dropped_stale_garbage_collect')
  })

  test.each(['mempool', 'nowhere'])('reorganises a block away, its transaction %s', async (to) => {
    const [owner, sender] = [await devnet.wallet(), await devnet.wallet()]
    const before = await devnet.get(`/balances/${owner.address}`)
    const [first, second] = [
      await swap({ owner, sender, nonce: 0 }),
      await swap({ owner, sender, nonce: 1 }),
    ]
    for (const tx of [first, second]) await devnet.broadcast(tx)
    const after = await devnet.get(`/balances/${owner.address}`)
    await devnet.postJson('/faults/block-time', { ms: null })
    expect((await devnet.postJson('/faults/reorganise', { txid: first.txid(), to })).status).toBe(
      200,
    )
    expect(await devnet.get(`/balances/${owner.address}`)).toEqual(before)
    expect((await devnet.get(`/v2/accounts/${sender.address}`)).nonce).toBe(0)
    expect(await devnet.status(first.txid())).toMatchObject(
      to === 'mempool' ? { status: 'pending' } : { status: 'success', canonical: false },
    )
    for (const tx of [first, second]) await devnet.broadcast(tx)
    await devnet.postJson('/faults/mine', {})
    expect(await devnet.status(second.txid())).toMatchObject({ status: 'success' })
    expect(await devnet.get(`/balances/${owner.address}`)).toEqual(after)
  })

  test('leaves dropped and orphaned transactions to version 1 of the API', async () => {
    const sender = await devnet.wallet()
    const [orphaned, dropped] = [await transfer(sender, 0), await transfer(sender, 2)]
    for (const tx of [orphaned, dropped]) await devnet.broadcast(tx)
    await devnet.postJson('/faults/drop', { txid: dropped.txid() })
    await devnet.postJson('/faults/reorganise', { txid: orphaned.txid(), to: 'nowhere' })
    const version3 = async (tx: typeof dropped) =>
      (await devnet.request(`/extended/v3/transactions/${tx.txid()}`)).status
    expect([await version3(orphaned), await version3(dropped)]).toEqual([404, 404])
    expect(await devnet.get(`/extended/v1/tx/${orphaned.txid()}`)).toMatchObject({
      tx_status: 'success',
      canonical: false,
    })
    expect(await devnet.get(`/extended/v1/tx/${dropped.txid()}`)).toMatchObject({
      tx_status: 'dropped_stale_garbage_collect',
    })
  })

  test('orphans a microblock in a canonical block: only the old endpoint has it, as not canonical', async () => {
    const tx = await transfer(await devnet.wallet(), 0)
    await devnet.broadcast(tx)
    await devnet.postJson('/faults/reorganise', { txid: tx.txid(), to: 'microblock' })
    expect((await devnet.request(`/extended/v3/transactions/${tx.txid()}`)).status).toBe(404)
    expect(await devnet.get(`/extended/v1/tx/${tx.txid()}`)).toMatchObject({
      tx_status: 'success',
      canonical: true,
      microblock_canonical: false,
    })
    await devnet.broadcast(tx)
    expect(await mined(tx.txid())).toBe('success')
  })

  test('raises the estimated fees and leaves the least fee that is admitted, and the other way round', async () => {
    const sender = await devnet.wallet()
    const tx = await transfer(sender, 0, { fee: 180n })
    const size = tx.serializeBytes().length
    const fees = async () => {
      const payload = { transaction_payload: '00', estimated_len: size }
      const { body } = await devnet.postJson('/v2/fees/transaction', payload)
      return body.estimations.map(({ fee }: { fee: number }) => fee)
    }
    expect(await fees()).toEqual([size, 2 * size, 3 * size])
    await devnet.postJson('/faults/fee-rate', { estimate: 40 })
    expect(await fees()).toEqual([20 * size, 40 * size, 60 * size])
    expect(await devnet.broadcast(tx)).toEqual({ txid: tx.txid() })

    await devnet.postJson('/faults/fee-rate', { minimum: 4 })
    expect(await fees()).toEqual([4 * size, 4 * size, 4 * size])
    expect(await devnet.broadcast(await transfer(sender, 1, { fee: 180n }))).toMatchObject({
      reason: 'FeeTooLow',
      reason_data: { expected: 4 * size, actual: 180 },
    })
    for (const rate of [{ estimate: -1 }, { estimate: '2' }, { minimum: 0.5 }])
      expect((await devnet.postJson('/faults/fee-rate', rate)).status).toBe(400)
  })

  test('quotes as the public service does: numbers, no asset, a 500 for every failure', async () => {
    const path = (tokenOut: string, amount = '1000000') =>
      `/quote?tokenIn=${INPUT_TOKEN}&tokenOut=${tokenOut}&amount=${amount}`
    const own = (await devnet.get(path(FAR_TOKEN))).data
    await plan({ on: '/quote', do: 'public-quote' })
    expect(await devnet.get(path(FAR_TOKEN))).toEqual({
      success: true,
      data: {
        amountIn: 1_000_000,
        amountOut: Number(own.amountOut),
        expectedPrice: own.expectedPrice,
        minimumReceived: Number(own.minimumReceived),
        route: { hops: VAULTS.map(({ vault }) => ({ vault, opcode: 0 })) },
      },
    })
    const back = `/quote?tokenIn=${FAR_TOKEN}&tokenOut=${OUTPUT_TOKEN}&amount=1000000`
    expect((await devnet.get(back)).data.route.hops).toEqual([
      { vault: VAULTS[1].vault, opcode: 1 },
    ])
    for (const failing of [path(ROUTER), path('x'), path(FAR_TOKEN, '0')])
      expect(await devnet.request(failing)).toEqual({
        status: 500,
        body: { success: false, error: 'Failed to get quote' },
      })
  })

  test('remembers over a restart what it aborted and what was reorganised away', async () => {
    const data = await mkdtemp(join(tmpdir(), 'latchkey-faults-'))
    const before = await spawnDevnet('--data', data)
    const [owner, sender] = [await before.wallet(), await before.wallet()]
    const abort = { on: '/v2/transactions', do: 'abort', as: 'abort_by_response', times: 1 }
    await before.postJson('/faults', abort)
    const swaps = [await swap({ owner, sender, nonce: 0 }), await swap({ owner, sender, nonce: 1 })]
    for (const tx of swaps) await before.broadcast(tx)
    await before.postJson('/faults/block-time', { ms: null })
    await before.postJson('/faults/reorganise', { txid: swaps[1]?.txid() })
    await before.stop()

    const after = await spawnDevnet('--data', data, '--block-ms', '3600000')
    const seen = await Promise.all(swaps.map((tx) => after.status(tx.txid())))
    expect(seen.map(({ status }) => status)).toEqual(['abort_by_response', 'pending'])
    expect((await after.get(`/v2/accounts/${sender.address}`)).nonce).toBe(1)
    await after.stop()
    await rm(data, { recursive: true })
  })

  test('tells which orders a sender’s transactions carry', async () => {
    const [owner, sender] = [await devnet.wallet(), await devnet.wallet()]
    await devnet.broadcast(await swap({ owner, sender, nonce: 0, uuid: 'told' }))
    expect(await devnet.get(`/transactions/${sender.address}`)).toMatchObject([
      { nonce: 0, uuid: 'told', status: 'success', contract: ROUTER, fn: 'x-swap-1' },
    ])
  })
})
