import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { INPUT_TOKEN, OUTPUT_TOKEN, ROUTER, VAULTS } from '../../src/devnet/constants.ts'
import { fetchPeer } from '../../src/node/fetch.ts'
import type { Chain } from '../../src/settlement/chain.ts'
import { connectStacksNode } from '../../src/settlement/stacks-node.ts'
import { type Swap, swapBytes } from '../../src/settlement/swap-bytes.ts'
import { addressOf } from '../../src/stacks/sign.ts'

const ALICE = addressOf('11'.repeat(32), 'devnet')
const BOB = addressOf('22'.repeat(32), 'devnet')
const HOP = { vault: VAULTS[0].vault, opcode: '00' }
const SWAP: Swap = {
  router: ROUTER,
  inputToken: INPUT_TOKEN,
  amountIn: '1000000',
  signature: new Uint8Array(65),
  uuid: 'order-1',
  hops: [HOP],
  outputToken: OUTPUT_TOKEN,
  outputAsset: 'usd',
  recipient: ALICE,
  minimumReceived: '1',
  terms: undefined,
}

let node: Chain
let now = 0
let isDown = false
let paths: string[] = []
const server = createServer((request, response) => {
  const path = request.url ?? ''
  paths.push(path)
  request.resume().once('end', () => {
    const body = path.includes('call-read')
      ? { okay: true, result: `0x0701${String(paths.length).padStart(32, '0')}` }
      : path.startsWith('/quote')
        ? { success: false, error: 'none' }
        : { estimations: [{ fee: 1 }, { fee: paths.length }] }
    response.writeHead(isDown ? 500 : 200).end(JSON.stringify(body))
  })
})
beforeEach(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  ;[now, isDown, paths] = [0, false, []]
  node = connectStacksNode({
    network: 'devnet',
    apiUrl: url,
    quoteUrl: `${url}/quote`,
    fetch: fetchPeer,
    now: () => now,
  })
})
afterEach(() => {
  server.closeAllConnections()
  server.close()
})

function estimate(change: Partial<Swap> = {}) {
  const { bytes, payloadAt } = swapBytes({ ...SWAP, ...change }, 'devnet')
  return node.estimateFee(bytes.subarray(payloadAt), bytes.length)
}

describe('an estimate of a fee', () => {
  test('is one request for swaps of one function and size, also for concurrent ones', async () => {
    const fees = await Promise.all([
      estimate(),
      estimate({ uuid: 'order-2', recipient: BOB, amountIn: '7' }),
      estimate(),
    ])
    expect(fees).toEqual([1, 1, 1])
    expect(await estimate()).toBe(1)
    expect(paths).toHaveLength(1)
  })

  test('is of its function, router and size alone', async () => {
    const fees = [
      await estimate(),
      await estimate({ uuid: 'order-11' }),
      await estimate({ hops: [HOP, HOP] }),
      await estimate({ router: ROUTER.replace(/.$/, 'x') }),
    ]
    expect(fees).toEqual([1, 2, 3, 4])
  })

  test('is read again after five seconds, and after a clock that was set back', async () => {
    const fees = []
    for (const at of [10_000, 14_999, 15_000, 9_999]) {
      now = at
      fees.push(await estimate())
    }
    expect(fees).toEqual([1, 1, 2, 3])
  })

  test('that failed is not kept', async () => {
    isDown = true
    expect(await estimate()).toBeUndefined()
    isDown = false
    expect(await estimate()).toBe(2)
  })
})

describe('a balance and a quote', () => {
  test('are one request for concurrent executes, and looked up anew by later ones', async () => {
    const balance = () => node.tokenBalance(INPUT_TOKEN, ALICE)
    const quote = () => node.quote(INPUT_TOKEN, OUTPUT_TOKEN, '1')
    const first = await Promise.all([balance(), balance(), quote(), quote()])
    expect(first.slice(0, 2)).toEqual([first[0], first[0]])
    expect(paths).toHaveLength(2)
    expect(await balance()).not.toBe(first[0])
    await quote()
    expect(paths).toHaveLength(4)
  })

  test('are of their arguments alone', async () => {
    const balances = [ALICE, BOB].map((owner) => node.tokenBalance(INPUT_TOKEN, owner))
    const quotes = ['1', '2'].map((amount) => node.quote(INPUT_TOKEN, OUTPUT_TOKEN, amount))
    await Promise.all([...balances, ...quotes])
    expect(paths).toHaveLength(4)
  })

  test('that failed fail those that waited, and nothing after them', async () => {
    isDown = true
    const balance = () => node.tokenBalance(INPUT_TOKEN, ALICE)
    expect(await Promise.all([balance(), balance()])).toEqual([undefined, undefined])
    isDown = false
    expect(await balance()).toBeTypeOf('bigint')
  })
})
