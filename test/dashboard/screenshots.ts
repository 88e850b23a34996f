import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CHROMIUM, openPage } from '../node/chromium.ts'
import { startService } from '../support/server.ts'
import { DESKTOP, PHONE, type Visitor, visit } from './visitor.ts'

const FOLDER = fileURLToPath(new URL('../../screenshots', import.meta.url))
const LOOKS = [
  ['light', DESKTOP, 'light'],
  ['dark', DESKTOP, 'dark'],
  ['phone', PHONE, 'light'],
  ['phone-dark', PHONE, 'dark'],
] as const

/** Takes a picture of every view, in each look. Lasts as long as the views take to be filled with real requests. */
async function main(): Promise<void> {
  if (CHROMIUM === undefined) throw new Error('No Chromium: apt-get install chromium')
  const given = process.env.SERVICE_URL
  const service = given === undefined ? await startService() : undefined
  const url = given ?? service?.url ?? ''
  await rm(FOLDER, { recursive: true, force: true })
  await mkdir(FOLDER, { recursive: true })
  const page = await openPage(CHROMIUM)
  try {
    await page.show(DESKTOP)
    const visitor = await visit(page, url)
    const take = pictures(visitor)
    await visitor.sees('Connect wallet')
    await take('01-landing')
    await visitor.press('Connect wallet')
    await visitor.sees('No wallet in this browser')
    await take('02-no-wallet')
    await visitor.press('Dismiss')
    await visitor.press('Use a throw-away wallet')
    await visitor.sees('The exact message')
    await take('03-sign')
    await visitor.press('Sign')
    await visitor.sees('Create your first key')
    await take('04-keys-empty')
    await tour(visitor, take, url)
  } finally {
    await page.close()
    await service?.stop()
  }
  process.stdout.write(`Pictures are in ${FOLDER}\n`)
}

type Take = (name: string) => Promise<void>

/** A picture in each look: the page as a whole, without what moves. */
function pictures({ page }: Visitor): Take {
  return async (name) => {
    for (const [look, size, scheme] of LOOKS) {
      await page.show(size, scheme)
      await page.evaluate(
        `document.getAnimations().forEach((one) => one.finish?.call && one.effect?.getTiming().iterations !== Infinity && one.finish())`,
      )
      await page.evaluate(
        'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))',
      )
      const { cssContentSize } = await page.ask('Page.getLayoutMetrics')
      const height = Math.min(3_000, Math.max(size.height, Math.ceil(cssContentSize.height)))
      await page.show({ ...size, height }, scheme)
      await writeFile(join(FOLDER, `${name}.${look}.png`), await page.screenshot())
    }
    await page.show(DESKTOP)
  }
}

async function tour(visitor: Visitor, take: Take, url: string): Promise<void> {
  const { page, press, fill, sees, go } = visitor
  await go('#/funds')
  await press('Get tokens')
  await sees('Tokens have arrived')
  await take('05-funds')
  await go('#/keys/new')
  await sees('What you sign')
  await fill('Allowed addresses', '203.0.113.50')
  await press('Add an amount')
  await fill('A day', '20')
  await fill('An order', '1')
  await take('06-new-key')
  await press('From scratch')
  await press('No end')
  await press('Review and sign')
  await sees('needs your attention')
  await take('07-new-key-faults')

  const secret = await createKey(visitor, 'market maker', take)
  await use(url, secret, 60)
  await createKey(visitor, 'rebalancer of the treasury', undefined, 'Execute only')
  await createKey(visitor, 'watchdog', undefined, 'Cancel only')
  await go('#/keys')
  await sees('watchdog')
  await press('watchdog')
  await press('Suspend')
  await press('Sign')
  await sees('Resume')
  await go('#/keys')
  await sees('rebalancer')
  await take('09-keys')

  await press('market maker')
  await sees('About this key')
  await sees('OK')
  await take('10-key')
  await press('Rotate')
  await sees('The present secret works for')
  await take('11-rotate')
  await press('Rotate')
  await press('Sign')
  await sees('shown this once')
  await visitor.tick('I stored it')
  await press('Done')
  await sees('The secret before the last rotation')
  await take('12-key-in-grace')
  await press('Change')
  await sees('What changes')
  await fill('Allowed addresses', '198.51.100.0/24')
  await press('7 days')
  await take('13-change')
  await go('#/keys')
  await press('market maker')
  await press('Revoke')
  await sees('to confirm')
  await take('14-revoke')
  await press('Cancel')

  await go('#/orders')
  await sees('No orders yet')
  await take('15-orders-empty')
  await go('#/orders/new')
  await sees('You pay')
  await fill('Amount', '1')
  await fill('At least', '0.49')
  await take('16-new-order')
  await press('Review and sign')
  await sees('The intent that the chain will check')
  await take('17-sign-intent')
  await press('Sign')
  await sees('Time line')
  await take('18-order-open')
  await press('Execute now')
  await press('Sign')
  await sees('Settled in block')
  await take('19-order-settled')
  await go('#/orders/new')
  await fill('Amount', '2.5')
  await fill('At least', '1.2')
  await press('Review and sign')
  await press('Sign')
  await sees('Time line')
  await go('#/orders')
  await sees('Settled')
  await take('20-orders')

  await go('#/audit')
  await sees('Key created')
  await press('Verify in this browser')
  await sees('check out')
  await take('21-audit')

  await press('Panic')
  await sees('What it cannot stop')
  await take('22-panic')
  await press('Revoke everything')
  await press('Sign')
  await sees('revoked')
  await take('23-panic-done')
  await press('Close')
  await go('#/keys')
  await sees('Your session has ended')
  await take('24-session-ended')
  await press('Open a new session')
  await press('Cancel')
  await sees('You cancelled')
  await take('25-cancelled')
  await page.evaluate(
    `localStorage.setItem('latchkey.language', 'de'), void sessionStorage.removeItem('latchkey.connection')`,
  )
  await page.open(`${url}/`)
  await sees('Wallet verbinden')
  await take('26-landing-german')
  await press('Wegwerf-Wallet benutzen')
  await press('Unterschreiben')
  await sees('Was Ihre Bots')
  await press('Zu Ende')
  await sees('Widerrufen')
  await take('27-keys-german')
}

/** Creates a key with one of the templates. Returns its secret. */
async function createKey(
  visitor: Visitor,
  name: string,
  take?: Take,
  template = 'Market maker',
): Promise<string> {
  const { page, press, fill, sees, go } = visitor
  await go('#/keys')
  await sees('API keys')
  await go('#/keys/new')
  await press(template)
  await fill('Name', name)
  if (template === 'Market maker') {
    await press('Allow my address')
    await press('Add an amount')
    await fill('A day', '20')
    await fill('An order', '1')
  }
  await press('Review and sign')
  await press('Sign')
  await sees('shown this once')
  await press('Test it')
  await sees('It works')
  await press('Show the secret')
  const secret = await page.evaluate<string>(`document.querySelector('.secret input').value`)
  if (take !== undefined) {
    await press('Show the secret')
    await take('08-secret')
  }
  await visitor.tick('I stored it')
  await press('Done')
  await sees('About this key')
  return secret
}

async function use(url: string, secret: string, times: number): Promise<void> {
  for (let time = 0; time < times; time++) {
    const path = time % 7 === 0 ? '/api/v1/orders?limit=0' : '/api/v1/orders?limit=1'
    await fetch(url + path, {
      headers: { 'X-API-Key': secret, 'User-Agent': `maker/${time % 11 === 0 ? '2.0' : '1.4'}` },
    })
  }
}

await main()
