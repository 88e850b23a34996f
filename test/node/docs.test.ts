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
    await page.until(`document.querySelector('#wallet')?.textContent.includes('Signs as ST')`)
  })
  afterAll(async () => {
    await page?.close()
  })

  it('shows every operation of /openapi.json, and no other', async () => {
    const shown = await page.evaluate<typeof operations>(`
      [...document.querySelectorAll('details.operation')].map((block) => ({
        method: block.querySelector('.method').textContent.toLowerCase(),
        path: block.querySelector('summary code').textContent,
        summary: block.querySelector('.summary').textContent,
      }))`)
    const byPlace = (a: { method: string; path: string }, b: { method: string; path: string }) =>
      `${a.path} ${a.method}`.localeCompare(`${b.path} ${b.method}`)
    expect(operations.length).toBeGreaterThan(10)
    expect(shown.sort(byPlace)).toEqual(operations.sort(byPlace))
  })

  /** Opens an operation, sends what it is filled with, and returns what is shown: status, request id and body. */
  const send = (operationId: string) =>
    page.evaluate<string>(`(async () => {
      const block = document.querySelector('#${operationId}')
      const output = block.querySelector('output')
      block.open = false
      await new Promise((resolve) => setTimeout(resolve, 20))
      block.open = true
      await new Promise((resolve) => setTimeout(resolve, 20))
      output.textContent = ''
      block.querySelector('form').requestSubmit()
      for (;;) {
        if (output.textContent !== '') return output.textContent
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    })()`)

  it('sends examples that work, from the first key to the last revocation', async () => {
    for (const [operationId, status] of [
      ['getInfo', 200],
      ['getTime', 200],
      ['getToken', 200],
      ['useFaucet', 200],
      ['createApiKey', 201],
      ['getMe', 200],
      ['listApiKeys', 200],
      ['getApiKey', 200],
      ['getApiKeyUsage', 200],
      ['updateApiKey', 200],
      ['createSession', 201],
      ['watchWallet', 200],
      ['listAudit', 200],
      ['createOrder', 201],
      ['getOrder', 200],
      ['executeOrder', 200],
      ['watchOrder', 200],
      ['listOrders', 200],
      ['suspendApiKey', 200],
      ['resumeApiKey', 200],
      ['rotateApiKey', 200],
      ['endSession', 200],
      ['deleteApiKey', 200],
      ['revokeAllApiKeys', 200],
    ] as const) {
      const shown = await send(operationId)
      expect(shown, `${operationId}: ${shown}`).toMatch(new RegExp(`^${status} req_`))
    }
    // The key that it was made for has ended; another one signs by itself.
    expect(await send('createApiKey')).toMatch(/^201/)
    expect(await send('useRevocationCertificate')).toMatch(/^200/)
  })

  it.each(['light', 'dark'] as const)('fits a phone, in %s', async (scheme) => {
    await page.show({ width: 360, height: 740 }, scheme)
    await page.evaluate(`for (const one of document.querySelectorAll('details')) one.open = true`)
    const [width, background] = await page.evaluate<[number, string]>(
      `[document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]`,
    )
    expect(width).toBeLessThanOrEqual(360)
    expect(background).toBe(scheme === 'dark' ? 'rgb(20, 23, 27)' : 'rgb(255, 255, 255)')
    await picture(`phone-${scheme}`)
    await page.show({ width: 1_200, height: 900 }, scheme)
    await picture(`desk-${scheme}`)
  })

  /** With SCREENSHOTS=folder, what is seen is kept there. */
  async function picture(name: string): Promise<void> {
    const folder = process.env.SCREENSHOTS
    if (folder !== undefined) await writeFile(`${folder}/${name}.png`, await page.screenshot())
  }

  it('requests only from the service, and the browser has no complaint', async () => {
    const hosts = new Set(
      page.requests.filter((one) => !one.startsWith('data:')).map((one) => new URL(one).origin),
    )
    expect([...hosts]).toEqual([url])
    expect(page.requests.length).toBeGreaterThan(4)
    // A stream that the page has read enough of is left, which the browser reports.
    expect(page.complaints.filter((one) => !one.startsWith('net::ERR_ABORTED'))).toEqual([])
  })
})
