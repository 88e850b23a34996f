import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createClient, privateKeySigner } from '../../src/client/index.ts'
import { type Visitor, visit } from '../dashboard/visitor.ts'
import { CHROMIUM, openPage, type Page } from '../node/chromium.ts'
import { type Service, startService } from '../support/server.ts'
import { bundle, htmlOf, type ReactVersion, renderOnServer, serveFiles } from './serve.ts'

const VERSIONS: readonly ReactVersion[] = ['18', '19']

describe.skipIf(CHROMIUM === undefined)('The hooks', { timeout: 120_000 }, () => {
  let service: Service
  beforeAll(async () => {
    service = await startService()
  }, 180_000)
  afterAll(() => service?.stop())

  describe.each(VERSIONS)('in React %s', (version) => {
    let script: string
    let markup: string
    let site: Awaited<ReturnType<typeof serveFiles>>
    let page: Page
    let visitor: Visitor
    let streams = 0
    let signer: ReturnType<typeof privateKeySigner>
    beforeAll(async () => {
      script = await bundle(`import './browser.tsx'`, version)
      markup = await renderOnServer('server.tsx', version)
    }, 120_000)
    beforeEach(async () => {
      const privateKey = `${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')}01`
      signer = privateKeySigner(privateKey, 'devnet')
      const setup = { baseUrl: service.url, privateKey }
      site = await serveFiles({ '/': htmlOf(markup, setup), '/app.js': script })
      page = await openPage(CHROMIUM ?? '')
      streams = 0
      page.on('Network.requestWillBeSent', ({ request: { method, url } }) => {
        if (method === 'GET' && url === `${service.url}/api/v1/events`) streams += 1
      })
      visitor = await visit(page, site.url)
    }, 60_000)
    afterEach(async () => {
      await page?.close()
      await site?.stop()
    })

    it('render a page without a wallet on a server, and hydrate it, also where the tab has kept a session', async () => {
      expect(markup.replaceAll('<!-- -->', '')).toContain('The wallet is disconnected')
      await visitor.press('Connect')
      await visitor.sees('The wallet is connected')
      await page.open(`${site.url}/?again`)
      await visitor.sees('The wallet is connected')
      await visitor.sees(signer.address)
      await visitor.sees('One list has 0')
      expect(page.complaints.filter((one) => !one.includes('ERR_ABORTED'))).toEqual([])
    })

    it('show one list wherever it is shown, a new key once for two clicks, and its end, by one stream', async () => {
      await visitor.sees('One list is empty')
      await visitor.press('Connect')
      await visitor.sees('One list has 0')
      await visitor.press('Create twice at once')
      await visitor.sees('Created bot and none')
      await visitor.sees('The secret has 57 characters')
      await visitor.sees('One list: bot is active')
      await visitor.sees('Another list: bot is active')
      await visitor.press('Forget')
      await visitor.missesText('The secret has')
      const other = createClient({ baseUrl: service.url, signer })
      await other.keys.create({ name: 'from elsewhere', permissions: [] })
      await visitor.sees('Another list: from elsewhere is active')
      await visitor.press('Revoke bot')
      await visitor.sees('One list: bot is revoked')
      expect(streams).toBe(1)
      await visitor.press('Leave')
      await visitor.sees('One list is empty')
      await visitor.sees('There is no address')
    })

    it('follow an order to its end', async () => {
      const owner = createClient({ baseUrl: service.url, signer })
      await owner.devnet.faucet(signer.address)
      const { devnet: { inputToken = '', outputToken = '' } = {} } = await owner.info()
      const order = await owner.orders.create({ inputToken, outputToken, amountIn: '1000000' })
      await visitor.sees('The order is not loaded')
      await visitor.fill('Order', order.uuid ?? '')
      await visitor.sees('The order is open')
      await owner.orders.execute(order.uuid ?? '')
      await visitor.sees('The order is confirmed')
      await visitor.fill('Order', 'no-such-order')
      await visitor.sees('Loading failed: ORDER_NOT_FOUND')
    })

    it('say why a wallet did not sign and why a change was refused, and reject nothing', async () => {
      await visitor.press('Decline')
      await visitor.sees('Connecting failed: SIGNING_FAILED')
      await visitor.sees('The wallet is disconnected')
      await visitor.press('Create twice at once')
      await visitor.sees('Creating failed: SIGNER_MISSING')
      await visitor.press('Connect')
      await visitor.sees('The wallet is connected')
      await visitor.missesText('Connecting failed')
      await visitor.press('Create twice at once')
      await visitor.sees('The secret has')
      await visitor.press('Create twice at once')
      await visitor.sees('Creating failed: DUPLICATE_KEY_NAME')
      // The browser itself complains of a response with the status 409.
      const others = page.complaints.filter((one) => !/status of 409|ERR_ABORTED/.test(one))
      expect(others).toEqual([])
    })

    it('leave no stream behind when nothing is shown, and open one again', async () => {
      await visitor.press('Connect')
      await visitor.sees('One list has 0')
      const aborted = () => page.complaints.filter((one) => one.includes('ERR_ABORTED')).length
      const before = aborted()
      await visitor.press('Hide or show')
      await visitor.sees('Nothing is shown')
      await expect.poll(aborted).toBeGreaterThan(before)
      const requests = page.requests.length
      const other = createClient({ baseUrl: service.url, signer })
      await other.keys.create({ name: 'unseen', permissions: [] })
      expect(page.requests.length).toBe(requests)
      await visitor.press('Hide or show')
      await visitor.sees('One list: unseen is active')
    })
  })
})
