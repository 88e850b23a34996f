import { writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CHROMIUM, openPage, type Page } from './chromium.ts'
import { startEntry } from './entry.ts'

const METHODS = ['get', 'put', 'post', 'delete', 'patch']

if (CHROMIUM === undefined)
  console.warn(`
  ######################################################################
  #  No Chromium on this machine: nobody looks at /docs in this run.   #
  #  apt-get install chromium                                          #
  ######################################################################
`)

it.runIf(process.env.CI === 'true')('CI has a Chromium to look at /docs with', () => {
  expect(CHROMIUM).toBeDefined()
})

describe.skipIf(CHROMIUM === undefined)('/docs in a browser', { timeout: 240_000 }, () => {
  let url: string
  let page: Page
  let operations: { method: string; path: string; summary: string }[]
  beforeAll(async () => {
    const entry = startEntry({ DATABASE_URL: 'pglite::memory:' })
    url = await entry.url()
    const document = await (await fetch(`${url}/openapi.json`)).json()
    operations = Object.entries<Record<string, { summary: string }>>(document.paths).flatMap(
      ([path, methods]) =>
        METHODS.flatMap((method) => {
          const operation = methods[method]
          return operation === undefined ? [] : [{ method, path, summary: operation.summary }]
        }),
    )
    page = await openPage(CHROMIUM ?? '')
    await page.open(`${url}/docs`)
    await page.until(`document.querySelectorAll('.opblock').length >= ${operations.length}`)
  })
  afterAll(async () => {
    const picture = process.env.SCREENSHOT
    if (picture !== undefined) await writeFile(picture, await page.screenshot())
    await page?.close()
  })

  it('shows every operation of /openapi.json, and no other', async () => {
    const shown = await page.evaluate<typeof operations>(`
      [...document.querySelectorAll('.opblock')].map((block) => ({
        method: block.querySelector('.opblock-summary-method').textContent.toLowerCase(),
        path: block.querySelector('.opblock-summary-path').dataset.path,
        summary: block.querySelector('.opblock-summary-description').textContent,
      }))`)
    const byPlace = (a: { method: string; path: string }, b: { method: string; path: string }) =>
      `${a.path} ${a.method}`.localeCompare(`${b.path} ${b.method}`)
    expect(operations.length).toBeGreaterThan(10)
    expect(shown.sort(byPlace)).toEqual(operations.sort(byPlace))
  })

  it('opens every operation: parameters, bodies and answers have their schemas', async () => {
    await page.evaluate(
      `for (const opener of document.querySelectorAll('.opblock-summary-control[aria-expanded=false]')) opener.click()`,
    )
    await page.until(
      `document.querySelectorAll('.opblock .responses-wrapper').length === ${operations.length}`,
    )
    const text = await page.evaluate<string>(`document.body.innerText`)
    expect(text).not.toMatch(/could not resolve|failed to load|no api definition|parser error/i)
  })

  it('calls the service from the page', async () => {
    const answer = await page.evaluate<string>(`(async () => {
      const block = document.querySelector('#operations-service-getTime')
      block.querySelector('.execute').click()
      for (;;) {
        const answer = block.querySelector('.live-responses-table .microlight')
        if (answer !== null) return answer.textContent
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    })()`)
    expect(answer).toContain('serverTime')
  })

  it('asks nobody but the service, and the browser has nothing to complain of', async () => {
    const hosts = new Set(
      page.requests.filter((one) => !one.startsWith('data:')).map((one) => new URL(one).origin),
    )
    expect([...hosts]).toEqual([url])
    expect(page.requests.length).toBeGreaterThan(4)
    expect(page.complaints).toEqual([])
  })
})
