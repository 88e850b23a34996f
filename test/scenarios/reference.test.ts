import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { INPUT_TOKEN, OUTPUT_TOKEN, ROUTER } from '../../src/devnet/constants.ts'
import type { NewOrder, Order } from '../../src/orders/order.ts'
import { addressOf, signIntent, signMessage } from '../../src/stacks/sign.ts'
import { freshDatabase, type Service, startService } from '../support/service.ts'
import { createKey, createOrder, fund, newWallet, type Wallet } from '../support/wallet.ts'

/** The code of the reference document, to the letter. */
const SAMPLES = new Map(
  readFileSync(new URL('./reference.txt', import.meta.url), 'utf8')
    .split(/^=== /m)
    .slice(1)
    .map((sample) => {
      const title = sample.slice(0, sample.indexOf('\n'))
      return [title, sample.slice(title.length + 1)] as const
    }),
)

type Scope = Record<string, unknown>

/** What the pages print where a reader puts something of his own. */
type Filled = readonly (readonly [placeholder: string, value: string])[]

let printed: string[]
beforeEach(() => {
  printed = []
})

/** Runs a sample with its placeholders filled in; `answer` is what the reader does next. */
async function run<T>(title: string, filled: Filled, scope: Scope, answer = ''): Promise<T> {
  let code = SAMPLES.get(title) ?? expect.unreachable(`there is no sample ${title}`)
  for (const [placeholder, value] of filled) {
    expect(code).toContain(placeholder)
    code = code.replaceAll(placeholder, value)
  }
  const print = (...words: unknown[]) => printed.push(words.join(' '))
  const all: Scope = { console: { log: print, error: print }, ...scope }
  const AsyncFunction = (async () => {}).constructor as new (
    ...text: string[]
  ) => (...values: unknown[]) => Promise<T>
  const text = stripTypeScriptTypes(code, { mode: 'strip' })
  return new AsyncFunction(...Object.keys(all), `${text}\n${answer}`)(...Object.values(all))
}

describe('The reference, as it is printed, over a socket', () => {
  let child: ChildProcess
  let baseUrl: string
  let service: Pick<Service, 'call' | 'clock'>
  let wallet: Wallet
  let scope: Scope
  const env: Record<string, string> = {}

  beforeAll(async () => {
    ;({ child, baseUrl } = await startNode())
    const clock = {
      get now() {
        return Date.now()
      },
    }
    service = { clock, call: (path, init) => fetch(`${baseUrl}/api/v1${path}`, init) }
    wallet = newWallet(service)
    await fund(service as Service, wallet)
    scope = {
      fetch: (path: string, init?: RequestInit) => fetch(baseUrl + path, init),
      signMessage: async (message: string) => ({
        signature: signMessage({ message, privateKey: wallet.privateKey }),
      }),
      process: { env },
    }
  }, 60_000)
  afterAll(async () => {
    child.kill('SIGTERM')
    await once(child, 'exit')
  })

  const show = async (uuid: string) => {
    const response = await service.call(`/orders/${uuid}`)
    return ((await response.json()) as { data: Order }).data
  }
  const newOrder = (members: Partial<NewOrder> = {}) =>
    createOrder(service as Service, wallet, members)
  const keys = async () => {
    const headers = wallet.signHeaders({ action: 'list_api_keys' })
    const answer = await (await service.call('/api-keys', { headers })).json()
    return (answer as { apiKeys: Record<string, unknown>[] }).apiKeys
  }
  /** A reader stores the key in the environment and fills it in everywhere below. */
  const apiKey = () => env.CHARISMA_API_KEY ?? ''

  it('creates a key', async () => {
    await run('create a key', [['SP1ABC123...', wallet.address]], scope)
    expect(apiKey()).toMatch(/^ck_live_\w{49}$/)
    const [{ keyId } = {}] = await keys()
    expect(printed).toEqual([
      `Created API key: My Trading Bot (${keyId})`,
      'Permissions: create, execute, cancel',
      'Rate limit: 100 requests/minute',
    ])
  })

  it('creates an order, whose time was over long ago', async () => {
    const { uuid } = wallet.order()
    const order = wallet.order({ uuid })
    await run(
      'create an order',
      [
        ['SP1ABC123DEF456.token-a', INPUT_TOKEN],
        ['SP1ABC123DEF456.token-b', OUTPUT_TOKEN],
        ['SP1ABC123DEF456', wallet.address],
        ['0x123abc...', `0x${order.signature}`],
        ['uuid-456def789', uuid],
        ['ck_live_abc123def456...', apiKey()],
      ],
      scope,
      'if (status !== "success") throw new Error(status)',
    )
    expect(printed).toEqual([`Order created: ${uuid}`])
    expect(await show(uuid)).toEqual({
      uuid,
      owner: wallet.address,
      inputToken: INPUT_TOKEN,
      outputToken: OUTPUT_TOKEN,
      amountIn: '1000000',
      targetPrice: '1.5',
      direction: 'gt',
      conditionToken: `${wallet.address}.price-oracle`,
      recipient: wallet.address,
      validFrom: '2024-01-15T10:00:00.000Z',
      validTo: '2024-01-16T10:00:00.000Z',
      status: 'expired',
      createdAt: expect.any(String),
    })
  })

  it('executes an order', async () => {
    const uuid = await newOrder()
    const filled: Filled = [
      ['uuid_456def', uuid],
      ['ck_live_abc123def456...', apiKey()],
    ]
    const answer = await run('execute an order', filled, scope, 'return { status, txid }')
    expect(answer).toEqual({ status: 'success', txid: expect.stringMatching(/^[0-9a-f]{64}$/) })
    expect((await show(uuid)).status).toBe('broadcasted')
  })

  it('cancels an order', async () => {
    const uuid = await newOrder()
    const filled: Filled = [
      ['uuid_456def', uuid],
      ['ck_live_abc123def456...', apiKey()],
    ]
    expect(await run('cancel an order', filled, scope, 'return status')).toBe('success')
    expect((await show(uuid)).status).toBe('cancelled')
  })

  it('executes with retries', async () => {
    const uuid = await newOrder()
    const next = `return executeWithRetry('${apiKey()}', '${uuid}')`
    const response = await run<Response>('executeWithRetry', [], scope, next)
    expect(response.status).toBe(200)
    expect(await response.json()).toMatchObject({ status: 'success', txid: expect.any(String) })
  })

  it('executes safely, and says why not', async () => {
    const uuid = await newOrder()
    const next = (uuid: string) => `return executeOrderSafely('${apiKey()}', '${uuid}')`
    const txid = await run<string>('executeOrderSafely', [], scope, next(uuid))
    expect(printed).toEqual([
      `Order executed successfully! TX: ${txid}`,
      expect.stringMatching(/^Rate limit: \d+\/100 remaining$/),
    ])
    await expect(run('executeOrderSafely', [], scope, next(uuid))).rejects.toThrow(
      'Order execution failed: Order not open',
    )
    await expect(run('executeOrderSafely', [], scope, next('order_none'))).rejects.toThrow(
      'Order execution failed: Order not found',
    )
  })

  it('trades when the price is right, once, and then stops watching', async () => {
    const uuid = await newOrder()
    const ticks: (() => Promise<void>)[] = []
    const stopped: unknown[] = []
    let price = 49_999
    const filled: Filled = [
      ['ck_live_abc123...', apiKey()],
      ['SP1ABC123...', wallet.address],
      ['order_uuid_123', uuid],
    ]
    await run('TradingBot', filled, {
      ...scope,
      setInterval: (tick: () => Promise<void>, every: number) => {
        expect(every).toBe(30_000)
        return ticks.push(tick)
      },
      clearInterval: (monitor: unknown) => stopped.push(monitor),
      fetchBTCPrice: async () => price,
    })
    await ticks[0]?.()
    expect((await show(uuid)).status).toBe('open')
    expect(stopped).toEqual([])
    price = 50_000
    await ticks[0]?.()
    const { status, txid } = await show(uuid)
    expect(status).toBe('broadcasted')
    expect(printed).toEqual([`Order executed successfully: ${txid}`])
    expect(stopped).toEqual([1])
    await ticks[0]?.()
    expect(printed.at(-1)).toBe('Monitoring error: Error: Execution failed: Order not open')
    expect(stopped).toEqual([1, 1])
  })

  it('rebalances a portfolio', async () => {
    const uuid = await newOrder()
    const next = `
      class Mine extends PortfolioRebalancer {
        async fetchPortfolioBalances() { return { STX: 1 } }
        calculateRebalanceOrders(portfolio) {
          return [
            { uuid: '${uuid}', description: 'more ' + Object.keys(portfolio) },
            { uuid: 'order_none', description: 'less BTC' },
          ]
        }
      }
      await new Mine('${apiKey()}', '${wallet.address}', { STX: 0.5 }).rebalance()`
    await run('PortfolioRebalancer', [], scope, next)
    expect(printed).toEqual([
      'Rebalanced: more STX',
      'Failed to rebalance less BTC: Error: Order not found',
    ])
    expect((await show(uuid)).status).toBe('broadcasted')
  })

  it('signs orders on an authorized server', async () => {
    type Handler = (request: object, response: object) => Promise<void>
    const mounted: Record<string, Handler> = {}
    env.SIGNING_PRIVATE_KEY = wallet.privateKey
    const filled: Filled = [
      ['ck_live_abc123...', apiKey()],
      ['SP1ABC123DEF456', wallet.address],
    ]
    await run('AuthorizedSigningServer', filled, {
      ...scope,
      app: {
        post: (path: string, handler: Handler) => Object.assign(mounted, { [path]: handler }),
      },
      signWithPrivateKey: async (privateKey: string, order: NewOrder) =>
        signIntent({ ...order, router: ROUTER, network: 'devnet', privateKey }),
    })
    const order = { inputToken: INPUT_TOKEN, outputToken: OUTPUT_TOKEN, amountIn: '1000000' }
    const condition = { targetPrice: '1.5', direction: 'gt', conditionToken: '*' }
    for (const body of [order, { ...order, ...condition }]) {
      const answers: unknown[] = []
      const response = { json: (answer: unknown) => answers.push(answer), status: () => response }
      await mounted['/api/create-order']?.({ body }, response)
      expect(answers).toEqual([
        {
          success: true,
          order: expect.objectContaining({
            ...body,
            owner: wallet.address,
            recipient: wallet.address,
            status: 'open',
          }),
        },
      ])
      const [{ order: made }] = answers as [{ order: Order }]
      expect(printed.at(-1)).toBe(`Order created: ${made.uuid}`)
    }
  })

  it('lists the keys, and what each has done', async () => {
    await run('list keys', [['SP1ABC123...', wallet.address]], scope)
    const [{ keyId, usageStats, createdAt } = {}] = await keys()
    const { totalRequests, successfulRequests } = usageStats as Record<string, number>
    const rate = Math.round(((successfulRequests ?? 0) / (totalRequests ?? 0)) * 100)
    expect(printed).toEqual([
      `My Trading Bot (${keyId})`,
      ' Status: active',
      ' Permissions: create, execute, cancel',
      ` Created: ${new Date(String(createdAt)).toLocaleDateString()}`,
      ` Usage: ${totalRequests} total requests`,
      ` Success rate: ${rate}%`,
    ])
    const shown = JSON.parse(SAMPLES.get('usage of a key') ?? '')
    const [key] = await keys()
    expect(key).toMatchObject({ keyId, rateLimit: 100, status: 'active' })
    expect(Object.keys(key ?? {})).toEqual(expect.arrayContaining(Object.keys(shown)))
    expect(Object.keys(usageStats as object).sort()).toEqual(Object.keys(shown.usageStats).sort())
  })

  it('refuses a key of another wallet in the words of the page', async () => {
    const stranger = newWallet(service)
    const { apiKey } = await createKey(service as Service, stranger)
    const uuid = await newOrder()
    const response = await service.call(`/orders/${uuid}/execute`, {
      method: 'POST',
      headers: { 'X-API-Key': apiKey },
    })
    const shown = JSON.parse(SAMPLES.get('error answer') ?? '')
    const answer = (await response.json()) as Record<string, unknown>
    expect(response.status).toBe(403)
    expect(answer).toMatchObject({
      error: shown.error,
      details: { apiKeyWallet: stranger.address, orderOwner: wallet.address, orderUuid: uuid },
    })
    expect(Object.keys(answer)).toEqual(expect.arrayContaining(Object.keys(shown)))
    expect(Object.keys(answer.details as object)).toEqual(Object.keys(shown.details))
  })

  it('revokes the key', async () => {
    const [{ keyId } = {}] = await keys()
    const filled: Filled = [
      ['key_123abc', String(keyId)],
      ['SP1ABC123...', wallet.address],
    ]
    await run('revoke a key', filled, scope)
    expect(printed).toEqual(["API key 'My Trading Bot' has been revoked"])
    const next = `return executeOrderSafely('${apiKey()}', 'any')`
    await expect(run('executeOrderSafely', [], scope, next)).rejects.toThrow(
      'Order execution failed: API key inactive',
    )
  })
})

describe('The reference, when the minute of a key is used up,', () => {
  let service: Service
  beforeAll(async () => {
    service = await startService('Postgres', { env: { RATE_LIMIT_PER_MINUTE: '1' } })
  })
  afterAll(() => service.close())

  it.each([
    [
      'executeWithRetry',
      'const response = await executeWithRetry(apiKey, uuid); return response.json()',
    ],
    ['executeOrderSafely', 'return { txid: await executeOrderSafely(apiKey, uuid) }'],
  ])('waits with %s until the next one begins, and no longer', async (title, next) => {
    const wallet = newWallet(service)
    await fund(service, wallet)
    const { apiKey } = await createKey(service, wallet)
    await service.call('/orders', { headers: { 'X-API-Key': apiKey } })
    const uuid = await createOrder(service, wallet)
    const waits: number[] = []
    const begun = service.clock.now
    const scope = {
      apiKey,
      uuid,
      fetch: (path: string, init?: RequestInit) => service.call(`/${path}`, init),
      Date: { now: () => service.clock.now },
      setTimeout: (go: () => void, milliseconds: number) => {
        waits.push(milliseconds)
        service.clock.now += milliseconds
        go()
      },
    }
    expect(await run(title, [], scope, next)).toMatchObject({
      txid: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    expect(waits).toEqual([60_000 - (begun % 60_000)])
  })
})

/** The entry as a process of its own, on a free port, on Postgres and the shared devnet. */
async function startNode(): Promise<{ child: ChildProcess; baseUrl: string }> {
  const devnetUrl = inject('devnetUrl')
  const operatorKey = `${randomBytes(32).toString('hex')}01`
  await fetch(`${devnetUrl}/faucet`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ address: addressOf(operatorKey, 'devnet') }),
  })
  const child = spawn(
    process.execPath,
    [fileURLToPath(new URL('../../src/node.ts', import.meta.url))],
    {
      env: {
        PATH: process.env.PATH,
        PORT: '0',
        DATABASE_URL: await freshDatabase('Postgres'),
        STACKS_API_URL: devnetUrl,
        OPERATOR_PRIVATE_KEY: operatorKey,
        ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      },
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  )
  for await (const line of createInterface(child.stdout)) {
    const { event, port } = JSON.parse(line) as { event: string; port: number }
    if (event === 'listening') {
      child.stdout.resume()
      return { child, baseUrl: `http://127.0.0.1:${port}` }
    }
  }
  throw new Error('the service did not start')
}
