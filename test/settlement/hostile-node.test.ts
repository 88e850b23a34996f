import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { brotliCompressSync, constants } from 'node:zlib'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { INPUT_TOKEN, INTENT_VERIFIER, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import { fetchPeer } from '../../src/node/fetch.ts'
import { spendable } from '../../src/settlement/operator.ts'
import { connectStacksNode, type StacksNodeOptions } from '../../src/settlement/stacks-node.ts'
import type { PeerFetch } from '../../src/wire/response.ts'
import { createOrder } from '../support/wallet.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from './chain.ts'

const TXID = '00'.repeat(32)
const OWNER = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM'

/** Workers have the first, Node the second. */
const FETCHES: [string, PeerFetch][] = [
  ['fetch', fetch],
  ['node:http', fetchPeer],
]
let fetchUnderTest: PeerFetch = fetch

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

/** A node and a quote service that answer everything with the listener. */
async function nodeThat(
  listener: RequestListener,
  addresses: (url: string) => Partial<StacksNodeOptions> = () => ({}),
) {
  const server = createServer(listener)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return connectStacksNode({
    network: 'devnet',
    apiUrl: url,
    quoteUrl: `${url}/quote`,
    fetch: fetchUnderTest,
    now: () => 0,
    timeoutMs: 2_000,
    ...addresses(url),
  })
}

type Node = Awaited<ReturnType<typeof nodeThat>>

/** Everything that is asked of a node, and what it is worth when the node does not answer it. */
const QUESTIONS: [string, (node: Node) => Promise<unknown>, unknown][] = [
  ['find', (node) => node.find(TXID), { kind: 'unknown' }],
  ['height', (node) => node.height(), undefined],
  ['fee', (node) => node.estimateFee(new Uint8Array(8), 180), undefined],
  ['account', (node) => node.account(OWNER), undefined],
  ['nonces', (node) => node.nonces(OWNER), undefined],
  ['balance', (node) => node.tokenBalance(INPUT_TOKEN, OWNER), undefined],
  ['uuid', (node) => node.isUuidUsed(INTENT_VERIFIER, 'uuid-1'), undefined],
  ['asset', (node) => node.assetName(INPUT_TOKEN), undefined],
  [
    'quote',
    (node) => node.quote(INPUT_TOKEN, OUTPUT_TOKEN, '1'),
    { ok: false, reason: 'chainUnavailable' },
  ],
  ['faucet', (node) => node.fund(OWNER).catch(() => 'rejected'), 'rejected'],
]

/** 300 MB of white space in a few hundred bytes. */
const bomb = brotliCompressSync(Buffer.alloc(300 * 2 ** 20, ' '), {
  params: { [constants.BROTLI_PARAM_QUALITY]: 3, [constants.BROTLI_PARAM_LGWIN]: 24 },
})

describe.each(FETCHES)('a node that lies, over %s', (_, fetchOne) => {
  beforeAll(() => {
    fetchUnderTest = fetchOne
  })

  it.each(
    QUESTIONS,
  )('costs no more than a response, however well it compressed: %s', async (_, ask, nothing) => {
    const before = process.memoryUsage().rss
    let most = 0
    const timer = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss - before)
    }, 5)
    const node = await nodeThat(
      (_, response) => {
        response.writeHead(200, { 'content-encoding': 'br' }).end(bomb)
      },
      () => ({ timeoutMs: 30_000 }),
    )
    expect(await ask(node)).toEqual(nothing)
    clearInterval(timer)
    most = Math.max(most, process.memoryUsage().rss - before)
    expect(most).toBeLessThan(150 * 2 ** 20)
  })

  it('may not be read for ever, nor nested without end', async () => {
    const endless = await nodeThat((_, response) => {
      response.writeHead(200)
      const timer = setInterval(() => response.write('[1],'.repeat(100_000)), 1)
      response.on('close', () => clearInterval(timer))
    })
    expect(await endless.height()).toBeUndefined()
    const deep = await nodeThat((_, response) => void response.end('['.repeat(1_000_000)))
    for (const [, ask, nothing] of QUESTIONS) expect(await ask(deep)).toEqual(nothing)
  })

  it('has not decided about a transaction when it refuses it at great length', async () => {
    const node = await nodeThat((_, response) => {
      response.writeHead(400)
      const timer = setInterval(() => response.write('x'.repeat(1_000_000)), 1)
      response.on('close', () => clearInterval(timer))
    })
    expect(await node.submit(new Uint8Array(8))).toMatchObject({ kind: 'unknown' })
  })

  it('leads no request, and no credential, to another host', async () => {
    const seen: string[] = []
    const thief = createServer((request, response) => {
      seen.push(request.url ?? '')
      response.end('{}')
    })
    servers.push(thief)
    await new Promise<void>((resolve) => thief.listen(0, '127.0.0.1', resolve))
    const { port } = thief.address() as AddressInfo
    for (const status of [301, 302, 303, 307, 308]) {
      const node = await nodeThat(
        (_, response) => {
          response.writeHead(status, { location: `http://127.0.0.1:${port}/stolen` }).end()
        },
        () => ({ apiHeaders: { 'x-api-key': 'secret' } }),
      )
      for (const [, ask, nothing] of QUESTIONS) expect(await ask(node)).toEqual(nothing)
      expect(await node.submit(new Uint8Array(8))).toMatchObject({ kind: 'unknown' })
    }
    expect(seen).toEqual([])
  })
})

describe.each(FETCHES)('what a node says beyond the possible, over %s', (_, fetchOne) => {
  beforeAll(() => {
    fetchUnderTest = fetchOne
  })

  const answering = (answers: Record<string, unknown>) =>
    nodeThat(({ url = '' }, response) => {
      const found = Object.entries(answers).find(([path]) => url.startsWith(path))?.[1]
      response.writeHead(found === undefined ? 404 : 200).end(JSON.stringify(found ?? {}))
    })

  it.each([
    ['next_nonce', { next_nonce: 2 ** 53 - 1 }],
    ['last_nonce', { next_nonce: 5, mempool: { last_nonce: 2_000 } }],
  ])('is no nonce, which no later truth would take back: %s', async (_, said) => {
    const nonces = { '/extended/v3/principals/': said }
    const account = { '/v2/accounts/': { nonce: 5, balance: '0x01' } }
    expect(await (await answering({ ...account, ...nonces })).nonces(OWNER)).toBeUndefined()
    const possible = { '/extended/v3/principals/': { next_nonce: 30 } }
    expect(await (await answering({ ...account, ...possible })).nonces(OWNER)).toMatchObject({
      confirmed: 5,
      next: 30,
    })
  })

  it.each([
    'x'.repeat(65),
    'two words',
    'a\nb',
    '\u001b[2J',
    'X-API-Key:secret',
    '',
  ])('is no reason that is stored, logged or returned: %j', async (reason) => {
    const rejecting = await nodeThat((_, response) => {
      response.writeHead(400).end(JSON.stringify({ error: 'transaction rejected', reason }))
    })
    expect(await rejecting.submit(new Uint8Array(8))).toEqual({
      kind: 'unknown',
      reason: 'unreadable',
    })
    const dropping = await answering({
      '/extended/v3/transactions/': { status: `dropped_${reason.slice(0, 57)} ` },
    })
    expect(await dropping.find(TXID)).toEqual({ kind: 'dropped', reason: 'unreadable' })
  })

  it.each(['', 'a b', '1a', 'x'.repeat(129), 'é'])('is no name of an asset: %j', async (name) => {
    const { 0: token = '' } = INPUT_TOKEN.split('::')
    const node = await answering({
      '/v2/contracts/interface/': { fungible_tokens: [{ name }] },
      '/quote': {
        success: true,
        data: {
          amountOut: '5',
          hops: [{ vault: token, opcode: '00', asset: `${token}::${name}` }],
        },
      },
    })
    expect(await node.assetName(INPUT_TOKEN)).toBeUndefined()
    expect(await node.quote(INPUT_TOKEN, OUTPUT_TOKEN, '1')).toEqual({
      ok: false,
      reason: 'chainUnavailable',
    })
  })
})

describe('an execute, whatever its node and its quote service answer', () => {
  let chain: OwnChain
  let service: Settling
  beforeAll(async () => {
    chain = await startOwnChain()
    service = await startSettling(chain)
  })
  afterEach(() => chain.clear())
  afterAll(async () => {
    await service?.close()
    await chain?.stop()
  })

  const vault = INPUT_TOKEN
  const quote = (data: object) => ({ success: true, data: { amountOut: '5', ...data } })
  const huge = '9'.repeat(39)
  const JUNK: [string, string, unknown[]][] = [
    ['anything', '/', [null, [], {}, 'x', 0, true, { okay: true, result: '0x' }]],
    [
      'a quote',
      '/quote',
      [
        quote({ hops: [{ vault, opcode: '00' }], amountOut: huge, minimumReceived: huge }),
        quote({ hops: [{ vault, opcode: 'ff'.repeat(16) }], amountOut: `${2n ** 128n - 1n}` }),
        quote({ hops: Array(5).fill({ vault, opcode: '00', asset: `${vault}::a>b` }) }),
        quote({ hops: [{ vault, opcode: '00' }], amountOut: '0' }),
        { success: false },
      ],
    ],
    [
      'a value',
      '/v2/contracts/call-read/',
      ['', '0x', '0x03', '0x09', `0x0100${'ff'.repeat(15)}`, `0x${'07'.repeat(200_000)}03`].map(
        (result) => ({ okay: true, result }),
      ),
    ],
    [
      'an interface',
      '/v2/contracts/interface/',
      [{ fungible_tokens: [] }, { fungible_tokens: [{ name: 'x'.repeat(200) }] }],
    ],
    [
      'an account',
      '/v2/accounts/',
      [
        { nonce: 2 ** 53 - 1, balance: '0x00' },
        { nonce: 1e300, balance: `0x${'f'.repeat(33)}` },
      ],
    ],
    ['nonces', '/extended/', [{ next_nonce: 2 ** 53 - 1 }, { possible_next_nonce: -1 }]],
    ['a fee', '/v2/fees/', [1e308, -1, 'x'].map((fee) => ({ estimations: [{ fee }] }))],
  ]

  it.each(JUNK)('is no 500: %s', async (_, on, bodies) => {
    for (const body of bodies) {
      const uuid = await createOrder(service, service.wallet)
      await chain.plan({ on, do: 'answer', status: 200, body })
      const { status, body: answer } = await service.execute(uuid)
      await chain.clear()
      expect([200, 202, 400, 422, 502, 503]).toContain(status)
      expect(JSON.stringify(answer).length).toBeLessThan(2_000)
    }
    expect(service.logged.join('\n')).not.toContain('internal_error')
  })

  it('has balances beyond all STX that there are, which a column of the database still holds', async () => {
    const { db } = service.world
    const balance = await spendable(db, service.wallet.address, 2n ** 128n - 1n, 0)
    expect(await rows(db, sql`SELECT ${balance}::bigint IS NOT NULL AS held`)).toEqual([
      { held: true },
    ])
  })
})

describe.each(FETCHES)('an amount of a quote, over %s', (_, fetchOne) => {
  beforeAll(() => {
    fetchUnderTest = fetchOne
  })

  const hops = [{ vault: INPUT_TOKEN, opcode: '00' }]
  /** The members of the response as they are written: a JSON number has no digits to lose here. */
  const quoted = async (amounts: string) => {
    const node = await nodeThat((_, response) => {
      response.end(`{"success":true,"data":{${amounts},"hops":${JSON.stringify(hops)}}}`)
    })
    return node.quote(INPUT_TOKEN, OUTPUT_TOKEN, '1')
  }

  it.each([
    '90071992547409931',
    '9007199254740993',
    '9007199254740992',
    '1e300',
    '1e999',
    '-1',
    '1.5',
    '"0x10"',
    '"1e3"',
    `"${'9'.repeat(40)}"`,
  ])('is refused when it would not be exact: %s', async (amount) => {
    for (const amounts of [`"amountOut":${amount}`, `"amountOut":"5","minimumReceived":${amount}`])
      expect(await quoted(amounts)).toEqual({ ok: false, reason: 'chainUnavailable' })
  })

  it.each([
    ['9007199254740991', '9007199254740991'],
    ['"90071992547409931"', '90071992547409931'],
    [`"${2n ** 128n - 1n}"`, `${2n ** 128n - 1n}`],
  ])('is exact: %s', async (amount, expected) => {
    expect(await quoted(`"amountOut":${amount},"minimumReceived":${amount}`)).toMatchObject({
      ok: true,
      value: { amountOut: expected, minimumReceived: expected },
    })
  })
})

describe.each(FETCHES)('an address of a node, over %s', (_, fetchOne) => {
  beforeAll(() => {
    fetchUnderTest = fetchOne
  })

  it.each([
    ['', '/v2/info', '/quote'],
    ['/', '/v2/info', '/quote'],
    ['/key/', '/key/v2/info', '/quote'],
    ['/key?apikey=K%20/&b', '/key/v2/info?apikey=K%20/&b', '/quote?chain=stacks&'],
  ])('is kept whole: %j', async (path, infoPath, quotePath) => {
    const asked: string[] = []
    const node = await nodeThat(
      (request, response) => {
        asked.push(request.url ?? '')
        response.end('{}')
      },
      (url) => ({
        apiUrl: url + path,
        quoteUrl: url + (quotePath.includes('?') ? '/quote?chain=stacks' : '/quote'),
      }),
    )
    await node.height()
    await node.account(OWNER)
    await node.quote(INPUT_TOKEN, OUTPUT_TOKEN, '1')
    const [info, account, quote] = asked
    expect(info).toBe(infoPath)
    const [before = '', query] = infoPath.replace('/v2/info', `/v2/accounts/${OWNER}`).split('?')
    expect(account).toBe(`${before}?${query === undefined ? '' : `${query}&`}proof=0`)
    expect(quote?.startsWith(quotePath.replace('&', '&tokenIn='))).toBe(true)
    expect(new URL(quote ?? '', 'http://x').searchParams.get('amount')).toBe('1')
  })

  it('gets the key of the API as a header of every request', async () => {
    const keys: unknown[] = []
    const node = await nodeThat(
      ({ headers }, response) => {
        keys.push(headers['x-api-key'])
        response.end('{}')
      },
      () => ({ apiHeaders: { 'x-api-key': 'secret' } }),
    )
    for (const [name, ask] of QUESTIONS) if (name !== 'quote') await ask(node)
    await node.submit(new Uint8Array(8))
    expect(keys.length).toBeGreaterThan(8)
    expect(new Set(keys)).toEqual(new Set(['secret']))
  })
})
