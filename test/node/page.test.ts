import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import { pageOfFolder } from '../../src/node/page.ts'
import { emptyFolder } from './entry.ts'

const SCRIPT = 'console.log("a script that is long enough to be worth compressing")\n'.repeat(40)

function page() {
  const folder = emptyFolder()
  mkdirSync(join(folder, 'assets'))
  writeFileSync(join(folder, 'index.html'), '<!doctype html><title>Page</title>')
  writeFileSync(join(folder, 'assets/app-1a2b.js'), SCRIPT)
  writeFileSync(join(folder, 'assets/secret.txt'), 'no part of the page')
  const app = new Hono().route('/', pageOfFolder(folder))
  const get = async (path: string, headers: Record<string, string> = {}) =>
    app.request(path, { headers })
  return { folder, get }
}

describe('The page of a folder', () => {
  it('is compressed as the client accepts it', async () => {
    const { get } = page()
    const decode = { br: brotliDecompressSync, gzip: gunzipSync }
    for (const [accepted, encoding] of [
      ['gzip, deflate, br', 'br'],
      ['gzip;q=0.8', 'gzip'],
      ['br;q=0, gzip', 'gzip'],
    ] as const) {
      const response = await get('/assets/app-1a2b.js', { 'Accept-Encoding': accepted })
      expect(response.headers.get('Content-Encoding')).toBe(encoding)
      expect(response.headers.get('Vary')).toBe('Accept-Encoding')
      const bytes = Buffer.from(await response.arrayBuffer())
      expect(bytes.length).toBeLessThan(SCRIPT.length / 4)
      expect(decode[encoding](bytes).toString()).toBe(SCRIPT)
    }
    const plain = await get('/assets/app-1a2b.js')
    expect(plain.headers.has('Content-Encoding')).toBe(false)
    expect(await plain.text()).toBe(SCRIPT)
  })

  it('is cached for a year where its name has a hash, and revalidated at /', async () => {
    const { get } = page()
    const asset = await get('/assets/app-1a2b.js')
    expect(asset.headers.get('Cache-Control')).toBe('public, max-age=31536000, immutable')
    const first = await get('/')
    expect(first.headers.get('Cache-Control')).toBe('no-cache')
    const etag = first.headers.get('ETag') ?? ''
    const again = await get('/', { 'If-None-Match': etag })
    expect([again.status, await again.text()]).toEqual([304, ''])
    const compressed = await get('/', { 'If-None-Match': etag, 'Accept-Encoding': 'br' })
    expect(compressed.status).toBe(200)
  })

  it('says beside itself what is bundled into it, and on what licence', async () => {
    const { folder, get } = page()
    expect((await get('/licenses.md')).status).toBe(404)
    writeFileSync(join(folder, 'licenses.md'), '# Licenses')
    const response = await get('/licenses.md')
    expect(response.headers.get('Content-Type')).toBe('text/markdown; charset=utf-8')
    expect(await response.text()).toBe('# Licenses')
  })

  it('has a policy that lets in no script but its own, and no text become one', async () => {
    const { get } = page()
    for (const path of ['/', '/assets/app-1a2b.js']) {
      const { headers } = await get(path)
      const policy = headers.get('Content-Security-Policy') ?? ''
      for (const rule of [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
      ])
        expect(policy.split('; ')).toContain(rule)
      expect(policy).not.toContain('unsafe')
      expect(headers.get('X-Content-Type-Options')).toBe('nosniff')
    }
  })

  it.each([
    '/assets/gone.js',
    '/assets/secret.txt',
    '/assets/..%2Findex.html',
    '/assets/../index.html/x',
    '/assets/',
    '/index.html',
    '/assets/%00.js',
  ])('is nothing else: %s', async (path) => {
    expect((await page().get(path)).status).toBe(404)
  })

  it('says how it is built where it is not', async () => {
    const app = new Hono().route('/', pageOfFolder(emptyFolder()))
    const response = await app.request('/')
    expect(response.status).toBe(200)
    expect(await response.text()).toContain('npm run build:page')
  })
})
