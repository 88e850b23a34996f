import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage } from 'node:http'
import { Agent, request } from 'node:https'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { type Entry, emptyFolder, ROOT, startEntry } from '../node/entry.ts'
import { createKey, createOrder, json, newWallet } from '../support/wallet.ts'

const clock = { now: Date.now() }

/** Debian's packages, which .ci/run installs: where a release is tested they must be there. */
const PROGRAMS = { nginx: '/usr/sbin/nginx', caddy: '/usr/bin/caddy' }
const names = (['nginx', 'caddy'] as const).filter(
  (name) => existsSync(PROGRAMS[name]) || process.env.CI === 'true',
)

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** The example with the ports and certificates of the test in place of its own; everything else is as it is. */
const START = {
  nginx(folder: string, port: number, upstream: number): ChildProcess {
    const certificate = { crt: join(folder, 'tls.crt'), key: join(folder, 'tls.key') }
    const subject = ['-subj', '/CN=localhost', '-days', '1']
    const files = ['-keyout', certificate.key, '-out', certificate.crt]
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...files, ...subject],
      {
        stdio: 'ignore',
      },
    )
    const example = replaced(readFileSync(join(ROOT, 'deploy/nginx.conf'), 'utf8'), {
      'server 127.0.0.1:8787;': `server 127.0.0.1:${upstream};`,
      'listen 443 ssl http2;': `listen 127.0.0.1:${port} ssl http2;`,
      '/etc/ssl/latchkey/fullchain.pem': certificate.crt,
      '/etc/ssl/latchkey/privkey.pem': certificate.key,
    })
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (name) => `${name}_temp_path ${join(folder, name)};`,
    )
    writeFileSync(
      join(folder, 'nginx.conf'),
      `daemon off; pid ${join(folder, 'pid')}; error_log stderr; events {}
      http { access_log off; ${temporary.join(' ')} ${example} }`,
    )
    return spawn(PROGRAMS.nginx, ['-c', join(folder, 'nginx.conf')], { stdio: 'ignore' })
  },
  caddy(folder: string, port: number, upstream: number): ChildProcess {
    // Without the options of the test it would use port 80, the admin API and the machine's trust store.
    const options = `{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n`
    writeFileSync(
      join(folder, 'Caddyfile'),
      `${options}${readFileSync(join(ROOT, 'deploy/Caddyfile'), 'utf8')}`,
    )
    return spawn(PROGRAMS.caddy, ['run', '--config', join(folder, 'Caddyfile')], {
      stdio: 'ignore',
      env: {
        HOME: folder,
        XDG_DATA_HOME: folder,
        LATCHKEY_SITE: `https://localhost:${port}`,
        LATCHKEY_UPSTREAM: `127.0.0.1:${upstream}`,
      },
    })
  },
}

function replaced(text: string, parts: Record<string, string>): string {
  return Object.entries(parts).reduce((all, [from, to]) => {
    expect(all).toContain(from)
    return all.replaceAll(from, to)
  }, text)
}

describe.each(names)('the service behind %s, as its example says', { timeout: 120_000 }, (name) => {
  const agent = new Agent({ keepAlive: true, rejectUnauthorized: false })
  let entry: Entry
  let proxy: ChildProcess
  let port: number
  beforeAll(async () => {
    entry = startEntry({ DATABASE_URL: 'pglite::memory:', TRUSTED_PROXIES: '127.0.0.1,::1' })
    const upstream = Number(new URL(await entry.url()).port)
    port = await freePort()
    const folder = emptyFolder()
    chmodSync(folder, 0o755) // nginx's workers are another user.
    proxy = START[name](folder, port, upstream)
    await vi.waitFor(async () => expect((await call('/time')).status).toBe(200), {
      timeout: 60_000,
      interval: 250,
    })
  }, 180_000)
  afterAll(() => {
    agent.destroy()
    proxy?.kill('SIGTERM')
  })

  /** `fetch` does not take the test's certificate. */
  function open(path: string, init: RequestInit = {}): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const headers = Object.fromEntries(new Headers(init.headers))
      const { method = 'GET' } = init
      const to = { host: '127.0.0.1', port, servername: 'localhost', path: `/api/v1${path}` }
      const sent = request(
        { ...to, agent, method, headers: { host: `localhost:${port}`, ...headers } },
        resolve,
      )
      sent.once('error', reject)
      sent.end(init.body as string | undefined)
    })
  }
  async function call(path: string, init?: RequestInit): Promise<Response> {
    const response = await open(path, init)
    const body = await text(response)
    return new Response(body === '' ? null : body, {
      status: response.statusCode as number,
      headers: response.headers as Record<string, string>,
    })
  }

  it('knows the address of its client, whatever the client says of it', async () => {
    const claims = { 'X-Forwarded-For': '203.0.113.7', Forwarded: 'for=203.0.113.8' }
    const response = await call('/info', { headers: claims })
    expect(await response.json()).toMatchObject({ callerAddress: '127.0.0.1' })
    const reached = entry.stdout.filter((line) => line.includes('forwarded_header_ignored'))
    expect(reached).toEqual([])
  })

  it('admits a key, and leaves the refusal of a body that is too large to the service', async () => {
    const { apiKey } = await createKey({ call }, newWallet({ clock }))
    const response = await call('/me', { headers: { 'X-API-Key': apiKey } })
    expect(response.status).toBe(200)
    expect(response.headers.get('x-request-id')).toMatch(/^req_/)
    const large = json({ message: 'x'.repeat(100_000) })
    const refused = await call('/api-keys', large)
    expect([refused.status, await refused.json()]).toMatchObject([413, { code: 'BODY_TOO_LARGE' }])
  })

  it('passes the WebSocket of a wallet on, and nothing of a page elsewhere', async () => {
    const wallet = newWallet({ clock })
    const { apiKey } = await createKey({ call }, wallet, { permissions: ['read'] })
    const socket = new WebSocket(`wss://localhost:${port}/api/v1/stream`, ['latchkey.v1'], {
      rejectUnauthorized: false,
      headers: { 'X-API-Key': apiKey },
    })
    let seen = ''
    socket.on('message', (data) => {
      seen += String(data)
    })
    await vi.waitFor(() => expect(seen).toContain('"start"'), { timeout: 10_000 })
    const uuid = await createOrder({ call }, wallet)
    await vi.waitFor(() => expect(seen).toContain(uuid), { timeout: 10_000 })
    socket.terminate()
  })

  it('hands over events as they happen', async () => {
    const wallet = newWallet({ clock })
    const uuid = await createOrder({ call }, wallet)
    const stream = await open(`/orders/${uuid}/events`)
    expect(stream.statusCode).toBe(200)
    let seen = ''
    stream.on('data', (chunk) => {
      seen += chunk
    })
    await vi.waitFor(() => expect(seen).toContain('"open"'), { timeout: 10_000 })
    const proof = wallet.sign({ action: 'cancel_order', uuid })
    const cancelled = await call(`/orders/${uuid}/cancel`, { ...json(proof), method: 'PATCH' })
    expect(cancelled.status).toBe(200)
    await vi.waitFor(() => expect(seen).toContain('"cancelled"'), { timeout: 10_000 })
  })
})
