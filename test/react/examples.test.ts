import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClient, privateKeySigner } from '../../src/client/index.ts'
import { readComponents } from '../client/examples.ts'
import { visit } from '../dashboard/visitor.ts'
import { CHROMIUM, openPage, type Page } from '../node/chromium.ts'
import { type Service, startService } from '../support/server.ts'
import { bundle, htmlOf, serveFiles } from './serve.ts'

/** The example as a page of its own, beneath a store whose wallet is connected. */
const MOUNTED = `
import { createRoot as mount } from 'react-dom/client'
import { privateKeySigner as signerOf } from 'latchkey/client'
import { LatchkeyProvider as Provider } from 'latchkey/react'
import { createWalletStore as open } from 'latchkey/store'
import * as example from './example.tsx'

const page = open({ baseUrl: setup.baseUrl })
await page.connect(signerOf(setup.privateKey, 'devnet'))
const [Example] = Object.values(example)
mount(document.getElementById('app')).render(<Provider store={page}><Example /></Provider>)
`

/** @stacks/connect, as far as a message goes: its wallet has one account and says yes. */
const CONNECT = `
import { addressOf, publicKeyOf, signMessage } from '../../src/stacks/sign.ts'
export async function request(method, params) {
  const { privateKey } = setup
  if (method === 'stx_getAddresses') return { addresses: [{ address: addressOf(privateKey, 'devnet'), publicKey: publicKeyOf(privateKey) }] }
  return { signature: signMessage({ message: params.message, privateKey }), publicKey: '' }
}`

describe.skipIf(CHROMIUM === undefined)(
  'Every example of a hook',
  { timeout: 120_000 },
  async () => {
    const examples = await readComponents()
    let service: Service
    let page: Page
    beforeAll(async () => {
      service = await startService()
      page = await openPage(CHROMIUM ?? '')
    }, 180_000)
    afterAll(async () => {
      await page?.close()
      await service?.stop()
    })

    it('is found', () => {
      expect(examples.length).toBeGreaterThan(6)
    })

    it.each(examples)('works in a page: $name, $code', async ({ code }) => {
      const privateKey = `${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')}01`
      const owner = createClient({
        baseUrl: service.url,
        signer: privateKeySigner(privateKey, 'devnet'),
      })
      await owner.devnet.faucet(privateKeySigner(privateKey, 'devnet').address)
      const { keyId } = await owner.keys.create({ name: 'Of the example', permissions: [] })
      const { devnet: { inputToken = '', outputToken = '' } = {} } = await owner.info()
      const { uuid = '' } = await owner.orders.create({
        ...{ inputToken, outputToken, amountIn: '1000000' },
      })
      const example = code
        .replaceAll('https://dex.example', service.url)
        .replaceAll('7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162', uuid)
        .replaceAll('key_123abc', keyId)
      const script = await bundle(MOUNTED, '19', {
        plugins: [
          {
            name: 'example',
            setup({ onResolve, onLoad, initialOptions: { stdin } }) {
              const files: Record<string, string> = {
                './example.tsx': example,
                '@stacks/connect': CONNECT,
              }
              onResolve({ filter: /^(\.\/example\.tsx|@stacks\/connect)$/ }, ({ path }) => ({
                path,
                namespace: 'example',
              }))
              onLoad({ filter: /./, namespace: 'example' }, ({ path }) => ({
                contents: files[path] ?? '',
                loader: 'tsx',
                resolveDir: stdin?.resolveDir ?? '',
              }))
            },
          },
        ],
      })
      const files = { '/': htmlOf('', { baseUrl: service.url, privateKey }), '/app.js': script }
      const site = await serveFiles(files)
      try {
        const visitor = await visit(page, site.url)
        await page.until(`document.getElementById('app').innerText !== ''`)
        // What it offers is done, once.
        const buttons = await page.evaluate<string[]>(
          `[...document.querySelectorAll('button')].map((one) => one.innerText)`,
        )
        for (const button of buttons) await visitor.press(button)
        await page.until(`document.querySelector('[disabled]') === null`)
        expect(await visitor.text()).not.toMatch(/undefined|NaN|object Object/)
        expect(
          await page.evaluate(`document.querySelector('[role=alert]')?.innerText`),
        ).toBeUndefined()
      } finally {
        await site.stop()
      }
    })
  },
)
