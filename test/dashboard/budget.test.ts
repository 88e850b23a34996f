import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { CHROMIUM, openPage } from '../node/chromium.ts'
import { ROOT } from '../node/entry.ts'
import { startService } from '../support/server.ts'
import { measure } from './measure.ts'
import { DESKTOP, PHONE } from './visitor.ts'

const SITE = join(ROOT, 'build/site')
const assets = readdirSync(join(SITE, 'assets'))
const textOf = (file: string) => readFileSync(join(SITE, file), 'utf8')
const bytesOf = (files: Iterable<string>) =>
  [...files].reduce(
    (sum, file) => sum + gzipSync(readFileSync(join(SITE, file)), { level: 9 }).length,
    0,
  )

/** The files that a file loads at once: by markup, or by a static import. */
function loadedBy(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen
  seen.add(file)
  const named = file.endsWith('.html')
    ? [...textOf(file).matchAll(/(?:src|href)="\/(assets\/[^"]+)"/g)].map(([, path = '']) => path)
    : file.endsWith('.js')
      ? [...textOf(file).matchAll(/\b(?:from|import)\s*["`]\.\/([^"`]+)["`]/g)].map(
          ([, name]) => `assets/${name}`,
        )
      : []
  for (const path of named) loadedBy(path, seen)
  return seen
}

const only = (pattern: RegExp) => {
  const found = assets.filter((file) => pattern.test(file)).map((file) => `assets/${file}`)
  expect(found, String(pattern)).toHaveLength(1)
  return found[0] ?? ''
}

describe('The page is', () => {
  const first = () => loadedBy('index.html')

  it.each(['en', 'de'])('45 KB or less before a wallet is connected, in %s', (language) => {
    const texts = language === 'en' ? [] : [only(/^de-[\w-]{8}\.js$/)]
    expect(first().size).toBeGreaterThan(3)
    expect(bytesOf([...first(), ...texts])).toBeLessThanOrEqual(45_000)
  })

  it.each(['en', 'de'])('120 KB or less once one is, its proof included, in %s', (language) => {
    const texts = [
      only(new RegExp(`^${language}-connected-.*\\.js$`)),
      ...(language === 'en' ? [] : [only(/^de-[\w-]{8}\.js$/)]),
    ]
    const connected = loadedBy(only(/^connected-.*\.js$/), first())
    const all = [
      ...connected,
      ...texts,
      only(/^connected-.*\.css$/),
      only(/^verify-worker-.*\.js$/),
    ]
    expect(bytesOf(new Set(all))).toBeLessThanOrEqual(120_000)
  })

  it('painted after two requests in a row: what the markup names imports nothing else that it does not name', () => {
    const named = loadedBy('index.html')
    const markup = textOf('index.html')
    expect([...named].filter((file) => file !== 'index.html' && !markup.includes(file))).toEqual([])
  })

  it.skipIf(CHROMIUM === undefined).each([
    ['a desktop', DESKTOP],
    ['a phone', PHONE],
  ])(
    'still while it loads, on %s: nothing moves, on a slow device and network',
    { timeout: 240_000 },
    async (_, size) => {
      const service = await startService()
      const page = await openPage(CHROMIUM ?? '')
      try {
        await page.show(size)
        const { first, connected } = await measure(page, service.url)
        expect(first.layoutShift).toBeLessThan(0.01)
        expect(connected.layoutShift).toBeLessThan(0.01)
        expect(first.requests).toBeLessThanOrEqual(7)
        expect(first.bytes).toBeLessThanOrEqual(45_000)
        expect([...first.axe, ...connected.axe]).toEqual([])
      } finally {
        await page.close()
        await service.stop()
      }
    },
  )

  it('free of inline scripts and styles, which its policy would refuse', () => {
    expect(textOf('index.html')).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=/)
  })
})
