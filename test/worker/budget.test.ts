import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { freshDatabase, type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'
import { startWorker, wrangler } from './workerd.ts'

const MAX_BUNDLE_BYTES = 400 * 1024
/** Cloudflare refuses a worker that starts for longer than a second. An idle machine needs a tenth of this. */
const MAX_STARTUP_MS = 400
/** A pass of the gate costs at most so many times what a request without a statement does: the machine's speed cancels out. */
const MAX_GATE_PASS = 5

/** All that the worker is made of. Whatever joins this list is paid for at every cold start. */
const PACKAGES = [
  '@bitauth/libauth',
  '@noble/hashes',
  '@noble/secp256k1',
  '@stacks/common',
  '@stacks/network',
  '@stacks/transactions',
  'base-x',
  'c32check',
  'drizzle-orm',
  'hono',
  'lodash.clonedeep',
  'postgres',
  'structured-headers',
  'zod',
]

describe('the bundle', () => {
  let folder: string
  let files: { name: string; bytes: Buffer }[]
  /** Bytes that each source file has in the bundle. */
  let sources: Map<string, number>
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'latchkey-bundle-'))
    const metafile = join(folder, 'meta.json')
    await wrangler(['deploy', '--dry-run', '--outdir', folder, '--metafile', metafile])
    const names = (await readdir(folder)).filter((name) => /\.(js|wasm)$/.test(name))
    files = await Promise.all(
      names.map(async (name) => ({ name, bytes: await readFile(join(folder, name)) })),
    )
    const { outputs } = JSON.parse(await readFile(metafile, 'utf8')) as {
      outputs: Record<string, { inputs: Record<string, { bytesInOutput: number }> }>
    }
    sources = new Map(
      Object.values(outputs).flatMap(({ inputs }) =>
        Object.entries(inputs)
          .filter(([, { bytesInOutput }]) => bytesInOutput > 0)
          .map(([source, { bytesInOutput }]) => [source, bytesInOutput] as const),
      ),
    )
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('is at most 400 KB, gzipped', () => {
    const sizes = files.map(({ name, bytes }) => [name, gzipSync(bytes).length] as const)
    const total = sizes.reduce((sum, [, size]) => sum + size, 0)
    console.log(`gzipped: ${total} bytes\n${sharesOf(sources)}`)
    expect(total).toBeLessThanOrEqual(MAX_BUNDLE_BYTES)
  })

  it('holds these packages and no other', () => {
    const found = new Set([...sources.keys()].map(packageOf).filter((name) => name !== 'src'))
    expect([...found, '@bitauth/libauth'].sort()).toEqual(PACKAGES)
    expect(files.map(({ name }) => name.replace(/^[0-9a-f]{40}-/, '')).sort()).toEqual([
      'secp256k1.wasm',
      'worker.js',
    ])
  })

  it.each([
    ["zod's locales, English apart", /zod\/v4\/locales\/(?!en\.)/],
    ["drizzle's other dialects", /drizzle-orm\/(mysql|sqlite|singlestore|gel)/],
    ['the other database, migrations and files', /pglite|migrator|src\/db\/open|src\/node\//],
    ['wordlists and wallets', /wordlist|bip32|bip39|node_modules\/.*wallet/i],
    ['the devnet, less its constants', /src\/devnet\/(?!constants\.ts)|clarinet/],
    ['the SDK and the command line', /src\/(client|cli)\//],
  ])('holds nothing of %s', (_, unwanted) => {
    expect([...sources.keys()].filter((source) => unwanted.test(source))).toEqual([])
  })
})

describe('the start', () => {
  it(`takes at most ${MAX_STARTUP_MS} ms of CPU`, async () => {
    const profile = join(inject('runFolder'), 'startup.cpuprofile')
    const { stdout } = await wrangler(['check', 'startup', '--outfile', profile])
    const [, active] = /Active: ([\d.]+) ms/.exec(stdout) ?? []
    console.log(`start-up CPU: ${active} ms`)
    expect(Number(active)).toBeGreaterThan(0)
    expect(Number(active)).toBeLessThanOrEqual(MAX_STARTUP_MS)
  })
})

describe.runIf(process.platform === 'linux')('a request in workerd', () => {
  let service: Service
  let worker: Awaited<ReturnType<typeof startWorker>>
  const now = Date.now()
  beforeAll(async () => {
    const databaseUrl = await freshDatabase('Postgres')
    const env = {
      RATE_LIMIT_PER_MINUTE: '100000',
      RATE_LIMIT_PER_HOUR: '100000',
      GATE_OBJECTS: '0',
    }
    service = await startService('Postgres', { databaseUrl, env })
    worker = await startWorker(inject('runFolder'), databaseUrl, {
      ...env,
      ...secretsOf(service),
      STACKS_API_URL: inject('devnetUrl'),
      QUOTE_URL: `${inject('devnetUrl')}/quote`,
      IP_RATE_LIMIT_PER_MINUTE: '1000000',
      LOG_LEVEL: 'info',
    })
  })
  afterAll(async () => {
    await worker.stop()
    await service.close()
  })

  /** CPU of the whole process, per request: HTTP on both sides, sockets and statements included. */
  async function cpuMsOf(path: string, init: RequestInit, status: number): Promise<number> {
    const requests = async (count: number) => {
      for (let request = 0; request < count; request++) {
        const { response } = await worker.call(`/api/v1${path}`, { ...init, now })
        expect(response.status).toBe(status)
      }
    }
    await requests(50)
    const before = worker.cpuMs()
    await requests(150)
    return (worker.cpuMs() - before) / 150
  }

  it(`costs at most ${MAX_GATE_PASS} times what /time does for a pass of the gate, with a database session of its own`, async () => {
    const { apiKey } = await createKey(service, newWallet(service))
    const idle = await cpuMsOf('/time', {}, 200)
    const init = { method: 'POST', headers: { 'X-API-Key': apiKey } }
    const gate = await cpuMsOf('/orders/unknown/execute', init, 404)
    console.log(
      `CPU a request: ${idle.toFixed(2)} ms for /time, ${gate.toFixed(2)} ms for a gate pass`,
    )
    expect(gate).toBeLessThanOrEqual(MAX_GATE_PASS * idle)
  })

  it('costs at most twice what /time does more to check a signature', async () => {
    const headers = newWallet(service).signHeaders({ action: 'list_api_keys' })
    const idle = await cpuMsOf('/time', {}, 200)
    const list = await cpuMsOf('/orders', {}, 200)
    const signed = await cpuMsOf('/api-keys', { headers }, 200)
    console.log(
      `CPU a request: ${list.toFixed(2)} ms to list, ${signed.toFixed(2)} ms to list for a signature`,
    )
    expect(signed - list).toBeLessThanOrEqual(2 * idle)
  })
})

function packageOf(source: string): string {
  const inside = source.split('node_modules/').at(-1) ?? ''
  if (inside === source) return 'src'
  return inside
    .split('/')
    .slice(0, inside.startsWith('@') ? 2 : 1)
    .join('/')
}

function sharesOf(sources: Map<string, number>): string {
  const shares = new Map<string, number>()
  for (const [source, bytes] of sources)
    shares.set(packageOf(source), (shares.get(packageOf(source)) ?? 0) + bytes)
  return [...shares]
    .sort(([, one], [, other]) => other - one)
    .map(([name, bytes]) => `  ${name} ${(bytes / 1024).toFixed(1)} KB, minified`)
    .join('\n')
}
