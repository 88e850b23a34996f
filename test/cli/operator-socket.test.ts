import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { administer } from '../../src/cli/admin.ts'
import { INPUT_TOKEN } from '../../src/devnet/constants.ts'
import { type Entry, emptyFolder, startEntry } from '../node/entry.ts'
import { createKey, createOrder, fund, newWallet } from '../support/wallet.ts'
import { collectingTerminal } from './latchkey.ts'

const clock = { now: Date.now() }

async function administerWith(env: Record<string, string>, args: readonly string[]) {
  const { terminal, written } = collectingTerminal({ env })
  const exitCode = await administer({ ...terminal, args }, Date.now)
  return { exitCode, ...written }
}

describe('latchkey-admin beside a service with PGlite', { timeout: 180_000 }, () => {
  const folder = join(emptyFolder(), 'data')
  const socket = join(folder, 'operator.sock')
  // Not the encryption key: what the service has, its operator need not have at hand.
  const env = { DATABASE_URL: `pglite:${folder}` }
  const admin = (...args: string[]) => administerWith(env, args)
  const json = async (...args: string[]) => JSON.parse((await admin(...args, '--json')).out)
  let entry: Entry
  let call: (path: string, init?: RequestInit) => Promise<Response>
  beforeAll(async () => {
    entry = startEntry(env)
    const url = await entry.url()
    call = (path, init) => fetch(`${url}/api/v1${path}`, init)
  }, 120_000)
  const use = async (apiKey: string) =>
    (await call('/me', { headers: { 'X-API-Key': apiKey } })).status

  it('suspends a key for the next request, and resumes it', async () => {
    const { apiKey, keyId } = await createKey({ call }, newWallet({ clock }))
    expect(await use(apiKey)).toBe(200)
    const suspended = await admin('suspend', '--key', keyId, '--reason', 'leaked on a forum')
    expect(suspended).toMatchObject({ exitCode: 0, out: `Suspended: ${keyId}\n`, err: '' })
    expect(await use(apiKey)).toBe(401)
    expect(await json('keys', '--key', keyId)).toMatchObject([{ keyId, suspendedBy: 'operator' }])
    expect((await admin('resume', '--key', keyId, '--reason', 'a false alarm')).exitCode).toBe(0)
    expect(await use(apiKey)).toBe(200)
    expect(await entry.event('operator_acted')).toMatchObject({ act: 'suspend' })
  })

  it('refuses what there is not, with the same words as on a database', async () => {
    const unknown = await admin('suspend', '--key', 'key_1', '--reason', 'x')
    expect(unknown).toMatchObject({ exitCode: 1, err: expect.stringContaining('no such key') })
    const wallet = await admin('suspend', '--wallet', 'ST1NOBODY', '--reason', 'x')
    expect(wallet).toMatchObject({ exitCode: 1, err: expect.stringContaining('no wallet') })
  })

  it('checks the audit, also against heads that were kept', async () => {
    const heads = join(emptyFolder(), 'service.log')
    writeFileSync(heads, entry.stdout.join('\n'))
    const check = await json('audit', 'check', '--heads', heads)
    expect(check).toMatchObject({ faultCount: 0, unchecked: [], unreadableLines: 0 })
    expect([check.keys, check.heads]).toEqual([expect.any(Number), expect.any(Number)])
    expect(check.heads).toBeGreaterThan(0)
    const forged = entry.stdout
      .filter((line) => line.includes('audit_head'))
      .map((line) => line.replace(/"hash":"[0-9a-f]{8}/, '"hash":"00000000'))
    writeFileSync(heads, forged.join('\n'))
    expect((await admin('audit', 'check', '--heads', heads)).exitCode).toBe(1)
  })

  it('counts, and shows the busiest keys by the counters that admit requests', async () => {
    const wallet = newWallet({ clock })
    const { apiKey, keyId } = await createKey({ call }, wallet)
    await createOrder({ call }, wallet)
    for (let n = 0; n < 7; n++) await use(apiKey)
    const statistics = await json('stats')
    expect(statistics.keys.live).toBeGreaterThan(1)
    expect(statistics.requests.today).toBeGreaterThan(6)
    expect(statistics.orders).toMatchObject({ open: 1 })
    const top = await json('top')
    expect(top.keys[0]).toMatchObject({ keyId, day: 7, walletAddress: wallet.address })
    expect(top.wallets[0]).toMatchObject({ walletAddress: wallet.address, keys: 1, day: 7 })
    expect((await admin('top', '--looks', '2', '--interval', '1')).out.split(keyId)).toHaveLength(3)
  })

  it('shows what operators and routers hold, and what does not get mined', async () => {
    const wallet = newWallet({ clock })
    await fund({ call }, wallet)
    const balances = await json('balances', '--token', INPUT_TOKEN)
    const roles = balances.map(({ role }: { role: string }) => role)
    expect(roles).toEqual(['operator', 'router', 'router', 'swap account'])
    expect(BigInt(balances[0].microStx)).toBeGreaterThan(0n)
    expect(balances[1].tokens).toEqual({ [INPUT_TOKEN]: expect.stringMatching(/^\d+$/) })
    expect(await admin('stuck')).toMatchObject({ exitCode: 0, out: 'No stuck transactions.\n' })
  })

  it('moves what has ended into a file, on the database that the service has open', async () => {
    const to = emptyFolder()
    const made = await json('archive', 'make', '--before', '2020-01-01', '--to', to)
    expect(made).toMatchObject({ number: 1, rows: {}, held: { wallets: [], orders: [] } })
    expect(existsSync(made.path)).toBe(true)
    expect(await json('archive', 'list')).toMatchObject([{ number: 1, state: 'done' }])
    expect(await json('archive', 'check', to)).toMatchObject({ archives: 1, faults: [] })
  })

  it('is for the owner of the service alone', async () => {
    expect(statSync(socket).mode & 0o777).toBe(0o600)
    if (process.getuid?.() !== 0) return
    chmodSync(folder, 0o755) // The folder is closed too; the socket must be closed by itself.
    const script = `require('node:net').connect(${JSON.stringify(socket)}).on('error', ({ code }) => console.log(code)).on('connect', () => process.exit(9))`
    const other = spawnSync(process.execPath, ['-e', script], { uid: 65_534, gid: 65_534 })
    // EACCES of the socket or of a folder above it: no connection either way.
    expect([other.status, String(other.stdout).trim()]).toEqual([0, 'EACCES'])
  })

  it('does no other act, and survives what is no request', async () => {
    const raw = (text: string) =>
      new Promise<string>((resolve, reject) => {
        let all = ''
        const client = connect(socket, () => client.end(text))
        client.on('data', (chunk) => {
          all += chunk
        })
        client.once('close', () => resolve(all))
        client.once('error', reject)
      })
    const post = (path: string, body: string) =>
      raw(
        `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      )
    expect(await post('/toString', '{}')).toContain('404')
    expect(await post('/keys', '{')).toMatch(/^HTTP\/1.1 400 /)
    const chunked =
      'POST /keys HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n'
    expect(await raw(chunked)).toMatch(/^HTTP\/1.1 413 /)
    expect(await post('/keys', '{"preview":1}')).toContain('invalidRequest')
    expect(await post('/suspend', '{"target":{},"reason":"x"}')).toContain('invalidRequest')
    await raw('\u0000\u0001')
    expect((await call('/time')).status).toBe(200)
  })

  it('works on the folder itself once the service has stopped, also after a kill', async () => {
    entry.child.kill('SIGKILL')
    await entry.ended
    expect(existsSync(socket)).toBe(true)
    expect((await admin('stats')).exitCode).toBe(0)
    const again = startEntry(env)
    await again.url()
    expect((await admin('stats')).exitCode).toBe(0)
    again.child.kill('SIGTERM')
    expect(await again.ended).toEqual({ code: 0, signal: null })
    expect(existsSync(socket)).toBe(false)
  })
})
