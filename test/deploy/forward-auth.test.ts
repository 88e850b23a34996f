import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request as plainRequest,
  type Server,
} from 'node:http'
import { Agent, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { administer } from '../../src/cli/admin.ts'
import { signRequest } from '../../src/client/request-signer.ts'
import type { ErrorBody } from '../../src/errors.ts'
import { collectingTerminal } from '../cli/latchkey.ts'
import { type Entry, emptyFolder, follow, ROOT, startEntry } from '../node/entry.ts'
import { connectTo } from '../support/http.ts'
import { createSigningKey } from '../support/signed.ts'
import { createKey, newWallet } from '../support/wallet.ts'

const clock = { now: Date.now() }

/** Debian's packages, which .ci/run installs: where a release is tested they must be there. */
const PROGRAMS = { nginx: '/usr/sbin/nginx', caddy: '/usr/bin/caddy' }
const names = (['nginx', 'caddy'] as const).filter(
  (name) => existsSync(PROGRAMS[name]) || process.env.CI === 'true',
)

interface Ports {
  own: number
  latchkey: number
  market: number
  rfq: number
  withdrawals: number
}

/** The example with the ports, certificates and credential of the test in place of its own; everything else is as it is. */
const START = {
  nginx(folder: string, ports: Ports, credential: string): ChildProcess {
    const certificate = { crt: join(folder, 'tls.crt'), key: join(folder, 'tls.key') }
    const files = ['-keyout', certificate.key, '-out', certificate.crt]
    const subject = ['-subj', '/CN=localhost', '-days', '1']
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...files, ...subject],
      { stdio: 'ignore' },
    )
    const example = replaced(readFileSync(join(ROOT, 'deploy/nginx-forward-auth.conf'), 'utf8'), {
      'server 127.0.0.1:8787;': `server 127.0.0.1:${ports.latchkey};`,
      'server 127.0.0.1:9001;': `server 127.0.0.1:${ports.market};`,
      'server 127.0.0.1:9002;': `server 127.0.0.1:${ports.rfq};`,
      'server 127.0.0.1:9003;': `server 127.0.0.1:${ports.withdrawals};`,
      'listen 443 ssl http2;': `listen 127.0.0.1:${ports.own} ssl http2;`,
      '/etc/ssl/latchkey/fullchain.pem': certificate.crt,
      '/etc/ssl/latchkey/privkey.pem': certificate.key,
      '"ck_service_..."': `"${credential}"`,
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
  caddy(folder: string, ports: Ports, credential: string): ChildProcess {
    // Without the options of the test it would use port 80, the admin API and the machine's trust store.
    const options = `{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n`
    const example = readFileSync(join(ROOT, 'deploy/Caddyfile-forward-auth'), 'utf8')
    writeFileSync(join(folder, 'Caddyfile'), `${options}${example}`)
    return spawn(
      PROGRAMS.caddy,
      ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')],
      {
        stdio: 'ignore',
        env: {
          HOME: folder,
          XDG_DATA_HOME: folder,
          LATCHKEY_SITE: `https://localhost:${ports.own}`,
          LATCHKEY_UPSTREAM: `127.0.0.1:${ports.latchkey}`,
          LATCHKEY_SERVICE_CREDENTIAL: credential,
          MARKET_DATA_UPSTREAM: `127.0.0.1:${ports.market}`,
          RFQ_UPSTREAM: `127.0.0.1:${ports.rfq}`,
          WITHDRAWALS_UPSTREAM: `127.0.0.1:${ports.withdrawals}`,
        },
      },
    )
  },
}

function replaced(text: string, parts: Record<string, string>): string {
  return Object.entries(parts).reduce((all, [from, to]) => {
    expect(all).toContain(from)
    return all.replaceAll(from, to)
  }, text)
}

/** What reached the other side of a recorder. */
interface Recorded {
  method: string
  url: string
  headers: IncomingHttpHeaders
  bytes: number
}

/** Passes requests on to a port, and keeps what they were. Without a port it answers nothing. */
async function startRecorder() {
  const seen: Recorded[] = []
  const to: { port: number | undefined } = { port: undefined }
  const server: Server = createServer((incoming, outgoing) => {
    const { method = '', url = '', headers } = incoming
    const recorded = { method, url, headers, bytes: 0 }
    seen.push(recorded)
    if (to.port === undefined) return incoming.socket.destroy()
    const passed = plainRequest(
      { host: '127.0.0.1', port: to.port, method, path: url, headers },
      (response) => {
        outgoing.writeHead(response.statusCode ?? 0, response.headers)
        response.pipe(outgoing)
      },
    )
    passed.on('error', () => outgoing.destroy())
    incoming.on('data', (chunk: Buffer) => {
      recorded.bytes += chunk.length
    })
    incoming.pipe(passed)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const close = () => {
    server.close()
    server.closeAllConnections()
  }
  return { seen, to, port, close }
}

async function freePort(): Promise<number> {
  const recorder = await startRecorder()
  recorder.close()
  return recorder.port
}

describe.each(names)('other services behind %s, as its example says', {
  timeout: 120_000,
}, (name) => {
  const agent = new Agent({ keepAlive: true, rejectUnauthorized: false })
  const wallet = newWallet({ clock })
  let entry: Entry
  let proxy: ChildProcess
  let port: number
  let latchkey: Awaited<ReturnType<typeof startRecorder>>
  let backend: Awaited<ReturnType<typeof startRecorder>>
  let direct: ReturnType<typeof connectTo>
  let service: { call: (path: string, init?: RequestInit) => Promise<Response> }
  beforeAll(async () => {
    const folder = emptyFolder()
    chmodSync(folder, 0o755) // nginx's workers are another user.
    const env = {
      DATABASE_URL: `pglite:${join(folder, 'db')}`,
      TRUSTED_PROXIES: '127.0.0.1,::1',
      EXTRA_SCOPES: 'rfq=Ask for quotes; withdraw=Request withdrawals',
      RATE_LIMIT_PER_MINUTE: '1000',
    }
    entry = startEntry(env)
    const url = await entry.url()
    direct = connectTo(url)
    service = { call: (path, init) => fetch(`${url}/api/v1${path}`, init) }
    const { terminal, written } = collectingTerminal({ env })
    const args = ['service-credentials', 'create', '--name', 'proxy', '--json']
    const all = [...args, '--scopes', 'read,rfq,withdraw', '--rate-limit', '100000']
    const exitCode = await administer({ ...terminal, args: all }, () => Date.now())
    expect(exitCode, written.err).toBe(0)
    const { serviceCredential } = JSON.parse(written.out) as { serviceCredential: string }
    latchkey = await startRecorder()
    latchkey.to.port = Number(new URL(url).port)
    const [market, rfq, withdrawals] = await Promise.all(
      ['market-data', 'rfq', 'withdrawals'].map(async (file) => {
        const example = join(ROOT, `examples/forward-auth/${file}.ts`)
        const started = follow(process.execPath, [example], {}, ROOT)
        return Number(new URL(await started.url()).port)
      }),
    )
    backend = await startRecorder()
    backend.to.port = market
    port = await freePort()
    const ports = {
      own: port,
      latchkey: latchkey.port,
      market: backend.port,
      rfq: rfq ?? 0,
      withdrawals: withdrawals ?? 0,
    }
    proxy = START[name](folder, ports, serviceCredential)
    await vi.waitFor(async () => expect((await call('GET', '/market/book')).status).toBe(401), {
      timeout: 60_000,
      interval: 250,
    })
  }, 180_000)
  afterAll(() => {
    agent.destroy()
    direct?.close()
    latchkey?.close()
    backend?.close()
    proxy?.kill('SIGTERM')
  })

  /** `fetch` does not take the test's certificate. */
  async function call(
    method: string,
    path: string,
    {
      key,
      headers = {},
      body,
    }: { key?: string; headers?: Record<string, string>; body?: string } = {},
  ): Promise<{ status: number; headers: IncomingHttpHeaders; body: Record<string, unknown> }> {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request(
        {
          host: '127.0.0.1',
          port,
          servername: 'localhost',
          path,
          agent,
          method,
          headers: {
            host: `localhost:${port}`,
            ...(key !== undefined && { 'X-API-Key': key }),
            ...(body !== undefined && {
              'Content-Type': 'application/json',
              'Content-Length': String(Buffer.byteLength(body)),
            }),
            ...headers,
          },
        },
        resolve,
      )
      sent.once('error', reject)
      sent.end(body)
    })
    const answer = await text(response)
    const { statusCode: status = 0, headers: received } = response
    return { status, headers: received, body: answer === '' ? {} : JSON.parse(answer) }
  }
  const newKey = (members: Record<string, unknown>, by = wallet) => createKey(service, by, members)

  it('gives market data to a key with the scope read', async () => {
    const { apiKey } = await newKey({ permissions: ['read'] })
    const answer = await call('GET', '/market/book?depth=5', { key: apiKey })
    expect(answer).toMatchObject({ status: 200, body: { shownTo: wallet.address } })
    expect(backend.seen.at(-1)?.url).toBe('/market/book?depth=5')
    const bearer = { Authorization: `Bearer ${apiKey}` }
    expect((await call('GET', '/market/book', { headers: bearer })).status).toBe(200)
  })

  it('has a quote taken once, and by the wallet that asked for it', async () => {
    const { apiKey, keyId } = await newKey({ permissions: ['rfq'] })
    const quote = await call('POST', '/rfq/quotes', { key: apiKey, body: '{"amount":"500"}' })
    expect(quote).toMatchObject({ status: 201, body: { walletAddress: wallet.address } })
    const accept = `/rfq/quotes/${quote.body.id}/accept`
    const stranger = await newKey({ permissions: ['rfq'] }, newWallet({ clock }))
    expect((await call('POST', accept, { key: stranger.apiKey })).status).toBe(404)
    const taken = await call('POST', accept, { key: apiKey })
    expect(taken).toMatchObject({ status: 200, body: { amount: '500', acceptedBy: keyId } })
    expect((await call('POST', accept, { key: apiKey })).status).toBe(404)
  })

  it('has a withdrawal made once, to the wallet of the key, at its cost', async () => {
    const { apiKey, keyId } = await newKey({ permissions: ['withdraw'], rateLimit: 22 })
    const withdraw = (members: object) =>
      call('POST', '/withdrawals', { key: apiKey, body: JSON.stringify(members) })
    const one = { id: randomUUID(), amount: '7' }
    const made = { ...one, recipient: wallet.address, requestedBy: keyId }
    expect(await withdraw(one)).toMatchObject({ status: 201, body: made })
    expect(await withdraw(one)).toMatchObject({ status: 200, body: made })
    const { address } = newWallet({ clock })
    const elsewhere = { ...one, id: randomUUID(), recipient: address }
    expect((await withdraw(elsewhere)).status).toBe(403)
    expect((await withdraw({ ...one, amount: '8' })).status).toBe(409)
    // Four at 5 each: of 22 there are 2 left, and no fifth.
    const refused = await withdraw(one)
    expect(refused).toMatchObject({
      status: 429,
      headers: { 'x-ratelimit-limit': '22', 'x-ratelimit-remaining': '2' },
      body: { code: 'RATE_LIMIT_EXCEEDED' },
    })
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    const me = await direct.ask('/me', { key: apiKey })
    expect(me?.headers['x-ratelimit-remaining']).toBe('1')
  })

  it('refuses as Latchkey does: status, body and headers', async () => {
    const { apiKey } = await newKey({ permissions: ['cancel'] })
    const bound = await newKey({ permissions: ['read'], ipAllowlist: ['198.51.100.7'] })
    const cases: [key: string | undefined, status: number, code: ErrorBody['code']][] = [
      [undefined, 401, 'INVALID_API_KEY'],
      ['ck_live_nonsense', 401, 'INVALID_API_KEY'],
      [apiKey, 403, 'PERMISSION_DENIED'],
      [bound.apiKey, 403, 'IP_NOT_ALLOWED'],
    ]
    for (const [key, status, code] of cases) {
      const before = backend.seen.length
      const answer = await call('GET', '/market/book', key === undefined ? {} : { key })
      expect(answer, code).toMatchObject({
        status,
        headers: {
          'content-type': 'application/json',
          'cache-control': 'no-store',
          'x-request-id': expect.stringMatching(/^req_/),
          'ratelimit-policy': expect.stringContaining('w=60'),
          'x-ratelimit-remaining': expect.stringMatching(/^\d+$/),
        },
        body: { code, requestId: answer.headers['x-request-id'] },
      })
      if (status === 401) expect(answer.headers['www-authenticate']).toContain('Bearer')
      expect(backend.seen.length).toBe(before)
    }
    const denied = await call('GET', '/market/book', { key: apiKey })
    expect(denied.headers['www-authenticate']).toBe(
      'Bearer error="insufficient_scope", scope="read"',
    )
  })

  it('takes signed requests: once, on this host, with the content that was signed', async () => {
    const members = { permissions: ['read', 'withdraw'] }
    const { keyId, signer } = await createSigningKey(service, wallet, members)
    const origin = `https://localhost:${port}`
    const sign = (method: string, path: string, more: { body?: string; origin?: string } = {}) =>
      signRequest(signer, {
        method,
        url: `${more.origin ?? origin}${path}`,
        now: Date.now(),
        ...(more.body !== undefined && { body: more.body }),
      })
    const path = '/market/book?depth=5'
    const headers = await sign('GET', path)
    expect(await call('GET', path, { headers })).toMatchObject({ status: 200 })
    expect(backend.seen.at(-1)?.headers['x-auth-key-id']).toBe(keyId)
    const refusal = async (answer: ReturnType<typeof call>) => {
      const { status, body } = await answer
      return [status, body.code]
    }
    expect(await refusal(call('GET', path, { headers }))).toEqual([409, 'REQUEST_REPLAYED'])
    const other = { headers: await sign('GET', path) }
    const invalid = [401, 'INVALID_REQUEST_SIGNATURE']
    expect(await refusal(call('GET', '/market/book?depth=6', other))).toEqual(invalid)
    const elsewhere = { headers: await sign('GET', path, { origin: 'https://other.example' }) }
    expect(await refusal(call('GET', path, elsewhere))).toEqual(invalid)

    const body = JSON.stringify({ id: randomUUID(), amount: '7' })
    const uncovered = { headers: await sign('POST', '/withdrawals'), body }
    expect(await refusal(call('POST', '/withdrawals', uncovered))).toEqual([
      401,
      'SIGNATURE_INCOMPLETE',
    ])
    const swapped = {
      headers: await sign('POST', '/withdrawals', { body }),
      body: '{"amount":"8"}',
    }
    expect((await call('POST', '/withdrawals', swapped)).status).toBe(400)
    const whole = { headers: await sign('POST', '/withdrawals', { body }), body }
    expect((await call('POST', '/withdrawals', whole)).status).toBe(201)
  })

  it('asks for what the route needs, whatever the client writes', async () => {
    const { apiKey } = await newKey({ permissions: ['read'] })
    for (const path of [
      '/rfq/quotes?scope=read&cost=1',
      '/rfq/quotes?scope=read%26scope%3Dread',
      '/withdrawals?scope=read',
      '/withdrawals#?scope=read',
    ])
      for (const headers of [
        {},
        { 'X-Service-Credential': 'ck_service_mine' },
        { 'X-Forwarded-Uri': '/market/book', 'X-Original-URI': '/market/book' },
        { 'X-Auth-Scopes': 'rfq withdraw' },
      ]) {
        const answer = await call('POST', path, { key: apiKey, headers, body: '{}' })
        expect(answer, path).toMatchObject({ status: 403, body: { code: 'PERMISSION_DENIED' } })
      }
  })

  it('hands no header of a stranger, and no secret, to the backend', async () => {
    const { apiKey, keyId } = await newKey({ permissions: ['read'] })
    const victim = newWallet({ clock }).address
    const forged = {
      'X-Auth-Principal': `stacks:1:${victim}`,
      'x-auth-key-id': 'key_forged',
      'X-AUTH-SCOPES': 'withdraw',
      'X-Auth-Admin': 'true',
      X_Auth_Principal: `stacks:1:${victim}`,
      'X-Service-Credential': 'ck_service_forged',
      'X-Forwarded-For': '198.51.100.7',
    }
    const answer = await call('GET', '/market/book', { key: apiKey, headers: forged })
    expect(answer).toMatchObject({ status: 200, body: { shownTo: wallet.address } })
    const { headers } = backend.seen.at(-1) as Recorded
    expect(headers).toMatchObject({
      'x-auth-principal': `stacks:2147483648:${wallet.address}`,
      'x-auth-key-id': keyId,
      'x-auth-scopes': 'read',
    })
    for (const name of ['x_auth_principal', 'x-api-key', 'authorization', 'x-service-credential'])
      expect(headers, name).not.toHaveProperty([name])
    expect(JSON.stringify(headers)).not.toContain(victim)
    expect(JSON.stringify(headers)).not.toContain(apiKey)
    // What the proxy asked was asked as the client's, and as no address that the client names.
    const asked = latchkey.seen.at(-1)
    expect(asked?.headers['x-forwarded-for']).toBe('127.0.0.1')
    expect(asked?.headers['x-forwarded-method']).toBe('GET')
    expect(asked?.headers['x-forwarded-uri']).toBe('/market/book')
  })

  it('keeps the body of a request to itself until the key was admitted', async () => {
    const { apiKey } = await newKey({ permissions: ['read'] })
    const before = latchkey.seen.length
    const body = JSON.stringify({ note: 'x'.repeat(500_000) })
    const answer = await call('POST', '/market/book', { key: apiKey, body })
    expect(answer.status).toBe(404) // The backend's, which reads no body of a path that it does not have.
    const asked = latchkey.seen.slice(before)
    expect(asked.map(({ method, bytes }) => [method, bytes])).toEqual([['GET', 0]])
    expect(backend.seen.at(-1)?.bytes).toBeGreaterThan(0)
  })

  it('admits nothing while Latchkey is away, whatever it answers or does not', async () => {
    const { apiKey } = await newKey({ permissions: ['read'] })
    const live = latchkey.to.port
    const before = backend.seen.length
    const broken = createServer((_, response) => {
      response.writeHead(broken.status, { 'X-Auth-Principal': 'stacks:1:SP' })
      response.end('{}')
    }) as Server & { status: number }
    broken.listen(0, '127.0.0.1')
    await new Promise((resolve) => broken.once('listening', resolve))
    try {
      latchkey.to.port = undefined
      expect((await call('GET', '/market/book', { key: apiKey })).status).toBe(503)
      latchkey.to.port = (broken.address() as AddressInfo).port
      for (const status of [500, 502, 503, 504, 404, 302]) {
        broken.status = status
        const answer = await call('GET', '/market/book', { key: apiKey })
        expect([status, answer.status >= 300]).toEqual([status, true])
      }
      expect(backend.seen.length).toBe(before)
    } finally {
      latchkey.to.port = live
      broken.close()
      broken.closeAllConnections()
    }
    expect((await call('GET', '/market/book', { key: apiKey })).status).toBe(200)
  })
})
