import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CHROMIUM, openPage, type Page } from '../node/chromium.ts'
import { type Platform, type Served, serve } from './serve.ts'
import { tellStory } from './story.ts'
import { DESKTOP, PHONE, visit } from './visitor.ts'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
/** The levels of WCAG 2.2 AA, and what axe recommends beyond them. */
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

const PLATFORMS: readonly Platform[] = ['Node and PGlite', 'Node and Postgres', 'workerd']

describe.skipIf(CHROMIUM === undefined).each(PLATFORMS)('The page on %s', (platform) => {
  let served: Served
  let page: Page | undefined
  // One for each visitor: together they would exceed the requests a minute that wrangler.toml allows an address.
  beforeEach(async () => {
    served = await serve(platform)
  }, 240_000)
  afterEach(async () => {
    await page?.close()
    await served?.stop()
  })

  it.each([
    ['a desktop', DESKTOP],
    ['a phone', PHONE],
  ])(
    'lets a newcomer do everything on %s, signed by a wallet, without a finding of axe or a complaint of the browser',
    {
      timeout: 400_000,
    },
    async (_, size) => {
      page = await openPage(CHROMIUM ?? '')
      await page.show(size)
      const findings: string[] = []
      const views: string[] = []
      const streams = followStreams(page)
      const visitor = await visit(page, served.url)
      await tellStory(visitor, served.url, async (view) => {
        views.push(view)
        const scheme = views.length % 2 === 0 ? 'dark' : 'light'
        await page?.show(size, scheme)
        findings.push(...(await lookWithAxe(page as Page, view)))
        expect(await overflow(page as Page), `${view} is wider than its window`).toBe(0)
        await page?.show(size)
      })
      expect(views.length).toBeGreaterThan(15)
      expect(findings).toEqual([])
      // Requests of views that are left are aborted. The session that panic ended is refused once; Workers have no streams.
      const expected = /net::ERR_ABORTED|status of (401|501)/
      expect(page.complaints.filter((one) => !expected.test(one))).toEqual([])
      const hosts = page.requests
        .filter((one) => !/^(data|blob):/.test(one))
        .map((one) => new URL(one).origin)
      expect([...new Set(hosts)]).toEqual([served.url])
      // One stream for the wallet, whatever is shown; Workers have none, and are asked now and then.
      expect(streams.most).toBe(platform === 'workerd' ? 0 : 1)
      expect(page.requests.filter((one) => /orders\/[^/]+\/events/.test(one))).toEqual([])
    },
  )
})

/** A stream that follows another one is sent before the browser has told that the other one ended. */
const HANDOVER_MS = 500

/** How many event streams are open at once, at most, beside one that is just ending. */
function followStreams(page: Page): { most: number } {
  const open = new Set<string>()
  const found = { most: 0 }
  page.on('Network.requestWillBeSent', ({ requestId, request }) => {
    if (!request.url.endsWith('/events')) return
    open.add(requestId)
    setTimeout(() => {
      found.most = Math.max(found.most, open.size)
    }, HANDOVER_MS)
  })
  for (const event of ['Network.loadingFinished', 'Network.loadingFailed'])
    page.on(event, ({ requestId }) => open.delete(requestId))
  return found
}

async function lookWithAxe(page: Page, view: string): Promise<string[]> {
  // Colours that change and dialogs that appear are measured once they have.
  await page.evaluate(`Promise.all(document.getAnimations().filter((one) =>
    one.effect?.getComputedTiming().iterations !== Infinity).map((one) => one.finished.catch(() => {})))`)
  await page.evaluate(`${AXE};0`)
  return page.evaluate<
    string[]
  >(`axe.run(document, { runOnly: ${JSON.stringify(TAGS)} }).then(({ violations }) =>
    violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) =>
      ${JSON.stringify(view)} + ': ' + id + ' ' + html.slice(0, 160) + ' ' + failureSummary.slice(0, 240))))`)
}

function overflow(page: Page): Promise<number> {
  return page.evaluate<number>(
    'Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth)',
  )
}
