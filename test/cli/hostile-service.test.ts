import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { DEVNET_ROUTERS } from '../../src/stacks/router.ts'
import { latchkey, PRIVATE_KEY } from './latchkey.ts'

const MAINNET = 'SP2D6RRAAZWG1N34S9QPADXN56HP4STX2H8BSQKK3'
const MAINNET_ROUTER = `${MAINNET}.x-multihop`
const [LEGACY, COMMITTED] = DEVNET_ROUTERS
const ORDER = (deployer: string) =>
  `orders create --input-token ${deployer}.a --output-token ${deployer}.b --amount-in 1000`

let server: Server
let port: number
/** What the service says of itself, and what it was sent besides GET /info. */
let info: object
let sent: { path: string; headers: object; body: string }[]
beforeAll(async () => {
  server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const path = request.url ?? ''
    if (path !== '/api/v1/info') sent.push({ path, headers: request.headers, body })
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(path === '/api/v1/info' ? info : { data: {}, apiKeys: [] }))
  })
  await new Promise<void>((resolve) => server.listen(0, resolve))
  port = (server.address() as AddressInfo).port
})
afterAll(() => server.close())
beforeEach(() => {
  sent = []
})

const run = (line: string, env: Record<string, string> = {}) =>
  latchkey(line, {
    LATCHKEY_URL: `http://127.0.0.1:${port}`,
    LATCHKEY_PRIVATE_KEY: PRIVATE_KEY,
    ...env,
  })
/** A host that is not this machine, as far as its name goes. */
const elsewhere = (line: string, env: Record<string, string> = {}) =>
  run(`${line} --allow-insecure`, { LATCHKEY_URL: `http://0.0.0.0:${port}`, ...env })
const mainnet = {
  network: 'mainnet',
  signedDomain: '0.0.0.0',
  routerContract: MAINNET_ROUTER,
  routers: [{ contract: MAINNET_ROUTER, commits: false }],
}

describe('a service that names what it wants signed gets nothing', () => {
  it('of another network, on this machine', async () => {
    info = { ...mainnet, signedDomain: '127.0.0.1' }
    for (const line of [
      ORDER(MAINNET),
      'keys list',
      'keys create --name a --permissions execute',
    ]) {
      const { exitCode, err } = await run(line)
      expect([line, exitCode, err]).toEqual([line, 2, expect.stringMatching(/^WRONG_NETWORK/)])
    }
    expect(sent).toEqual([])
  })

  it('of a network that the caller did not name, elsewhere', async () => {
    info = mainnet
    for (const line of [ORDER(MAINNET), 'keys list']) {
      const { exitCode, err } = await elsewhere(line)
      expect([line, exitCode, err]).toEqual([line, 2, expect.stringContaining('--network mainnet')])
    }
    expect(sent).toEqual([])
  })

  it('of a router that the caller did not name', async () => {
    info = mainnet
    const { exitCode, err } = await elsewhere(`${ORDER(MAINNET)} --network mainnet`)
    expect([exitCode, err]).toEqual([2, expect.stringMatching(/^WRONG_ROUTER: .*routers/)])
    const other = await elsewhere(`${ORDER(MAINNET)} --router ${MAINNET}.mine`, {
      LATCHKEY_NETWORK: 'mainnet',
    })
    expect([other.exitCode, other.err]).toEqual([
      2,
      expect.stringContaining(`signs for ${MAINNET}.mine only`),
    ])
    info = { network: 'devnet', routerContract: `${LEGACY.contract}-2` }
    expect((await run(ORDER(LEGACY.contract.split('.')[0] ?? ''))).err).toMatch(/^WRONG_ROUTER/)
    expect(sent).toEqual([])
  })

  it('of another domain than its host, or than --domain', async () => {
    info = { network: 'devnet', signedDomain: 'victim.example' }
    expect((await run('keys list')).err).toMatch(/^WRONG_DOMAIN: .*victim\.example/)
    info = { network: 'devnet', signedDomain: '127.0.0.1' }
    expect((await run('keys list --domain dex.example')).err).toMatch(/^WRONG_DOMAIN/)
    expect((await run('keys list', { LATCHKEY_DOMAIN: 'dex.example' })).err).toMatch(
      /^WRONG_DOMAIN/,
    )
    expect(sent).toEqual([])
  })
})

describe('what the caller names is signed for', () => {
  it('by options, and by variables', async () => {
    info = mainnet
    const named = {
      LATCHKEY_NETWORK: 'mainnet',
      LATCHKEY_ROUTERS: `${MAINNET_ROUTER}, committed:${MAINNET}.c`,
    }
    expect((await elsewhere(ORDER(MAINNET), named)).exitCode).toBe(0)
    const options = `--network mainnet --router ${MAINNET_ROUTER}`
    expect((await elsewhere(`${ORDER(MAINNET)} ${options}`)).exitCode).toBe(0)
    expect(sent.map(({ path }) => path)).toEqual(['/api/v1/orders/new', '/api/v1/orders/new'])
  })

  it('as the routers of a devnet on this machine are, unnamed', async () => {
    const deployer = LEGACY.contract.split('.')[0] ?? ''
    info = { network: 'devnet', routerContract: LEGACY.contract, routers: DEVNET_ROUTERS }
    expect((await run(`${ORDER(deployer)} --min-amount-out 9`)).exitCode).toBe(0)
    expect(JSON.parse(sent[0]?.body ?? '')).toMatchObject({
      routerContract: COMMITTED.contract,
      minAmountOut: '9',
      salt: expect.any(String),
    })
  })

  it('unless the variable names no network', async () => {
    expect(await run('keys list', { LATCHKEY_NETWORK: 'moon' })).toMatchObject({
      exitCode: 2,
      err: 'LATCHKEY_NETWORK is one of mainnet, testnet, devnet.\n',
    })
  })
})

describe('a devnet that names its chain', () => {
  const devnet = (stacksApiUrl: string) => ({
    network: 'devnet',
    signedDomain: '127.0.0.1',
    devnet: { inputToken: 'a', outputToken: 'b', faucet: '/', stacksApiUrl },
  })
  const address = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM'
  const faucet = () => run(`faucet ${address}`)

  it.each([
    'http://169.254.169.254',
    'http://10.0.0.1:8080/x',
    'http://127.0.0.1.example',
    'http://localhost.example',
    'file:///etc/passwd',
    'no address',
    '',
  ])('leads no request of the command line to another host: %j', async (url) => {
    info = devnet(url)
    const { exitCode, err } = await faucet()
    expect([exitCode, err]).toEqual([1, expect.stringContaining('a chain on its own host')])
  })

  const served = async (listener: RequestListener) => {
    const chain = createServer(listener)
    await new Promise<void>((resolve) => chain.listen(0, '127.0.0.1', resolve))
    info = devnet(`http://127.0.0.1:${(chain.address() as AddressInfo).port}`)
    const result = await faucet()
    chain.closeAllConnections()
    chain.close()
    return result
  }

  it('is not followed elsewhere, and read to a bound only', async () => {
    const redirected = await served((_, response) => {
      response.writeHead(307, { location: `http://127.0.0.1:${port}/stolen` }).end()
    })
    expect(redirected.err).toContain('does not return balances')
    expect(sent.map(({ path }) => path)).not.toContain('/stolen')
    const endless = await served((_, response) => {
      const timer = setInterval(() => response.write(' '.repeat(100_000)), 1)
      response.on('close', () => clearInterval(timer))
    })
    expect(endless.err).toMatch(/larger than \d+ bytes/)
  })

  it.each([
    '-1',
    '1.5',
    'x',
    null,
    {},
    '9'.repeat(40),
    1e21,
  ])('holds no amount that is none: %j', async (amount) => {
    const { err } = await served((_, response) => {
      response.end(JSON.stringify({ tokens: { a: amount } }))
    })
    expect(err).toContain('an amount is no whole number')
  })
})
