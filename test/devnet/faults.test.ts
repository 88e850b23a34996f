import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
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
    for (const fault of [{}, { on: '/', do: 'burn' }, { on: '/', do: 'delay' }, 'delay', null])
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
      const seen = await devnet.request(`/extended/v3/transactions/${tx.txid()}`)
      expect(seen).toMatchObject(as === 'nothing' ? { status: 404 } : { body: { status: as } })
      await devnet.broadcast(tx)
      expect(await mined(tx.txid())).toBe('success')
    }
  })

  test.each(['abort_by_response', 'abort_by_post_condition'])('mines %s', async (as) => {
    const [owner, sender] = [await devnet.wallet(), await devnet.wallet()]
    const before = await devnet.get(`/balances/${owner.address}`)
    await plan({ on: '/v2/transactions', do: 'abort', as, times: 1 })
    const tx = await swap({ owner, sender, nonce: 0 })
    await devnet.broadcast(tx)
    expect(await mined(tx.txid())).toBe(as)
    expect(await devnet.get(`/balances/${owner.address}`)).toEqual(before)
    expect((await devnet.get(`/v2/accounts/${sender.address}`)).nonce).toBe(1)
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
    expect(await devnet.status(second.txid())).toMatchObject({ status: 'success', canonical: true })
    expect(await devnet.get(`/balances/${owner.address}`)).toEqual(after)
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
      { nonce: 0, uuid: 'told', status: 'success', canonical: true },
    ])
  })
})
