import { exec } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { Agent, type IncomingMessage, request } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it, vi } from 'vitest'
import { lockFolder } from '../../src/db/folder-lock.ts'
import { freshDatabase } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet } from '../support/wallet.ts'
import { type Entry, emptyFolder, npmStart, ROOT, startEntry } from './entry.ts'

/** What may pass between an install and the first answer. Tests run beside this one: their time is not counted. */
const START_SECONDS = 20

const clock = { now: Date.now() }
const at = (url: string) => ({
  call: (path: string, init?: RequestInit) => fetch(`${url}/api/v1${path}`, init),
})
const isDown = (url: string) =>
  vi.waitFor(() => expect(fetch(url)).rejects.toThrow('fetch failed'), { timeout: 10_000 })

describe('a start on an empty folder', () => {
  const folder = join(emptyFolder(), 'data')
  let entry: Entry
  let url: string
  let seconds: { wall: number; processor: number }
  beforeAll(async () => {
    const began = performance.now()
    entry = startEntry({ DATABASE_URL: `pglite:${folder}`, LOG_LEVEL: 'debug' })
    url = await entry.url()
    await fetch(`${url}/ready`)
    seconds = {
      wall: (performance.now() - began) / 1000,
      processor: processorSeconds(entry.child.pid ?? 0),
    }
  })

  it(`serves within ${START_SECONDS} s of one processor's time, with a chain of its own`, async () => {
    const { wall, processor } = seconds
    console.log(`served after ${wall.toFixed(1)} s, ${processor.toFixed(1)} s of processor time`)
    expect(processor).toBeLessThan(START_SECONDS)
    expect((await fetch(`${url}/ready`)).status).toBe(200)
  })

  it('says on stderr what to try, and where the data is', async () => {
    await vi.waitFor(() => expect(entry.stderr()).toContain('Ctrl-C'))
    for (const word of [url, 'npm run demo', `${url}/docs`, 'npm run latchkey', folder])
      expect(entry.stderr()).toContain(word)
  })

  it('plays the demo by the command that it says', async () => {
    await vi.waitFor(() => expect(entry.stderr()).toContain('Ctrl-C'))
    const [command = ''] = /npm run demo.*?(?= {2})/.exec(entry.stderr()) ?? []
    const { stdout } = await promisify(exec)(command, {
      cwd: ROOT,
      env: { PATH: process.env.PATH },
    })
    expect(stdout).toContain(`at ${url}, on devnet`)
    expect(stdout).toContain('✓ The key is dead')
  })

  it('writes to stdout JSON lines and nothing else', async () => {
    await fetch(`${url}/nowhere`)
    await at(url).call('/orders/new', { method: 'POST', body: '{' })
    expect(entry.stdout.length).toBeGreaterThan(2)
    for (const line of entry.stdout)
      expect(JSON.parse(line)).toMatchObject({
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        level: expect.stringMatching(/^(debug|info|warn|error)$/),
        event: expect.stringMatching(/^[a-z_]+$/),
      })
  })

  it('makes an encryption key that its owner alone can read', () => {
    const path = join(folder, 'encryption.key')
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(folder).mode & 0o777).toBe(0o700)
    expect(Buffer.from(readFileSync(path, 'utf8'), 'base64')).toHaveLength(32)
  })

  it('refuses the folder to a second process in a sentence, and goes on', async () => {
    const second = startEntry({ DATABASE_URL: `pglite:${folder}` })
    expect(await second.ended).toEqual({ code: 1, signal: null })
    expect(second.stderr()).toBe(
      `The folder ${folder} is in use by process ${entry.child.pid}. Stop it, or set DATABASE_URL=pglite:<another folder>.\n`,
    )
    expect((await fetch(`${url}/ready`)).status).toBe(200)
  })

  it('is whole after SIGKILL: the chain goes too, and no answer that was given is lost', async () => {
    const info = await (await at(url).call('/info')).json()
    const wallet = newWallet({ clock })
    await fund(at(url), wallet)
    const { apiKey, keyId } = await createKey(at(url), wallet)
    const uuid = await createOrder(at(url), wallet)
    entry.child.kill('SIGKILL')
    expect(await entry.ended).toEqual({ code: null, signal: 'SIGKILL' })
    await isDown(info.devnet.stacksApiUrl)

    entry = startEntry({ DATABASE_URL: `pglite:${folder}` })
    const { call } = at(await entry.url())
    const executed = await call(`/orders/${uuid}/execute`, {
      method: 'POST',
      headers: { 'X-API-Key': apiKey },
    })
    expect(await executed.json()).toMatchObject({ status: 'success' })
    const headers = wallet.signHeaders({ action: 'get_api_key', keyId })
    expect(await (await call(`/api-keys/${keyId}`, { headers })).json()).toMatchObject({
      apiKey: { keyId, usageStats: { totalRequests: 1, executionCount: 1 } },
    })
    entry.child.kill('SIGTERM')
    expect(await entry.ended).toEqual({ code: 0, signal: null })
    expect(readdirSync(folder).sort()).toEqual([
      'chain',
      'encryption.key',
      'lock',
      'lock.pid',
      'postgres',
    ])
  })
})

describe('a start that cannot be', () => {
  it('names every fault of the environment at once, and none of its values', async () => {
    const entry = startEntry({
      PORT: 'harbour',
      DATABASE_URL: 'mysql://admin:hunter2@db',
      STACKS_NETWORK: 'mainnet',
      OPERATOR_PRIVATE_KEY: 'hunter2',
      ENCRYPTION_KEY: 'hunter2',
      REQUIRE_SIGNED_DOMAIN: 'true',
      TRUSTED_PROXIES: '10.0.0.0/8,hunter2',
    })
    expect(await entry.ended).toEqual({ code: 1, signal: null })
    const [heading, ...faults] = entry.stderr().trimEnd().split('\n')
    expect(heading).toBe('The configuration has faults:')
    expect(faults.map((line) => line.trim().split(':')[0]).sort()).toEqual([
      'DATABASE_URL',
      'ENCRYPTION_KEY',
      'INTENT_VERIFIER_CONTRACT',
      'OPERATOR_PRIVATE_KEY',
      'PORT',
      'QUOTE_URL',
      'ROUTER_CONTRACT',
      'SIGNED_DOMAIN',
      'STACKS_API_URL',
      'TRUSTED_PROXIES',
    ])
    expect(entry.stderr()).not.toMatch(/hunter2|harbour/)
    expect(entry.stdout).toEqual([])
  })

  it.each([
    '0x',
    '',
  ])("refuses the devnet's own operator key on mainnet, written as %s..", async (prefix) => {
    const { DEVNET_OPERATOR_PRIVATE_KEY } = await import('../../src/devnet/constants.ts')
    const entry = startEntry({
      STACKS_NETWORK: 'mainnet',
      OPERATOR_PRIVATE_KEY: prefix + DEVNET_OPERATOR_PRIVATE_KEY.slice(0, 64).toUpperCase(),
    })
    await entry.ended
    expect(entry.stderr()).toContain("OPERATOR_PRIVATE_KEY: is the devnet's, which is published")
  })

  it('says so in a sentence when the port is taken, and leaves nothing running', async () => {
    const squatter = createServer()
    await new Promise<void>((resolve) => squatter.listen(0, '127.0.0.1', resolve))
    const { port } = squatter.address() as { port: number }
    const cwd = emptyFolder()
    const entry = startEntry(
      { DATABASE_URL: await freshDatabase('Postgres'), PORT: String(port) },
      cwd,
    )
    expect(await entry.ended).toEqual({ code: 1, signal: null })
    squatter.close()
    expect(entry.stderr()).toBe(
      `Port ${port} of 127.0.0.1 is taken. Stop what listens there, or set PORT to another one.\n`,
    )
    lockFolder(join(cwd, '.latchkey/chain'), 'go away')()
  })

  it('says so in a sentence when Postgres does not answer, without its password', async () => {
    const entry = startEntry({ DATABASE_URL: 'postgres://admin:hunter2@localhost:1/latchkey' })
    expect(await entry.ended).toEqual({ code: 1, signal: null })
    expect(entry.stderr()).toMatch(
      /^The database of DATABASE_URL cannot be opened: .*ECONNREFUSED.*\n$/,
    )
    expect(entry.stderr()).not.toContain('hunter2')
  })
})

describe('two processes', () => {
  it('on one Postgres do not start one chain twice: the second may share it', async () => {
    const cwd = emptyFolder()
    const env = { DATABASE_URL: await freshDatabase('Postgres') }
    const first = startEntry(env, cwd)
    const info = await (await at(await first.url()).call('/info')).json()
    const second = startEntry(env, cwd)
    expect(await second.ended).toEqual({ code: 1, signal: null })
    expect(second.stderr()).toMatch(
      /^The folder .*chain is in use by process \d+\. Stop it, or set STACKS_API_URL to the chain that it started\.\n$/,
    )
    const third = startEntry({ ...env, STACKS_API_URL: info.devnet.stacksApiUrl }, cwd)
    expect((await fetch(`${await third.url()}/ready`)).status).toBe(200)
    await Promise.all([end(first), end(third)])
  })
})

describe.each(['SIGTERM', 'SIGINT'] as const)('%s', (signal) => {
  it('lets a request that is under way finish, and takes the chain down', async () => {
    const entry = startEntry({ DATABASE_URL: await freshDatabase('Postgres') })
    const url = await entry.url()
    const info = await (await at(url).call('/info')).json()
    const wallet = newWallet({ clock })
    const { body } = json(
      wallet.sign({ action: 'create_api_key', keyName: 'last', permissions: ['execute'] }),
    )
    const half = begin(`${url}/api/v1/api-keys`, String(body))
    await half.sent
    entry.child.kill(signal)
    await entry.event('stopping')
    await expect(fetch(`${url}/health`)).rejects.toThrow('fetch failed')

    const began = performance.now()
    const response = await half.finish()
    expect(response.statusCode).toBe(201)
    expect(JSON.parse(await text(response))).toMatchObject({ status: 'success', name: 'last' })
    expect(await entry.ended).toEqual({ code: 0, signal: null })
    expect(performance.now() - began).toBeLessThan(3_000)
    await entry.event('stopped')
    await isDown(info.devnet.stacksApiUrl)
  })

  it('ends the streams that are open, and does not wait for their clients', async () => {
    const entry = startEntry({ DATABASE_URL: await freshDatabase('Postgres') })
    const url = await entry.url()
    const uuid = await createOrder(at(url), newWallet({ clock }))
    const streams = await Promise.all(
      Array.from({ length: 5 }, () => fetch(`${url}/api/v1/orders/${uuid}/events`)),
    )
    const began = performance.now()
    entry.child.kill(signal)
    for (const stream of streams) expect(await stream.text()).toContain('"status":"open"')
    expect(await entry.ended).toEqual({ code: 0, signal: null })
    expect(performance.now() - began).toBeLessThan(5_000)
  })
})

it('npm start passes SIGTERM on, and leaves nothing running', async () => {
  const entry = npmStart({ DATABASE_URL: `pglite:${emptyFolder()}` })
  const url = await entry.url()
  entry.child.kill('SIGTERM')
  await entry.event('stopped')
  await entry.ended
  await isDown(url)
})

/** A request on a connection that is kept alive, of whose body half is sent. */
function begin(url: string, body: string) {
  const outgoing = request(url, {
    method: 'POST',
    agent: new Agent({ keepAlive: true }),
    headers: { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) },
  })
  const answered = new Promise<IncomingMessage>((resolve, reject) =>
    outgoing.once('response', resolve).once('error', reject),
  )
  answered.catch(() => {})
  const middle = body.length / 2
  return {
    sent: new Promise<void>((resolve) => outgoing.write(body.slice(0, middle), () => resolve())),
    finish() {
      outgoing.end(body.slice(middle))
      return answered
    },
  }
}

/** Linux: user and system time of a process and its children, in ticks of 10 ms. */
function processorSeconds(pid: number): number {
  const [, fields = ''] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')
  const [user = 0, system = 0] = fields.split(' ').slice(11, 13).map(Number)
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ')
  return children
    .filter((child) => child !== '')
    .reduce((sum, child) => sum + processorSeconds(Number(child)), (user + system) / 100)
}

async function end({ child, ended }: Entry): Promise<void> {
  child.kill('SIGKILL')
  await ended
}
