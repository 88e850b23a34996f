import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page } from '../node/chromium.ts'
import { connectThrowaway, visit } from './visitor.ts'

/** A phone of the middle class: a fourth of this machine's speed, and 4G as Lighthouse emulates it. */
const CPU_SLOWDOWN = 4
const SLOW_4G = {
  offline: false,
  latency: 150,
  downloadThroughput: 204_800,
  uploadThroughput: 96_000,
}

/** What a visitor waits for and pays. Times are milliseconds since the navigation, bytes are those on the wire. */
export interface Figures {
  requests: number
  bytes: number
  firstPaint: number
  largestPaint: number
  /** When the page does what is pressed: all of it is there, and the main thread is free. */
  interactive: number
  /** What exceeds 50 ms of each task. */
  blocked: number
  layoutShift: number
  axe: string[]
}

const OBSERVERS = `
globalThis.seen = { shift: 0, blocked: 0, lastTask: 0, largest: 0 }
const observe = (type, each) =>
  new PerformanceObserver((list) => list.getEntries().forEach(each)).observe({ type, buffered: true })
observe('layout-shift', (one) => { if (!one.hadRecentInput) seen.shift += one.value })
observe('longtask', (one) => {
  seen.blocked += one.duration - 50
  seen.lastTask = one.startTime + one.duration
})
observe('largest-contentful-paint', (one) => { seen.largest = one.startTime })`

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Visits the page without a cache on a slow device, then connects a throw-away wallet. */
export async function measure(
  page: Page,
  url: string,
): Promise<{ first: Figures; connected: Figures }> {
  let requests = 0
  let bytes = 0
  page.on('Network.requestWillBeSent', ({ request }) => {
    if (request.url.startsWith('http')) requests += 1
  })
  page.on('Network.loadingFinished', ({ encodedDataLength }) => {
    bytes += encodedDataLength
  })
  await page.ask('Page.addScriptToEvaluateOnNewDocument', { source: OBSERVERS })
  await page.ask('Network.setCacheDisabled', { cacheDisabled: true })
  await page.ask('Network.emulateNetworkConditions', SLOW_4G)
  await page.ask('Emulation.setCPUThrottlingRate', { rate: CPU_SLOWDOWN })
  const visitor = await visit(page, url)

  /** Since the view that shows a text was asked for. */
  async function figures(text: string, since: number): Promise<Figures> {
    await visitor.sees(text)
    const there = await page.evaluate<number>(
      'new Promise((done) => requestAnimationFrame(() => requestIdleCallback(() => done(performance.now()))))',
    )
    const seen =
      await page.evaluate<Record<'shift' | 'blocked' | 'lastTask' | 'largest', number>>('seen')
    const firstPaint = await page.evaluate<number>(
      `performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0`,
    )
    await page.evaluate(`${AXE};0`)
    const axe = await page.evaluate<string[]>(
      `axe.run(document).then(({ violations }) => violations.map(({ id }) => id))`,
    )
    return {
      ...{ requests, bytes, firstPaint, largestPaint: seen.largest, axe },
      interactive: Math.max(there, seen.lastTask) - since,
      blocked: seen.blocked,
      layoutShift: seen.shift,
    }
  }

  const first = await figures('Use a throw-away wallet', 0)
  await page.evaluate('void Object.assign(seen, { shift: 0, blocked: 0 })')
  const since = await page.evaluate<number>('performance.now()')
  await connectThrowaway(visitor)
  const connected = await figures('Create your first key', since)
  return { first, connected }
}
