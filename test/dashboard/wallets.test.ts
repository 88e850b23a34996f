import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { addressOf } from '../../src/stacks/sign.ts'
import { CHROMIUM, openPage, type Page } from '../node/chromium.ts'
import { browserWallet, installBrowserWallet, type WalletKind } from '../support/browser-wallets.ts'
import { type Served, serve } from './serve.ts'
import { createKey } from './story.ts'
import { DESKTOP, type Visitor, visit } from './visitor.ts'

const newPrivateKey = () => `${randomBytes(31).toString('hex').padStart(64, '0')}01`

describe.skipIf(CHROMIUM === undefined)(
  'The page, with a wallet of the browser,',
  { timeout: 180_000 },
  () => {
    let served: Served
    let page: Page | undefined
    beforeAll(async () => {
      served = await serve('Node and PGlite')
    }, 180_000)
    afterAll(() => served?.stop())
    afterEach(() => page?.close())

    async function visitWith(kind: WalletKind) {
      const opened = await openPage(CHROMIUM ?? '')
      page = opened
      await opened.show(DESKTOP)
      const wallet = browserWallet(kind, newPrivateKey())
      const { release } = await installBrowserWallet(opened, wallet)
      // Time that a person spends in the wallet.
      await opened.ask('Page.addScriptToEvaluateOnNewDocument', {
        source:
          '{ const now = Date.now; globalThis.aheadMs = 0; Date.now = () => now() + aheadMs }',
      })
      const visitor = await visit(opened, served.url)
      return { page: opened, wallet, visitor, release, address: () => addressIn(visitor) }
    }

    const addressIn = ({ page }: Visitor) =>
      page.evaluate<string>(`JSON.parse(sessionStorage['latchkey.connection']).address`)

    async function connect({ press, sees }: Visitor) {
      await press('Connect wallet')
      await sees('The exact message')
      await press('Sign')
      await sees('What your bots may do')
    }

    it('Leather: gives it the text that it has shown, and says what happens where its user declines, switches the account or takes too long', async () => {
      const { page, wallet, visitor, release, address } = await visitWith('Leather')
      const { press, sees } = visitor
      await connect(visitor)
      expect(wallet.asked[0]).toEqual({ method: 'getAddresses', params: { network: 'devnet' } })
      expect(await address()).toBe(addressOf(wallet.privateKey, 'devnet'))
      let shown = ''
      await createKey(visitor, 'of an extension', {
        look: async (view) => {
          if (view === 'sign')
            shown = await page.evaluate(
              `[...document.querySelectorAll('dialog .json')].at(-1).textContent`,
            )
        },
      })
      expect(shown).toContain('"keyName":"of an extension"')
      expect(wallet.dialogs.at(-1)?.text).toBe(shown)

      const suspend = async () => {
        await press('Suspend')
        await press('Sign')
      }
      wallet.declines = true
      await suspend()
      await sees('You cancelled')
      await press('Dismiss')

      wallet.isHeld = true
      const { length } = wallet.dialogs
      await suspend()
      await expect.poll(() => wallet.dialogs.length, { timeout: 60_000 }).toBe(length + 1)
      await page.evaluate('void (globalThis.aheadMs = 360_000)')
      release()
      await sees('The signature came too late')
      await page.evaluate('void (globalThis.aheadMs = 0)')
      wallet.isHeld = false
      await press('Dismiss')

      wallet.privateKey = newPrivateKey()
      await suspend()
      await sees('Another account is selected')
      await sees(`but as ${addressOf(wallet.privateKey, 'devnet')}`)
    })

    it('Xverse: forgets the account and its session when the wallet switches it, and connects the other one', async () => {
      const { page, wallet, visitor, address } = await visitWith('Xverse')
      await connect(visitor)
      const before = await address()
      const session = await page.evaluate<string>(
        `JSON.parse(sessionStorage['latchkey.connection']).session`,
      )
      wallet.privateKey = newPrivateKey()
      await page.evaluate(`walletEvent('accountChange')`)
      await visitor.sees('Your wallet switched its account or network')
      expect(await page.evaluate(`'latchkey.connection' in sessionStorage`)).toBe(false)
      await expect
        .poll(async () => {
          const headers = { Authorization: `Bearer ${session}` }
          return (await fetch(`${served.url}/api/v1/api-keys`, { headers })).status
        })
        .toBe(401)
      await connect(visitor)
      expect(await address()).toBe(addressOf(wallet.privateKey, 'devnet'))
      expect(await address()).not.toBe(before)
    })

    it('Xverse with a Ledger: says why an order cannot be signed, and what to do', async () => {
      const { visitor } = await visitWith('Xverse with a Ledger')
      const { press, fill, sees, go } = visitor
      await connect(visitor)
      await go('#/orders/new')
      await fill('Amount', '1')
      await fill('At least', '0.49')
      await press('Review and sign')
      await sees('The intent that the chain will check')
      await press('Sign')
      await sees('This wallet cannot sign that')
      await sees('Connect the Ledger with Leather')
    })

    it.each([
      ['Asigna (several keys)', 'devnet', 'This account has several keys'],
      ['Xverse', 'mainnet', 'The wallet is on another network'],
    ] as const)('%s on %s: %s', async (kind, network, text) => {
      const { wallet, visitor } = await visitWith(kind)
      wallet.network = network
      await visitor.press('Connect wallet')
      await visitor.sees(text)
      expect(wallet.dialogs.filter(({ method }) => method.startsWith('stx_sign'))).toEqual([])
    })
  },
)
