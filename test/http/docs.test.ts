import { once } from 'node:events'
import { connect } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { createApp } from '../../src/app.ts'
import { docsFiles, gzip } from '../../src/node/docs.ts'
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
    docs: docsFiles(),
  })
  const response = await app.request(`/docs/${name}`)
  expect(response.status).toBe(404)
  expect(response.headers.get('X-Request-Id')).toMatch(/^req_/)
  await service.close()
})

const DOCUMENTS = ['/docs', '/docs/start.js', '/docs/swagger-ui-bundle.js', '/openapi.json']

async function open(limit: string) {
  const service = await startService('PGlite', { env: { IP_RATE_LIMIT_PER_MINUTE: limit } })
  const app = createApp({
    worldOf: () => service.world,
    addressOf: (c) => c.req.header('x-test-address') ?? '127.0.0.1',
    allowedOrigins: ['*'],
    docs: docsFiles(),
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
    socket.write('GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n')
    await once(socket, 'readable')
    return socket
  }
  const first = await send()
  const before = process.memoryUsage().arrayBuffers
  const sockets = await Promise.all(Array.from({ length: 60 }, send))
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(30_000_000)
  for (const socket of [first, ...sockets]) socket.destroy()
  await finish()
  await service.close()
})
