import { once } from 'node:events'
import { connect } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { createApp, endpoints } from '../../src/app.ts'
import { REFUSALS } from '../../src/errors.ts'
import { gzip, readDocsFile } from '../../src/node/docs.ts'
import { listen } from '../../src/node/listen.ts'
import { startService } from '../support/service.ts'

it.each([
  'constructor',
  '__proto__',
  'hasOwnProperty',
  'package.json',
])('/docs/%s is not found, with a request id', async (name) => {
  const service = await startService('PGlite')
  const app = createApp({
    worldOf: () => service.world,
    addressOf: () => '127.0.0.1',
    allowedOrigins: ['*'],
    readDocsFile,
  })
  const response = await app.request(`/docs/${name}`)
  expect(response.status).toBe(404)
  expect(response.headers.get('X-Request-Id')).toMatch(/^req_/)
  await service.close()
})

const DOCUMENTS = ['/docs', '/docs/style.css', '/docs/try.js', '/openapi.json']

async function open(limit: string) {
  const service = await startService('PGlite', { env: { IP_RATE_LIMIT_PER_MINUTE: limit } })
  const app = createApp({
    worldOf: () => service.world,
    addressOf: (c) => c.req.header('x-test-address') ?? '127.0.0.1',
    allowedOrigins: ['*'],
    readDocsFile,
    gzip,
  })
  const get = (path: string, headers: Record<string, string> = {}) => app.request(path, { headers })
  return { service, app, get }
}

it('a document is cacheable, compressed where the client can read that, and not sent again', async () => {
  const { service, get } = await open('1000')
  for (const path of DOCUMENTS) {
    const plain = await get(path)
    expect(plain.headers.get('Cache-Control')).toBe('public, max-age=3600')
    expect(plain.headers.get('Content-Encoding')).toBeNull()
    expect(plain.headers.get('Vary')).toContain('Accept-Encoding')
    expect(plain.headers.get('X-Request-Id')).toMatch(/^req_/)
    const bytes = Buffer.from(await plain.arrayBuffer())
    const etag = plain.headers.get('ETag') ?? ''
    for (const known of [etag, etag.replace('W/', ''), `"other", ${etag}`, '*']) {
      const again = await get(path, { 'If-None-Match': known })
      expect(again.status).toBe(304)
      expect(again.headers.get('ETag')).toBe(etag)
      expect(await again.text()).toBe('')
    }
    expect((await get(path, { 'If-None-Match': '"other"' })).status).toBe(200)
    for (const refused of ['identity', 'gzip;q=0', 'br'])
      expect(
        (await get(path, { 'Accept-Encoding': refused })).headers.get('Content-Encoding'),
      ).toBeNull()
    if (bytes.length < 1_024) continue
    const zipped = await get(path, { 'Accept-Encoding': 'br;q=1.0, gzip;q=0.8, *;q=0.1' })
    expect(zipped.headers.get('Content-Encoding')).toBe('gzip')
    expect(gunzipSync(await zipped.arrayBuffer()).equals(bytes)).toBe(true)
  }
  await service.close()
})

it('a document is counted by address, as everything without a key is', async () => {
  const { service, get } = await open('5')
  for (const [at, path] of DOCUMENTS.entries()) {
    const headers = { 'x-test-address': `192.0.2.${at}` }
    for (let time = 0; time < 5; time++) expect((await get(path, headers)).status).toBe(200)
    const refused = await get(path, headers)
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('Retry-After'))).toBeGreaterThan(0)
  }
  await service.close()
})

it('a document is held once, however many clients are sent it and do not read it', async () => {
  const { service, app } = await open('1000')
  const { port, finish } = await listen(
    app,
    { HOST: '127.0.0.1', PORT: 0, KEEP_ALIVE_SECONDS: 65 },
    { log: service.world.log },
  )
  const send = async () => {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    socket.write('GET /docs HTTP/1.1\r\nHost: a\r\n\r\n')
    await once(socket, 'readable')
    return socket
  }
  const first = await send()
  const before = process.memoryUsage().arrayBuffers
  const sockets = await Promise.all(Array.from({ length: 60 }, send))
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(6_000_000)
  for (const socket of [first, ...sockets]) socket.destroy()
  await finish()
  await service.close()
})

it('the page and all that it loads are less than 250 KB, and less than 60 KB compressed', async () => {
  const { service, get } = await open('1000')
  let [plain, zipped] = [0, 0]
  for (const path of ['/docs', '/docs/style.css', '/docs/try.js', '/docs/icon.svg']) {
    const response = await get(path)
    expect(response.status, path).toBe(200)
    plain += (await response.arrayBuffer()).byteLength
    zipped += (await (await get(path, { 'Accept-Encoding': 'gzip' })).arrayBuffer()).byteLength
  }
  console.log('SIZES', plain, zipped)
  expect(plain).toBeLessThan(250_000)
  expect(zipped).toBeLessThan(60_000)
  await service.close()
})

it('the page has every operation, code and schema, and links only to what it has', async () => {
  const { service, get } = await open('1000')
  const page = await (await get('/docs')).text()
  expect(await (await get('/docs/')).text()).toBe(page)
  const ids = new Set([...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id))
  for (const { operationId } of endpoints) expect(ids).toContain(operationId)
  for (const { code } of Object.values(REFUSALS)) expect(ids).toContain(code)
  const links = [...page.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id)
  expect(links.length).toBeGreaterThan(200)
  expect(links.filter((id) => !ids.has(id))).toEqual([])
  await service.close()
})
