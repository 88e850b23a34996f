import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'vite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClient } from '../../src/client/index.ts'
import { addressOf } from '../../src/stacks/sign.ts'
import { visit } from '../dashboard/visitor.ts'
import { CHROMIUM, openPage } from '../node/chromium.ts'
import { emptyFolder, ROOT } from '../node/entry.ts'
import { serveFiles } from '../react/serve.ts'
import { browserWallet, installBrowserWallet } from '../support/browser-wallets.ts'
import { type Service, startService } from '../support/server.ts'

const EXAMPLE = join(ROOT, 'examples/dapp')

/** Builds the example for a service. */
async function filesFor(serviceUrl: string): Promise<Record<string, string>> {
  const outDir = emptyFolder()
  await build({
    root: EXAMPLE,
    logLevel: 'error',
    define: { 'import.meta.env.VITE_SERVICE_URL': JSON.stringify(serviceUrl) },
    build: { outDir },
  })
  const files = globSync('**/*.*', { cwd: outDir }).map((file) => [
    `/${file}`,
    readFileSync(join(outDir, file), 'utf8'),
  ])
  const all = Object.fromEntries(files) as Record<string, string>
  return { ...all, '/': all['/index.html'] ?? '' }
}

describe('The example dApp', { timeout: 180_000 }, () => {
  it('is about a hundred lines, whose types are right', async () => {
    const lines = readFileSync(join(EXAMPLE, 'main.tsx'), 'utf8').split('\n')
    expect(lines.length).toBeLessThan(130)
    const tsc = join(ROOT, 'node_modules/.bin/tsc')
    const { stdout } = await promisify(execFile)(tsc, ['-p', EXAMPLE]).catch((error) => error)
    expect(stdout).toBe('')
  })

  describe.skipIf(CHROMIUM === undefined)('from an origin that the service allows', () => {
    const files: Record<string, string> = {}
    let site: Awaited<ReturnType<typeof serveFiles>>
    let service: Service
    beforeAll(async () => {
      site = await serveFiles(files)
      service = await startService({ ALLOWED_ORIGINS: site.url })
      Object.assign(files, await filesFor(service.url))
    }, 240_000)
    afterAll(async () => {
      await service?.stop()
      await site?.stop()
    })

    it.each([
      'a throw-away wallet',
      'the provider of an extension',
    ])('creates a key, follows an order to its end and revokes the key, signed by %s', async (by) => {
      const page = await openPage(CHROMIUM ?? '')
      try {
        const wallet = browserWallet('Leather', `${randomBytes(32).toString('hex')}01`)
        if (by.startsWith('the provider')) await installBrowserWallet(page, wallet)
        const { press, sees } = await visit(page, site.url)
        await press('Connect wallet')
        await press('Create a key')
        await sees('The secret, shown once')
        const apiKey = await page.evaluate<string>(`document.getElementById('secret').textContent`)
        const bot = createClient({ baseUrl: service.url, apiKey })
        expect((await bot.keys.me()).permissions).toEqual(['create', 'execute', 'cancel'])
        await press('I stored it')
        await sees('bot 1 is active')
        await press('Place an order')
        await sees('The order is open')
        await press('Execute it')
        await sees('The order is confirmed')
        await press('Revoke bot 1')
        await sees('bot 1 is revoked')
        await expect(bot.keys.me()).rejects.toMatchObject({ code: 'API_KEY_INACTIVE' })
        await page.open(`${site.url}/?again`)
        await sees('bot 1 is revoked') // The tab has kept the session.
        expect(page.complaints.filter((one) => !one.includes('ERR_ABORTED'))).toEqual([])
        if (by.startsWith('the provider')) await sees(addressOf(wallet.privateKey, 'devnet'))
      } finally {
        await page.close()
      }
    })

    it('shows why it cannot connect, from an origin that the service does not allow', async () => {
      const other = await serveFiles(files)
      const page = await openPage(CHROMIUM ?? '')
      try {
        const { press, sees } = await visit(page, other.url)
        await press('Connect wallet')
        await sees('it allows the origin')
      } finally {
        await page.close()
        await other.stop()
      }
    })
  })
})
