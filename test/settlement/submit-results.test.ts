import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { INTENT_VERIFIER } from '../../src/devnet/constants.ts'
import type { Fault } from '../../src/devnet/faults.ts'
import { createOrder } from '../support/wallet.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from './chain.ts'

const SUBMIT = '/v2/transactions'

describe('whatever the node answers to a transaction', () => {
  let chain: OwnChain
  let service: Settling
  beforeAll(async () => {
    chain = await startOwnChain()
    service = await startSettling(chain, { engine: 'Postgres' })
  })
  afterEach(() => chain.clear())
  afterAll(async () => {
    expect(await counted()).toEqual(await broadcasts())
    await service.close()
    await chain.stop()
  })

  const reject = (reason: string, times = 1): Fault => ({ on: SUBMIT, do: 'reject', reason, times })
  async function executeUnder(...faults: Fault[]) {
    const uuid = await createOrder(service, service.wallet)
    await chain.plan(...faults)
    const answer = await service.execute(uuid)
    return { uuid, answer }
  }
  /** A success is counted when the order is broadcasted: as often as events say so. */
  async function broadcasts() {
    const [seen] = await rows<{ n: number }>(
      service.world.db,
      sql`SELECT count(*)::int AS n FROM order_events e WHERE status = 'broadcasted'
        AND details->>'reason' IS NULL`,
    )
    return seen?.n
  }
  async function counted() {
    const [key] = await rows<{ n: number }>(
      service.world.db,
      sql`SELECT execution_count::int AS n FROM key_counters WHERE key_id = ${service.keyId}`,
    )
    return key?.n
  }
  async function mined(uuid: string) {
    return (await service.onChain()).filter((one) => one.uuid === uuid && one.height !== undefined)
  }

  it('a swap that no node has is not sent after the validTo of its order, and its uuid is burnt', async () => {
    const validTo = new Date(service.clock.now + 10_000).toISOString()
    const uuid = await createOrder(service, service.wallet, { validTo })
    await chain.plan({ on: SUBMIT, do: 'hang-up-before', times: 1 })
    expect(await service.execute(uuid)).toMatchObject({ status: 202 })
    expect(await service.until(uuid, 'failed')).toMatchObject({ failureReason: 'order_expired' })
    expect(await mined(uuid)).toMatchObject([{ fn: 'execute' }])
  })

  it('a swap that a node has taken is followed after the validTo of its order', async () => {
    const validTo = new Date(service.clock.now + 10_000).toISOString()
    const uuid = await createOrder(service, service.wallet, { validTo })
    await chain.plan({ on: SUBMIT, do: 'hang-up-after', times: 1 })
    expect(await service.execute(uuid)).toMatchObject({ status: 202 })
    await service.until(uuid, 'confirmed')
    expect(await mined(uuid)).toHaveLength(1)
  })

  it('BadNonce from one node, for a swap that another one took and that aborted: it is not executed again', async () => {
    const uuid = await createOrder(service, service.wallet)
    await chain.plan(
      { on: SUBMIT, do: 'abort', as: 'abort_by_post_condition', times: 1 },
      {
        on: SUBMIT,
        do: 'answer-after',
        status: 400,
        body: { error: 'transaction rejected', reason: 'BadNonce' },
        times: 1,
      },
    )
    expect(await service.execute(uuid)).toMatchObject({ status: 202 })
    await service.until(uuid, 'failed')
    expect(
      (await service.stored()).filter((one) => one.order_uuid === uuid && one.kind === 'swap'),
    ).toHaveLength(1)
  })

  it('confirms the order that it accepts, with block, time and amount', async () => {
    const { uuid, answer } = await executeUnder()
    expect(answer).toMatchObject({ status: 200, body: { data: { status: 'broadcasted' } } })
    const order = await service.until(uuid, 'confirmed')
    const [transaction] = await mined(uuid)
    expect(order).toMatchObject({
      txid: transaction?.txid,
      blockHeight: transaction?.height,
      confirmedAt: new Date(service.clock.now).toISOString(),
      amountOut: expect.stringMatching(/^[1-9][0-9]*$/),
    })
    expect(await service.events(uuid)).toEqual(['open', 'executing', 'broadcasted', 'confirmed'])
  })

  it.each([
    'Serialization',
    'Deserialization',
    'SignatureValidation',
    'BadAddressVersionByte',
    'BadTransactionVersion',
    'BadFunctionArgument',
    'NoSuchContract',
    'NoSuchPublicFunction',
    'ContractAlreadyExists',
    'NoCoinbaseViaMempool',
    'NoTenureChangeViaMempool',
    'PoisonMicroblocksDoNotConflict',
    'PoisonMicroblockHasUnknownPubKeyHash',
    'PoisonMicroblockIsInvalid',
    'TransferAmountMustBePositive',
    'TransferRecipientCannotEqualSender',
  ])('fails an order only by the burn of its uuid when it rejects it: %s', async (reason) => {
    const { uuid, answer } = await executeUnder(reject(reason, 2))
    expect(answer).toMatchObject({ status: 202, body: { status: 'pending' } })
    expect(await service.order(uuid)).toMatchObject({ status: 'executing' })
    const failed = await service.until(uuid, 'failed')
    expect(failed).toMatchObject({ failureReason: reason })
    expect(failed).not.toHaveProperty('intentExposed')
    expect(await mined(uuid)).toMatchObject([{ fn: 'execute', status: 'success' }])
    expect(await service.world.chain.isUuidUsed(INTENT_VERIFIER, uuid)).toBe(true)
  })

  it.each([
    'NoSuchContract',
    'SignatureValidation',
    'NotEnoughFunds',
    'EstimatorError',
  ])('confirms an order that another node took although this one rejected it: %s', async (reason) => {
    const { uuid, answer } = await executeUnder({
      on: SUBMIT,
      do: 'answer-after',
      status: 400,
      body: { error: 'transaction rejected', reason },
      times: 1,
    })
    expect(answer).toMatchObject({ status: 202 })
    await service.until(uuid, 'confirmed')
    expect(await mined(uuid)).toMatchObject([{ txid: answer.body.txid }])
  })

  it.each([
    'NotEnoughFunds',
    'EstimatorError',
    'BadNonce',
    'ConflictingNonceInMempool',
  ])('holds an order, and settles it with the same bytes, when it rejects it for now: %s', async (reason) => {
    const { uuid, answer } = await executeUnder(reject(reason, 2))
    expect(answer).toMatchObject({ status: 202, body: { status: 'pending' } })
    expect(await service.execute(uuid)).toMatchObject({
      status: 400,
      body: { code: 'ORDER_NOT_OPEN', details: { status: 'executing', txid: answer.body.txid } },
    })
    await service.until(uuid, 'confirmed')
    expect(await mined(uuid)).toMatchObject([{ txid: answer.body.txid }])
  })

  it('sends a swap again with a higher fee when it wants one', async () => {
    const { uuid, answer } = await executeUnder(reject('FeeTooLow', 2))
    expect(answer).toMatchObject({ status: 202 })
    await service.until(uuid, 'confirmed')
    expect(await mined(uuid)).toMatchObject([{ fee: '6000' }])
  })

  it('takes what it answers to bytes that do not decode as a rejection', async () => {
    const { uuid } = await executeUnder({
      on: SUBMIT,
      do: 'answer',
      status: 400,
      body: 'Failed to deserialize transaction',
      times: 2,
    })
    expect(await service.until(uuid, 'failed')).toMatchObject({ failureReason: 'Deserialization' })
  })

  it.each([
    'TooMuchChaining',
    'TemporarilyBlacklisted',
    'ServerFailureOther',
    'ServerFailureDatabase',
    'ServerFailureNoSuchChainTip',
    'MempoolFull',
    'NeverHeardOf',
    'toString',
  ])('answers pending and sends the same bytes again after %s', async (reason) => {
    const { uuid, answer } = await executeUnder(reject(reason, 2))
    expect(answer).toMatchObject({ status: 202, body: { status: 'pending' } })
    await service.pass(1)
    expect(await service.order(uuid)).toMatchObject({
      status: 'executing',
      txid: answer.body.txid,
    })
    await service.until(uuid, 'confirmed')
    expect(await mined(uuid)).toMatchObject([{ txid: answer.body.txid }])
  })

  it.each<[string, Fault]>([
    ['hangs up before it took it', { on: SUBMIT, do: 'hang-up-before', times: 1 }],
    ['hangs up after it took it', { on: SUBMIT, do: 'hang-up-after', times: 1 }],
    ['answers 503', { on: SUBMIT, do: 'answer', status: 503, times: 1 }],
    ['answers 400 with JSON of another shape', { on: SUBMIT, do: 'answer', status: 400, times: 1 }],
    ['answers a redirect', { on: SUBMIT, do: 'answer', status: 302, times: 1 }],
  ])('answers pending, and settles once, when it %s', async (_, fault) => {
    const { uuid, answer } = await executeUnder(fault)
    expect(answer).toMatchObject({ status: 202, body: { status: 'pending' } })
    await service.until(uuid, 'confirmed')
    expect(await mined(uuid)).toMatchObject([{ txid: answer.body.txid }])
  })

  it('answers pending, and settles once, when it answers too late', async () => {
    const hurried = await startSettling(chain, {
      engine: 'Postgres',
      env: { NODE_TIMEOUT_MS: '1500' },
    })
    const uuid = await createOrder(hurried, hurried.wallet)
    await chain.plan({ on: SUBMIT, do: 'delay', ms: 2_500, times: 1 })
    const answer = await hurried.execute(uuid)
    expect(answer).toMatchObject({ status: 202, body: { status: 'pending' } })
    await hurried.until(uuid, 'confirmed')
    expect(await hurried.onChain()).toMatchObject([{ uuid, txid: answer.body.txid }])
    await hurried.close()
  })

  it.each([
    'nothing',
    'dropped_problematic',
    'dropped_replace_across_fork',
    'dropped_too_expensive',
    'dropped_stale_garbage_collect',
  ] as const)('sends the same bytes again that it dropped as %s', async (as) => {
    const { uuid, answer } = await executeUnder({ on: SUBMIT, do: 'drop', as, times: 2 })
    expect(answer).toMatchObject({ status: 200 })
    await service.until(uuid, 'confirmed')
    expect(await mined(uuid)).toMatchObject([{ txid: answer.body.txid }])
  })

  it('fails what it always drops, once the nonce is used up by something else', async () => {
    const { uuid } = await executeUnder({ on: SUBMIT, do: 'drop', as: 'dropped_problematic' })
    for (let passes = 0; passes < 40; passes++) await service.pass(20_000)
    expect(await service.order(uuid)).toMatchObject({ status: 'broadcasted' })
    await chain.clear()
    expect(await service.until(uuid, 'failed')).toMatchObject({
      failureReason: 'dropped_problematic',
    })
    expect(await mined(uuid)).toMatchObject([{ fn: 'execute' }])
    const next = await executeUnder()
    await service.until(next.uuid, 'confirmed')
  })

  it('confirms what was mined although it was given up', async () => {
    await chain.blockTime(null)
    const { uuid, answer } = await executeUnder()
    await chain.drop(String(answer.body.txid), 'dropped_problematic')
    await chain.plan({ on: SUBMIT, do: 'drop', as: 'dropped_problematic' })
    for (let passes = 0; passes < 40; passes++) await service.pass(20_000)
    await chain.clear()
    expect(await service.stored()).toContainEqual(
      expect.objectContaining({ txid: answer.body.txid, status: 'outbid' }),
    )
    const [swap] = await rows<{ box: string }>(
      service.world.db,
      sql`SELECT encode(raw_box, 'hex') AS box FROM transactions WHERE txid = ${answer.body.txid}`,
    )
    const raw = await service.world.encryption.decrypt(
      Uint8Array.from(Buffer.from(swap?.box ?? '', 'hex')),
      `transaction ${answer.body.txid}`,
    )
    expect(await service.world.chain.submit(raw)).toEqual({ kind: 'accepted' })
    await chain.blockTime(0)
    await service.until(uuid, 'confirmed')
    expect(await mined(uuid)).toHaveLength(1)
  })

  it.each([
    'abort_by_response',
    'abort_by_post_condition',
    'problematic_skipped',
  ] as const)('fails the order whose swap is mined as %s, and burns its uuid', async (as) => {
    const { uuid, answer } = await executeUnder({ on: SUBMIT, do: 'abort', as, times: 1 })
    expect(answer).toMatchObject({ status: 200 })
    expect(await service.until(uuid, 'failed')).toMatchObject({
      failureReason: as,
      blockHeight: expect.any(Number),
      intentExposed: true,
      burn: 'requested',
    })
    expect(service.logged.some((line) => line.includes('intent_exposed'))).toBe(true)
    for (let passes = 0; passes < 4; passes++) await service.pass(20_000)
    const burnt = await service.order(uuid)
    expect(burnt).toMatchObject({ status: 'failed', failureReason: as, burn: 'mined' })
    expect(burnt).not.toHaveProperty('intentExposed')
    expect(await service.world.chain.isUuidUsed(INTENT_VERIFIER, uuid)).toBe(true)
  })

  it.each(['/extended/v1/', '/extended/v3/'])('is followed although %s is gone', async (on) => {
    const { uuid } = await executeUnder({ on, do: 'answer', status: 410 })
    await service.until(uuid, 'confirmed')
  })

  it('is followed once its API answers again', async () => {
    const { uuid } = await executeUnder({ on: '/extended/', do: 'answer', status: 500 })
    for (let passes = 0; passes < 5; passes++) await service.pass(20_000)
    expect(await service.order(uuid)).toMatchObject({ status: 'broadcasted' })
    await chain.clear()
    await service.until(uuid, 'confirmed')
  })

  it.each([
    'mempool',
    'nowhere',
  ] as const)('is followed into another fork, its transaction %s', async (to) => {
    const { uuid, answer } = await executeUnder()
    const before = await service.until(uuid, 'confirmed')
    await chain.blockTime(null)
    await chain.reorganise(String(answer.body.txid), to)
    const between = await service.until(uuid, 'broadcasted', 200)
    for (const gone of ['blockHeight', 'confirmedAt', 'amountOut'])
      expect(between).not.toHaveProperty(gone)
    await service.pass(60_000)
    await chain.blockTime(0)
    expect(await service.until(uuid, 'confirmed')).toMatchObject({
      txid: before.txid,
      amountOut: before.amountOut,
    })
    expect(await service.events(uuid)).toEqual([
      'open',
      'executing',
      'broadcasted',
      'confirmed',
      'broadcasted',
      'confirmed',
    ])
  })
})

it('gives up a swap that no miner takes: its burn takes the nonce, in a bounded time', async () => {
  const chain = await startOwnChain()
  const service = await startSettling(chain, {
    engine: 'Postgres',
    env: { STUCK_AFTER_SECONDS: '7200', GIVE_UP_AFTER_SECONDS: '600' },
  })
  const uuids = [
    await createOrder(service, service.wallet),
    await createOrder(service, service.wallet),
  ]
  await chain.plan({ on: SUBMIT, do: 'hold', times: 1 })
  for (const uuid of uuids) await service.execute(uuid)
  const [held = '', behind = ''] = uuids
  for (let passes = 0; passes < 9; passes++) await service.pass(60_000)
  expect(await service.order(held)).toMatchObject({ status: 'broadcasted' })
  for (let passes = 0; passes < 4; passes++) await service.pass(60_000)
  const failed = await service.order(held)
  expect(failed).toMatchObject({ status: 'failed', failureReason: 'not_mined' })
  expect(failed).not.toHaveProperty('intentExposed')
  await service.until(behind, 'confirmed')
  const mined = (await service.onChain()).filter((one) => one.height !== undefined)
  expect(mined).toMatchObject([{ uuid: held, fn: 'execute' }, { uuid: behind }])
  await service.close()
  await chain.stop()
})

describe('with three confirmations', () => {
  it('confirms an order when two more blocks are above its own', async () => {
    const chain = await startOwnChain()
    const service = await startSettling(chain, {
      engine: 'Postgres',
      env: { CONFIRMATIONS: '3' },
    })
    const uuid = await createOrder(service, service.wallet)
    await service.execute(uuid)
    for (const status of ['broadcasted', 'broadcasted', 'confirmed']) {
      await service.pass(20_000)
      await service.pass(20_000)
      expect(await service.order(uuid)).toMatchObject({ status, blockHeight: expect.any(Number) })
      const more = await createOrder(service, service.wallet)
      await service.execute(more)
    }
    await service.close()
    await chain.stop()
  })
})
