import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ASSETS,
  COMMITTED_ROUTER,
  FAR_TOKEN,
  INPUT_TOKEN,
  INTENT_VERIFIER,
  OUTPUT_TOKEN,
  ROUTER,
} from '../../src/devnet/constants.ts'
import type { Swap } from '../../src/settlement/swap-bytes.ts'
import {
  amountOutOf,
  buildSwap,
  type SignedTransaction,
  signAgain,
  signBurn,
} from '../../src/settlement/transaction.ts'
import { type CommittedOrder, commit } from '../devnet/committed.ts'
import { type Answer, type Devnet, intentOf, spawnDevnet, type Wallet } from '../devnet/devnet.ts'

let devnet: Devnet
let owner: Wallet
let operator: Wallet
let nonce = 0

beforeAll(async () => {
  devnet = await spawnDevnet()
  owner = await devnet.wallet()
  operator = await devnet.wallet()
}, 30_000)
afterAll(() => devnet.stop())

const signing = (feeInMicroStx = 3_000) => ({
  privateKey: operator.privateKey,
  nonce,
  feeInMicroStx,
  network: 'devnet' as const,
})

/** Sends signed bytes; the status is that after the next block. */
async function mined({ raw, txid }: SignedTransaction): Promise<Answer> {
  expect(await devnet.postBytes(raw)).toEqual({ status: 200, body: txid })
  nonce += 1
  return devnet.status(txid)
}

async function signSwap(swap: Swap, operator: ReturnType<typeof signing>) {
  const built = buildSwap(swap, 'devnet')
  const transaction = await built.sign(operator)
  expect(transaction.raw).toHaveLength(built.byteLength)
  return transaction
}

/** The swap of a committed order, along the route that the devnet quotes. */
async function swapOf(order: CommittedOrder, minimumReceived = '1'): Promise<Swap> {
  const { route } = await devnet.quote(order.amount, order.terms.token)
  return {
    router: COMMITTED_ROUTER,
    inputToken: order.inputToken,
    amountIn: order.amount.toString(),
    signature: Buffer.from(order.signature, 'hex'),
    uuid: order.uuid,
    hops: route.hops,
    outputToken: order.terms.token,
    outputAsset: assetOf(order.terms.token),
    recipient: order.terms.to,
    minimumReceived,
    terms: order.terms,
  }
}

function legacySwap(order: CommittedOrder, hops: Swap['hops'], signature: string): Swap {
  return {
    router: ROUTER,
    inputToken: INPUT_TOKEN,
    amountIn: order.amount.toString(),
    signature: Buffer.from(signature, 'hex'),
    uuid: order.uuid,
    hops,
    outputToken: OUTPUT_TOKEN,
    outputAsset: assetOf(OUTPUT_TOKEN),
    recipient: owner.address,
    minimumReceived: '1',
    terms: undefined,
  }
}

const assetOf = (token: string) => ASSETS[token]?.split('::')[1] ?? ''

describe('a swap of a committed router', () => {
  test.each([
    [1, OUTPUT_TOKEN],
    [2, FAR_TOKEN],
  ])('of %i hops is mined, and its result says what the recipient gained', async (hops, token) => {
    const to = (await devnet.wallet()).address
    const order = commit(owner, { to, token, by: operator.address })
    const swap = await swapOf(order)
    expect(swap.hops).toHaveLength(hops)

    const done = await mined(await signSwap(swap, signing()))

    expect(done).toMatchObject({ status: 'success' })
    const { tokens } = await devnet.get(`/balances/${to}`)
    expect(amountOutOf(done.result.hex)).toBe(tokens[token])
    expect(BigInt(tokens[token])).toBeGreaterThan(0n)
  })

  test('lets its last vault pay no less than the minimum that the operator asks for', async () => {
    const order = commit(owner)
    const { amountOut } = await devnet.quote()
    const dear = await swapOf(order, (BigInt(amountOut) + 1n).toString())
    expect(await mined(await signSwap(dear, signing()))).toMatchObject({
      status: 'abort_by_post_condition',
    })
    const enough = await swapOf(order, amountOut)
    expect(await mined(await signSwap(enough, signing()))).toMatchObject({ status: 'success' })
  })

  test('is signed again for another fee', async () => {
    const first = await signSwap(await swapOf(commit(owner)), signing())
    const again = signAgain(first.raw, { privateKey: operator.privateKey, feeInMicroStx: 4_000 })
    expect(again.txid).not.toBe(first.txid)
    expect(await mined(again)).toMatchObject({ status: 'success', fee_rate: '4000' })
  })

  test('adds less than 140 bytes to the legacy swap', async () => {
    const order = commit(owner, { by: operator.address })
    const swap = await swapOf(order)
    const { raw } = await signSwap(swap, signing())
    const legacy = await signSwap({ ...swap, router: ROUTER, terms: undefined }, signing())
    expect(raw.length - legacy.raw.length).toBeLessThan(140)
  })
})

describe('a burn', () => {
  test('takes less than 300 bytes, moves nothing, and makes the intent worthless on both routers', async () => {
    const order = commit(owner)
    const { route } = await devnet.quote()
    const before = await devnet.get(`/balances/${owner.address}`)
    const burn = await signBurn({ verifier: INTENT_VERIFIER, uuid: order.uuid }, signing(300))
    expect(burn.raw.length).toBeLessThan(300)

    expect(await mined(burn)).toMatchObject({ status: 'success', event_count: 0 })

    const used = { status: 'abort_by_response', result: { repr: '(err u409000)' } }
    expect(await mined(await signSwap(await swapOf(order), signing()))).toMatchObject(used)
    const signature = intentOf({ owner, uuid: order.uuid })
    const legacy = legacySwap(order, route.hops, signature)
    expect(await mined(await signSwap(legacy, signing()))).toMatchObject(used)
    expect(await devnet.get(`/balances/${owner.address}`)).toEqual(before)
  })

  test('recovers a key for any uuid', async () => {
    for (const uuid of ['a', '-'.repeat(36), '00000000-0000-4000-8000-000000000000']) {
      const burn = await signBurn({ verifier: INTENT_VERIFIER, uuid }, signing(300))
      expect(await mined(burn)).toMatchObject({ status: 'success' })
    }
  })

  test('replaces the pending swap of its nonce, which then never moves the input', async () => {
    const order = commit(owner)
    await devnet.postJson('/faults/block-time', { ms: null })
    const swap = await signSwap(await swapOf(order), signing(1_000))
    expect(await devnet.postBytes(swap.raw)).toMatchObject({ status: 200 })
    const burn = await signBurn({ verifier: INTENT_VERIFIER, uuid: order.uuid }, signing(1_001))
    expect(await mined(burn)).toMatchObject({ status: 'pending' })
    await devnet.postJson('/faults/block-time', { ms: 0 })
    expect(await devnet.status(burn.txid)).toMatchObject({ status: 'success' })
    expect(await devnet.status(swap.txid)).toMatchObject({ status: 'dropped_replace_by_fee' })
    expect(await mined(await signSwap(await swapOf(order), signing()))).toMatchObject({
      status: 'abort_by_response',
    })
  })

  test('of a uuid that a swap has used aborts', async () => {
    const order = commit(owner)
    await mined(await signSwap(await swapOf(order), signing()))
    const burn = await signBurn({ verifier: INTENT_VERIFIER, uuid: order.uuid }, signing(300))
    expect(await mined(burn)).toMatchObject({
      status: 'abort_by_response',
      result: { repr: '(err u409000)' },
    })
  })
})
