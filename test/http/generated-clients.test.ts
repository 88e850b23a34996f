import { execFile } from 'node:child_process'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createApp } from '../../src/app.ts'
import { type Listening, listen } from '../../src/node/listen.ts'
import { ROOT } from '../node/entry.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'

const run = promisify(execFile)
const PACKAGES = join(ROOT, 'node_modules')
const TYPESCRIPT_5 = pathToFileURL(join(ROOT, 'test/support/typescript-5.mjs')).href

/** A generator, and a program that uses what it makes: the same steps with each. */
const GENERATORS = {
  'openapi-typescript': {
    args: ['openapi-typescript/bin/cli.js', 'openapi.json', '-o', 'client.ts'],
    use: `
import type { components, paths } from './client'
type Path = '/api/v1/orders'
type Created = paths['/api/v1/orders/new']['post']['responses']['201']['content']['application/json']
const limit: NonNullable<paths[Path]['get']['parameters']['query']>['limit'] = 2
const order: components['schemas']['NewOrder'] = JSON.parse(process.env.ORDER ?? '')
const send = (path: string, init?: RequestInit) => fetch(process.env.BASE + path, init)
const headers = { 'Content-Type': 'application/json', 'X-API-Key': process.env.KEY ?? '' }
const created: Created = await (await send('/api/v1/orders/new', { method: 'POST', headers, body: JSON.stringify(order) })).json()
const refused: components['schemas']['Error'] = await (await send('/api/v1/me', { headers: { 'X-API-Key': 'x' } })).json()
const listed = await (await send('/api/v1/orders?limit=' + limit)).json()
console.log(created.data.status, refused.code, listed.data.length)`,
  },
  '@hey-api/openapi-ts': {
    args: ['@hey-api/openapi-ts/dist/run.mjs', '-i', 'openapi.json', '-o', 'client'],
    use: `
import { client } from './client/client.gen'
import { createOrder, getMe, listOrders } from './client/sdk.gen'
client.setConfig({ baseUrl: process.env.BASE ?? '', auth: () => process.env.KEY })
const created = await createOrder({ body: JSON.parse(process.env.ORDER ?? '') })
const refused = await getMe({ auth: () => 'x' })
const listed = await listOrders({ query: { limit: 2 } })
console.log(created.data?.data.status, refused.error?.code, listed.data?.data.length)`,
  },
  orval: {
    args: [
      'orval/dist/bin/orval.mjs',
      '--input',
      'openapi.json',
      '--output',
      'client.ts',
      '--client',
      'fetch',
    ],
    use: `
import { createOrder, getMe, listOrders } from './client'
const { fetch } = globalThis
globalThis.fetch = (path, init) => fetch(process.env.BASE + String(path), init)
const headers = { 'X-API-Key': process.env.KEY ?? '' }
const created = await createOrder(JSON.parse(process.env.ORDER ?? ''), { headers })
const refused = await getMe({ headers: { 'X-API-Key': 'x' } })
const listed = await listOrders({ limit: 2 })
console.log(
  created.status === 201 && created.data.data.status,
  refused.status === 401 && refused.data.code,
  listed.status === 200 && listed.data.data.length,
)`,
  },
} as const

let service: Service
let listening: Listening
const folders: string[] = []
beforeAll(async () => {
  service = await startService('PGlite')
  const app = createApp({
    worldOf: () => service.world,
    addressOf: () => '127.0.0.1',
    allowedOrigins: ['*'],
  })
  const address = { HOST: '127.0.0.1', PORT: 0, KEEP_ALIVE_SECONDS: 65 }
  listening = await listen(app, address, { log: service.world.log })
})
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
  await listening.finish()
  await service.close()
})

it.each(
  Object.entries(GENERATORS),
)('a client that %s makes compiles, and places an order with a key', async (_, { args, use }) => {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-generated-'))
  folders.push(folder)
  const inFolder = (...given: string[]) => run(process.execPath, given, { cwd: folder })
  const document = await (await service.call('//openapi.json')).text()
  writeFileSync(join(folder, 'openapi.json'), document)
  writeFileSync(join(folder, 'use.ts'), `${use}\nexport {}\n`)
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(COMPILER))
  const [generator, ...options] = args
  await inFolder('--import', TYPESCRIPT_5, join(PACKAGES, generator), ...options)
  await inFolder(join(PACKAGES, 'typescript/bin/tsc'), '-p', '.')

  const outfile = join(folder, 'use.mjs')
  await build({ entryPoints: [join(folder, 'use.ts')], bundle: true, format: 'esm', outfile })
  const wallet = newWallet(service)
  const { apiKey } = await createKey(service, wallet)
  const { stdout } = await run(process.execPath, [outfile], {
    env: {
      BASE: `http://127.0.0.1:${listening.port}`,
      KEY: apiKey,
      ORDER: JSON.stringify(wallet.order()),
    },
  })
  expect(stdout).toMatch(/^open INVALID_API_KEY [12]\n$/)
})

const COMPILER = {
  compilerOptions: {
    target: 'es2022',
    module: 'esnext',
    moduleResolution: 'bundler',
    strict: true,
    noEmit: true,
    lib: ['es2024', 'dom', 'dom.iterable'],
    typeRoots: [join(PACKAGES, '@types')],
    types: ['node'],
  },
  include: ['*.ts'],
}
