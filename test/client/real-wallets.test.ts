import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { addressOf } from '../../src/stacks/sign.ts'
import { CHROMIUM, openPage, type Page } from '../node/chromium.ts'
import {
  type BrowserWallet,
  browserWallet,
  bundleForPage,
  installBrowserWallet,
  PROVIDER_OF,
  type WalletKind,
} from '../support/browser-wallets.ts'
import { type Service, startService } from '../support/server.ts'

/** A dApp on an origin of its own: the SDK, and @stacks/connect for those calls that go through it. */
const DAPP = `
import { request } from '@stacks/connect'
import { createClient, walletSigner } from '../../src/client/index.ts'

const at = (path: string) => path.split('.').reduce((one: any, name) => one?.[name], globalThis)
let aheadMs = 0
const clock = {
  now: () => Date.now() + aheadMs,
  wait: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)),
}

Object.assign(globalThis, {
  later: (ms: number) => void (aheadMs += ms),
  open(baseUrl: string, path: string, via: string) {
    const provider = at(path)
    const wallet = via === 'its provider' ? provider : (method: any, params: any) => request({ provider }, method, params)
    globalThis.changes = 0
    globalThis.signer = walletSigner(wallet, { onAccountsChanged: () => void globalThis.changes++ })
    globalThis.client = createClient({ baseUrl, signer: globalThis.signer, clock })
  },
  /** Resolves with what a call came to, as JSON carries it. */
  outcome: (call: (client: any) => Promise<unknown>) =>
    call(globalThis.client).then(
      (value) => ({ value }),
      ({ code, message, details, name }) => ({ code, message, details, name }),
    ),
})
globalThis.isReady = true`

interface Outcome {
  // biome-ignore lint/suspicious/noExplicitAny: what the call resolved with
  value?: any
  code?: string
  message?: string
  details?: Record<string, unknown>
}

const newPrivateKey = () => `${randomBytes(31).toString('hex').padStart(64, '0')}01`

const CREATE = `({ keys }) => keys.create({ name: 'Café ' + Math.random(), permissions: ['execute'], rateLimit: 60 })`
const LIST = '({ keys }) => keys.list()'
const ORDER = `async ({ info, orders }) => {
  const { devnet } = await info()
  return orders.create({ inputToken: devnet.inputToken, outputToken: devnet.outputToken, amountIn: '1000', minAmountOut: '1' })
}`

describe.skipIf(CHROMIUM === undefined)(
  'In a browser, on another origin than the service,',
  { timeout: 120_000 },
  () => {
    let service: Service
    let page: Page | undefined
    let dappUrl: string
    let closeDapp: () => void
    beforeAll(async () => {
      const script = await bundleForPage(DAPP, import.meta.dirname)
      const server = createServer(({ url }, response) => {
        const isScript = url === '/dapp.js'
        response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html')
        response.end(
          isScript ? script : '<!doctype html><script type="module" src="/dapp.js"></script>',
        )
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      dappUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      closeDapp = () => server.close()
      service = await startService()
    }, 180_000)
    afterAll(async () => {
      closeDapp?.()
      await service?.stop()
    })
    afterEach(async () => {
      await page?.close()
      page = undefined
    })

    async function visitWith(kind: WalletKind, via = 'its provider') {
      const opened = await openPage(CHROMIUM ?? '')
      page = opened
      const wallet = browserWallet(kind, newPrivateKey())
      const { release } = await installBrowserWallet(opened, wallet)
      await opened.open(dappUrl)
      await opened.until('globalThis.isReady')
      if (kind === 'WalletConnect') await opened.until('globalThis.walletIsThere')
      const texts = [service.url, PROVIDER_OF[kind], via].map((text) => JSON.stringify(text))
      await opened.evaluate(`open(${texts.join(', ')})`)
      const run = (call: string) => opened.evaluate<Outcome>(`outcome(${call})`)
      return { page: opened, wallet, run, release }
    }

    const signed = ({ dialogs }: BrowserWallet) =>
      dialogs.filter(({ method }) => method.startsWith('stx_sign')).map(({ method }) => method)

    const WHOLE: readonly (readonly [WalletKind, string])[] = [
      ['Leather', 'its provider'],
      ['Leather', '@stacks/connect'],
      ['Leather on a phone', 'its provider'],
      ['Leather on a phone', '@stacks/connect'],
      ['Xverse', 'its provider'],
      ['Xverse', '@stacks/connect'],
      ['Xverse of 2024', 'its provider'],
      ['Xverse of 2024', '@stacks/connect'],
      ['Leather with a Ledger', 'its provider'],
      ['Leather with a Ledger', '@stacks/connect'],
      ['WalletConnect', 'its provider'],
    ]

    it.each(
      WHOLE,
    )('%s, through %s, signs for keys and an order with one dialog each; a refusal and another account are told as such', async (kind, via) => {
      const { page, wallet, run } = await visitWith(kind, via)
      wallet.declines = true
      expect(await run(LIST)).toMatchObject({ code: 'SIGNING_CANCELLED' })
      expect(signed(wallet)).toEqual([])

      const created = await run(CREATE)
      expect(created).toMatchObject({ value: { permissions: ['execute'], rateLimit: 60 } })
      const { keyId } = created.value
      const walletAddress = addressOf(wallet.privateKey, 'devnet')
      expect(await run(LIST)).toMatchObject({ value: [{ keyId, status: 'active', walletAddress }] })
      expect(await run(ORDER)).toMatchObject({ value: { status: 'open' } })
      const deleted = await run(`({ keys }) => keys.delete('${keyId}')`)
      expect(deleted).toMatchObject({ value: { message: expect.stringContaining('revoked') } })
      const [message, data] = ['stx_signMessage', 'stx_signStructuredMessage']
      expect(signed(wallet)).toEqual([message, message, data, message])
      // Two dialogs to connect, the first of which was declined.
      expect(wallet.dialogs).toHaveLength(6)

      for (const call of [CREATE, LIST, ORDER]) {
        wallet.declines = true
        expect(await run(call)).toMatchObject({ code: 'SIGNING_CANCELLED' })
      }
      expect(signed(wallet)).toHaveLength(7)
      expect(await run(LIST)).toMatchObject({ value: [{ status: 'revoked' }] })

      wallet.privateKey = newPrivateKey()
      const details = {
        address: walletAddress,
        signedBy: addressOf(wallet.privateKey, 'devnet'),
      }
      for (const call of [CREATE, ORDER])
        expect(await run(call)).toMatchObject({ code: 'WRONG_ACCOUNT', details })
      // The session of WalletConnect keeps its account.
      if (kind === 'WalletConnect') return
      await page.evaluate('signer.reset()')
      expect(await run(CREATE)).toMatchObject({ value: { permissions: ['execute'] } })
    })

    it.each([
      'its provider',
      '@stacks/connect',
    ])('Xverse with a Ledger, through %s, signs messages, and says why it can sign no order', async (via) => {
      const { run } = await visitWith('Xverse with a Ledger', via)
      expect(await run(CREATE)).toMatchObject({ value: { permissions: ['execute'] } })
      expect(await run(ORDER)).toMatchObject({
        code: 'WALLET_UNSUPPORTED',
        message: expect.stringContaining('Connect the Ledger with Leather'),
      })
    })

    it('an order through WalletConnect and request of @stacks/connect, which loses the answer, fails as a broken wallet', async () => {
      const { run } = await visitWith('WalletConnect', '@stacks/connect')
      expect(await run(CREATE)).toMatchObject({ value: { permissions: ['execute'] } })
      expect((await run(ORDER)).code).toMatch(/WALLET_FAULT|SIGNING_FAILED/)
    })

    it.each([
      'its provider',
      '@stacks/connect',
    ])('a wallet of several keys, through %s, is refused by its address, before anything is signed', async (via) => {
      const { wallet, run } = await visitWith('Asigna (several keys)', via)
      for (const call of [CREATE, LIST, ORDER])
        expect(await run(call)).toMatchObject({
          code: 'MULTISIG_ADDRESS',
          details: { address: expect.stringMatching(/^SN/) },
        })
      expect(signed(wallet)).toEqual([])
    })

    it.each([
      'Leather',
      'Xverse',
      'WalletConnect',
    ] as const)('%s on another network: is switched by the request, or its user is told', async (kind) => {
      const { wallet, run } = await visitWith(kind)
      wallet.network = 'mainnet'
      const outcome = await run(LIST)
      // Leather takes the network from the request.
      expect(outcome).toMatchObject(kind === 'Leather' ? { value: [] } : { code: 'WRONG_NETWORK' })
    })

    it.each([
      'Xverse',
      'Xverse of 2024',
    ] as const)('%s says that its account was switched: the signer asks for it', async (kind) => {
      const { page, wallet, run } = await visitWith(kind)
      await run(LIST)
      wallet.privateKey = newPrivateKey()
      await page.evaluate(`walletEvent('accountChange')`)
      expect(await page.evaluate('changes')).toBe(1)
      expect(await run(CREATE)).toMatchObject({ value: { permissions: ['execute'] } })
      expect(await page.evaluate(`signer.getAddress('devnet')`)).toBe(
        addressOf(wallet.privateKey, 'devnet'),
      )
    })

    it.each([
      'Leather',
      'Xverse',
      'WalletConnect',
    ] as const)('%s, left open: an abort ends the call, and six minutes are told as such', async (kind) => {
      const { page, wallet, run, release } = await visitWith(kind)
      await run(LIST)
      wallet.isHeld = true
      const dialogs = wallet.dialogs.length
      const aborted = await run(
        `({ keys }) => keys.create({ name: 'left', permissions: [] }, { signal: AbortSignal.timeout(300) })`,
      )
      expect(aborted).toMatchObject({ code: 'ABORTED' })
      release()
      await page.evaluate(`void (globalThis.slow = outcome(${CREATE}))`)
      await expect.poll(() => wallet.dialogs.length, { timeout: 20_000 }).toBe(dialogs + 2)
      await page.evaluate('later(360_000)')
      release()
      const slow = await page.evaluate<Outcome>('slow')
      expect(slow).toMatchObject({ code: 'SIGNED_TOO_LATE', details: { maxAgeSeconds: 300 } })
      await page.evaluate('later(-360_000)')
      wallet.isHeld = false
      expect(await run(LIST)).toMatchObject({ value: [] })
    })

    it('three keys that the service would refuse open no dialog', async () => {
      const { wallet, run } = await visitWith('Leather')
      for (const key of [
        `{ name: '', permissions: [] }`,
        `{ name: 'a', permissions: ['withdraw'] }`,
        `{ name: 'a', permissions: [], rateLimit: 1 }`,
      ])
        expect(await run(`({ keys }) => keys.create(${key})`)).toMatchObject({
          code: 'INVALID_ARGUMENT',
        })
      expect(wallet.asked).toEqual([])
    })
  },
)
