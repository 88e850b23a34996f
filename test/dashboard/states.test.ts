import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createClient } from '../../src/client/index.ts'
import { addressOf } from '../../src/stacks/sign.ts'
import { CHROMIUM, openPage, type Page } from '../node/chromium.ts'
import { emptyFolder, ROOT } from '../node/entry.ts'
import { type Served, serve } from './serve.ts'
import { createKey } from './story.ts'
import { connectThrowaway, DESKTOP, PHONE, type Visitor, visit } from './visitor.ts'

const run = promisify(execFile)
const newPrivateKey = () => `${randomBytes(31).toString('hex').padStart(64, '0')}01`

describe.skipIf(CHROMIUM === undefined)(
  'The page says what is wrong, and what to do',
  {
    timeout: 120_000,
  },
  () => {
    const env = { ENCRYPTION_KEY: randomBytes(32).toString('base64') }
    let served: Served
    let page: Page
    beforeAll(async () => {
      served = await serve('Node and Postgres', env)
    }, 120_000)
    afterAll(() => served?.stop())
    beforeEach(async () => {
      page = await openPage(CHROMIUM ?? '')
      await page.show(DESKTOP)
    })
    afterEach(() => page?.close())

    const database = () => postgres(served.databaseUrl ?? '', { max: 1, onnotice: () => {} })
    const addressIn = (visitor: Visitor) =>
      visitor.page.evaluate<string>(`JSON.parse(sessionStorage['latchkey.connection']).address`)

    it('no wallet: where to get one', async () => {
      const { press, sees } = await visit(page, served.url)
      await press('Connect wallet')
      await sees('No wallet in this browser')
      await sees('Install Leather')
    })

    it('a keyboard is enough: Tab finds what is used, Enter uses it, Escape says no', async () => {
      const visitor = await visit(page, served.url)
      await visitor.sees('Use a throw-away wallet')
      const key = async (name: string, code: number, text?: string) => {
        const one = { key: name, code: name, windowsVirtualKeyCode: code }
        await page.ask('Input.dispatchKeyEvent', { type: 'keyDown', ...one, ...(text && { text }) })
        await page.ask('Input.dispatchKeyEvent', { type: 'keyUp', ...one })
      }
      const enter = () => key('Enter', 13, '\r')
      const tabTo = async (name: string) => {
        for (let time = 0; time < 40; time++) {
          await key('Tab', 9)
          const focused = await page.evaluate<string>('document.activeElement?.innerText ?? ""')
          if (focused.trim().startsWith(name)) return
        }
        throw new Error(`Tab never reached ${name}`)
      }
      await tabTo('Use a throw-away wallet')
      await enter()
      await visitor.sees('The exact message')
      await key('Escape', 27)
      await visitor.sees('You cancelled')
      await tabTo('Use a throw-away wallet')
      await enter()
      await visitor.sees('The exact message')
      await tabTo('Sign')
      expect(await page.evaluate('document.activeElement.closest("dialog") !== null')).toBe(true)
      await enter()
      await visitor.sees('Create your first key')
      await tabTo('Orders')
      await enter()
      await visitor.sees('No orders yet')
      expect(await page.evaluate('document.title')).toBe('Orders · Latchkey')
    })

    it('offline: what is shown stays, and comes back by itself', async () => {
      const visitor = await visit(page, served.url)
      await connectThrowaway(visitor)
      await createKey(visitor, 'before the outage')
      await visitor.go('#/keys')
      await visitor.sees('before the outage')
      const network = (offline: boolean) =>
        page.ask('Network.emulateNetworkConditions', {
          ...{ offline, latency: 0, downloadThroughput: -1, uploadThroughput: -1 },
        })
      await network(true)
      await visitor.sees('The service cannot be reached')
      await visitor.sees('before the outage')
      await network(false)
      await visitor.missesText('The service cannot be reached')
    })

    it('a clock that is wrong: nothing is signed', async () => {
      await page.ask('Page.addScriptToEvaluateOnNewDocument', {
        source: '{ const now = Date.now; Date.now = () => now() - 20 * 60_000 }',
      })
      const { press, sees, text } = await visit(page, served.url)
      await press('Use a throw-away wallet')
      await sees('The clocks differ')
      expect(await text()).not.toContain('The exact message')
    })

    it('a session that ended: one signature opens the next', async () => {
      const visitor = await visit(page, served.url)
      await connectThrowaway(visitor)
      const session = await page.evaluate<string>(
        `JSON.parse(sessionStorage['latchkey.connection']).session`,
      )
      await fetch(`${served.url}/api/v1/sessions/self`, {
        method: 'DELETE',
        headers: { Authorization: `Bearer ${session}` },
      })
      await visitor.sees('Your session has ended')
      await visitor.press('Open a new session')
      await visitor.press('Sign')
      await visitor.missesText('Your session has ended')
      await visitor.sees('Create your first key')
    })

    it('a wallet that the operator suspended', async () => {
      const visitor = await visit(page, served.url)
      await connectThrowaway(visitor)
      const wallet = await addressIn(visitor)
      await run(
        process.execPath,
        [join(ROOT, 'src/cli/admin.ts'), 'suspend', '--wallet', wallet, '--reason', 'a test'],
        { env: { ...process.env, ...env, DATABASE_URL: served.databaseUrl } },
      )
      await visitor.go('#/keys/new')
      await visitor.press('Review and sign')
      await visitor.press('Sign')
      await visitor.sees('This wallet is suspended')
    })

    it('tampered with: a right that its owner did not sign is told loudly, above every view', async () => {
      const visitor = await visit(page, served.url)
      await connectThrowaway(visitor)
      await createKey(visitor, 'edited', { template: 'Cancel only' })
      const sql = database()
      await sql`UPDATE api_keys SET permissions = '{create,execute,cancel}' WHERE wallet_address = ${await addressIn(visitor)}`
      await sql.end()
      await visitor.go('#/audit')
      await visitor.press('Verify in this browser')
      await visitor.sees('The audit does not check out')
      await visitor.sees('permissions is not what its owner signed')
      await visitor.go('#/orders')
      await visitor.sees('has been tampered with')
    })

    it('an older export that the audit does not continue, is of another wallet, or is none', async () => {
      const visitor = await visit(page, served.url)
      await connectThrowaway(visitor)
      await createKey(visitor, 'first', { template: 'Cancel only' })
      await visitor.go('#/audit')
      const { text } = await visitor.saves('Download')
      const folder = emptyFolder()
      const fileOf = (name: string, content: unknown) => {
        writeFileSync(join(folder, name), JSON.stringify(content))
        return join(folder, name)
      }
      const saved = JSON.parse(text)
      const compare = (path: string) => visitor.chooses('Compare with an older export', path)
      await compare(fileOf('none.json', null))
      await visitor.sees('This is no export of an audit')
      const walletAddress = addressOf(newPrivateKey(), 'devnet')
      await compare(fileOf('other.json', { ...saved, walletAddress }))
      await visitor.sees('This export is of another wallet')
      await visitor.missesText('has been tampered with')
      const [first, ...rest] = saved.events
      const events = [{ ...first, hash: 'ab'.repeat(32) }, ...rest]
      await compare(fileOf('replaced.json', { ...saved, events }))
      await visitor.sees('was another event in the older export')
      await visitor.sees('has been tampered with')
    })

    it('a certificate that the page saved revokes its key without the wallet', async () => {
      const visitor = await visit(page, served.url)
      await connectThrowaway(visitor)
      await createKey(visitor, 'of a lost wallet', { template: 'Cancel only' })
      await visitor.press('Revocation certificate')
      const { name, text } = await visitor.saves('Sign')
      const certificate = JSON.parse(text)
      expect(name).toBe(`revoke-${certificate.keyId}.json`)
      await createClient({ baseUrl: served.url }).keys.useCertificate(certificate)
      await visitor.go('#/keys')
      await visitor.press('Ended')
      await visitor.sees('of a lost wallet')
    })

    it('an amount is read in the units of its token, also where it was typed before those were known', async () => {
      const tokens = await holdTokens()
      const visitor = await visit(page, served.url)
      const { press, fill, sees, go } = visitor
      await connectThrowaway(visitor)
      await go('#/orders/new')
      await fill('Amount', '1.5')
      await fill('At least', '0.49')
      await press('Review and sign')
      await page.until(
        `document.querySelector('[type=submit]').getAttribute('aria-busy') === 'true'`,
      )
      await tokens.release()
      await sees('The intent that the chain will check')
      expect(await signedText()).toMatchObject({ amountIn: '1500000' })
      await press('Cancel')

      await tokens.hold()
      await visitor.page.open(`${served.url}/?again#/keys/new`)
      await press('Market maker')
      await press('Add an amount')
      await fill('A day', '20')
      await fill('An order', '0.0000001')
      await press('Review and sign')
      await page.until(
        `document.querySelector('[type=submit]').getAttribute('aria-busy') === 'true'`,
      )
      await tokens.release()
      await page.until(`document.querySelector('[aria-invalid=true]') !== null`)
      expect(await page.evaluate('document.querySelectorAll("dialog[open]").length')).toBe(0)
      await fill('An order', '0.5')
      await press('Review and sign')
      await sees('The exact message')
      expect(Object.values((await signedText()).maxAmountIn)).toEqual([
        { perDay: '20000000', perOrder: '500000' },
      ])
      await press('Sign')
      await sees('shown this once')
      await press('Show the secret')
      await visitor.tick('I stored it')
      await press('Done')
      await sees('About this key')
      const change = `${await page.evaluate<string>('location.hash')}/change`

      await tokens.hold()
      await visitor.page.open(`${served.url}/?later${change}`)
      await page.until(`document.querySelector('main .skeleton') !== null`)
      expect(await visitor.text()).not.toContain('Review and sign')
      await tokens.release()
      await sees('Nothing yet')
      const typed = `[...document.querySelectorAll('input[inputmode=decimal]')].map((one) => one.value)`
      expect(await page.evaluate(typed)).toEqual(['0.5', '20'])
    })

    it('a token of which the service cannot say anything now: its amount is not guessed, and nothing is signed', async () => {
      const tokens = await holdTokens()
      const { press, fill, sees, go, ...visitor } = await visit(page, served.url)
      await connectThrowaway({ press, fill, sees, go, ...visitor })
      await go('#/orders/new')
      await fill('Amount', '1')
      await fill('At least', '1')
      await press('Review and sign')
      await tokens.fail()
      await page.until(`document.querySelector('aside .problem') !== null`)
      expect(await page.evaluate('document.querySelectorAll("dialog[open]").length')).toBe(0)
      await tokens.release()
      await press('Review and sign')
      await sees('The intent that the chain will check')
    })

    /** Keeps answers about tokens from the page. */
    async function holdTokens() {
      const held: string[] = []
      let then: 'hold' | 'release' | 'fail' = 'hold'
      const settle = (requestId: string) =>
        then === 'release'
          ? page.ask('Fetch.continueRequest', { requestId })
          : page.ask('Fetch.failRequest', { requestId, errorReason: 'ConnectionReset' })
      page.on('Fetch.requestPaused', ({ requestId }) => {
        if (then === 'hold') held.push(requestId)
        else void settle(requestId)
      })
      const become = async (next: typeof then) => {
        then = next
        if (next === 'hold') return
        for (const requestId of held.splice(0)) await settle(requestId)
      }
      await page.ask('Fetch.enable', { patterns: [{ urlPattern: '*/api/v1/tokens/*' }] })
      return {
        hold: () => become('hold'),
        release: () => become('release'),
        fail: () => become('fail'),
      }
    }

    const signedText = async () =>
      JSON.parse(
        await page.evaluate<string>(
          `[...document.querySelectorAll('dialog .json')].at(-1).textContent`,
        ),
      )

    it('what takes longer than 300 ms shows that it is under way', async () => {
      const visitor = await visit(page, served.url)
      await connectThrowaway(visitor)
      await createKey(visitor, 'slow', { template: 'Cancel only' })
      await page.ask('Network.emulateNetworkConditions', {
        ...{ offline: false, latency: 1_500, downloadThroughput: -1, uploadThroughput: -1 },
      })
      await visitor.go('#/orders')
      await page.until(
        `document.querySelector('[role=progressbar]')?.checkVisibility({ opacityProperty: true })`,
      )
      await visitor.sees('No orders yet')
      await page.until(`document.querySelector('[role=progressbar]') === null`)
    })

    it.each([
      ['a desktop', DESKTOP],
      ['a phone', PHONE],
    ])('a toast covers neither the controls of the footer nor the navigation, on %s', async (_, size) => {
      const visitor = await visit(page, served.url)
      await page.show(size)
      await connectThrowaway(visitor)
      await visitor.go('#/funds')
      await visitor.press('Get tokens')
      await visitor.sees('Tokens have arrived')
      const covered = await page.evaluate<string[]>(`(() => {
        scrollTo(0, document.documentElement.scrollHeight)
        document.getAnimations().forEach((one) => one.effect.getTiming().iterations !== Infinity && one.finish())
        return [...document.querySelectorAll('.footer a, .footer select, .nav a, .header button')].filter((control) => {
          const { left, top, width, height } = control.getBoundingClientRect()
          const at = document.elementFromPoint(left + width / 2, top + height / 2)
          return at?.closest('.toasts') !== null && at !== null
        }).map((control) => control.outerHTML)
      })()`)
      expect(covered).toEqual([])
    })

    it('cut: an audit without its last event is found by what this browser kept', async () => {
      const visitor = await visit(page, served.url)
      await connectThrowaway(visitor)
      await createKey(visitor, 'kept')
      await page.evaluate(`{
      const name = 'latchkey.head.' + JSON.parse(sessionStorage['latchkey.connection']).address
      const head = JSON.parse(localStorage[name])
      localStorage[name] = JSON.stringify({ sequence: head.sequence + 1, hash: 'ab'.repeat(32) })
    }`)
      await page.open(`${served.url}/?again#/audit`)
      await visitor.press('Verify in this browser')
      await visitor.sees('is not the event that the head names, or is gone')
    })
  },
)

describe.skipIf(CHROMIUM === undefined)('With too many requests', { timeout: 120_000 }, () => {
  it('the page counts down, and goes on by itself', async () => {
    const served = await serve('Node and PGlite', { IP_RATE_LIMIT_PER_MINUTE: '40' })
    const page = await openPage(CHROMIUM ?? '')
    try {
      const visitor = await visit(page, served.url)
      await connectThrowaway(visitor)
      for (let time = 0; time < 60; time++) await fetch(`${served.url}/api/v1/time`)
      await visitor.go('#/orders')
      await visitor.sees('Too many requests')
      await visitor.sees('Tries again in')
      await page.evaluate(`new Promise((done) => {
        const look = () => document.body.innerText.includes('Too many requests') ? setTimeout(look, 200) : done()
        look()
      })`)
      await visitor.sees('No orders yet')
    } finally {
      await page.close()
      await served.stop()
    }
  })

  it('a change counts down too, and is not signed again by itself', async () => {
    const served = await serve('Node and PGlite', { IP_RATE_LIMIT_PER_MINUTE: '40' })
    const page = await openPage(CHROMIUM ?? '')
    try {
      const visitor = await visit(page, served.url)
      await connectThrowaway(visitor)
      await createKey(visitor, 'limited', { template: 'Cancel only' })
      await visitor.press('Suspend')
      await visitor.sees('The exact message')
      for (let time = 0; time < 60; time++) await fetch(`${served.url}/api/v1/time`)
      await visitor.press('Sign')
      await visitor.sees('Too many requests')
      await visitor.sees('Possible again in')
      await page.until(`!document.body.innerText.includes('Possible again in')`)
      await visitor.sees('Possible again now')
      expect(await visitor.text()).not.toContain('The exact message')
      await visitor.press('Suspend')
      await visitor.press('Sign')
      await visitor.sees('is suspended')
    } finally {
      await page.close()
      await served.stop()
    }
  })
})
