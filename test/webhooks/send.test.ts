import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer, type Server } from 'node:https'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openSender, resolveHost } from '../../src/node/webhooks.ts'
import { announce } from '../../src/notices/announce.ts'
import { readTarget, type Target } from '../../src/webhooks/target.ts'
import type { Webhook } from '../../src/webhooks/webhook.ts'
import { answered, refused } from '../support/assertions.ts'
import { type Service, startService } from '../support/service.ts'
import { newWallet } from '../support/wallet.ts'
import { changeWebhook, createWebhook, deliverAll } from './own.ts'
import { startReceiver } from './receiver.ts'

const NAME = 'hooks.example'
const SENDER = fileURLToPath(new URL('../../src/node/webhooks.ts', import.meta.url))
const REQUEST = { headers: { 'webhook-id': 'msg_1' }, body: '{}', timeoutMs: 2_000 }

function targetOf(url: string): Target {
  const read = readTarget(url, 'devnet')
  if (!read.ok) throw new Error(read.reason)
  return read.value
}

describe('a delivery', () => {
  let folder: string
  let ca: string
  let server: Server
  let port: number
  const seen: {
    host: string | undefined
    name: string | false | null
    path: string | undefined
  }[] = []
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'latchkey-tls-'))
    const [key, certificate] = [join(folder, 'key.pem'), join(folder, 'certificate.pem')]
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-days',
        '2',
      ]
        .concat(['-subj', `/CN=${NAME}`, '-addext', `subjectAltName=DNS:${NAME}`])
        .concat(['-keyout', key, '-out', certificate]),
      { stdio: 'ignore' },
    )
    ca = readFileSync(certificate, 'utf8')
    server = createHttpsServer({ key: readFileSync(key), cert: ca }, (request, response) => {
      const { servername } = request.socket as TLSSocket
      seen.push({ host: request.headers.host, name: servername, path: request.url })
      response.writeHead(204).end()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    port = (server.address() as AddressInfo).port
  })
  afterAll(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    rmSync(folder, { recursive: true })
  })

  it('goes to exactly the address that was checked, with the name in SNI, certificate and Host', async () => {
    // No resolver has this name: only the address leads there.
    const target = targetOf(`https://${NAME}:${port}/hook?a=1`)
    const reply = await openSender({ ca })(target, '127.0.0.1', REQUEST)
    expect(reply).toEqual({ status: 204, retryAfter: undefined })
    expect(seen).toEqual([{ host: `${NAME}:${port}`, name: NAME, path: '/hook?a=1' }])
  })

  it('is not made to a server without a certificate of that name', async () => {
    const target = targetOf(`https://other.example:${port}/`)
    await expect(openSender({ ca })(target, '127.0.0.1', REQUEST)).rejects.toThrow('TLS failed')
    const known = targetOf(`https://${NAME}:${port}/`)
    await expect(openSender()(known, '127.0.0.1', REQUEST)).rejects.toThrow('TLS failed')
    expect(seen).toHaveLength(1)
  })

  it('takes no proxy of the environment', async () => {
    let asked = 0
    const proxy = createTcpServer((socket) => {
      asked += 1
      socket.destroy()
    }).listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    const receiver = await startReceiver()
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
    const code = `const { openSender } = await import(${JSON.stringify(SENDER)})
      const url = new URL(${JSON.stringify(receiver.url)})
      const target = { url, host: url.hostname, port: Number(url.port), isLocal: true }
      const reply = await openSender()(target, '127.0.0.1', ${JSON.stringify(REQUEST)})
      if (reply.status !== 204) process.exit(1)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
      env: {
        ...{ PATH: process.env.PATH, NODE_USE_ENV_PROXY: '1', NO_PROXY: '' },
        ...{ HTTP_PROXY: url, http_proxy: url, HTTPS_PROXY: url, ALL_PROXY: url },
      },
      stdio: 'inherit',
    })
    expect((await once(child, 'exit'))[0]).toBe(0)
    expect([asked, receiver.received.length]).toEqual([0, 1])
    await receiver.close()
    await new Promise((resolve) => proxy.close(resolve))
  })

  it('follows no redirect, waits no longer than its time, and reads no more than a little', async () => {
    const server = createHttpServer((request, response) => {
      if (request.url === '/moved') response.writeHead(302, { location: '/' }).end()
      if (request.url === '/headers') response.writeHead(200, { a: 'x'.repeat(20_000) }).end()
      if (request.url === '/switch')
        request.socket.end('HTTP/1.1 101 Switching\r\nUpgrade: a\r\n\r\n')
      if (request.url === '/garbage') request.socket.end('SSH-2.0-OpenSSH\r\n')
      if (request.url === '/closed') request.socket.destroy()
      if (request.url === '/body') {
        response.writeHead(200)
        const more = () => void response.write('x'.repeat(65_536), (error) => error || more())
        more()
      }
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const send = (path: string) =>
      openSender()(targetOf(`http://127.0.0.1:${port}${path}`), '127.0.0.1', {
        ...REQUEST,
        timeoutMs: 300,
      }).then(
        ({ status }) => status,
        (error: Error) => error.message,
      )
    expect(await send('/moved')).toBe(302)
    expect(await send('/silent')).toBe('no response in time')
    expect(await send('/headers')).toBe('no response')
    expect(await send('/switch')).toBe(101)
    expect(await send('/garbage')).toBe('no response')
    expect(await send('/closed')).toBe('connection closed')
    expect(await send('/body')).toBe(200)
    await expect.poll(() => connections(server)).toBe(0)
    await new Promise((resolve) => server.close(resolve))
    const gone = targetOf(`http://127.0.0.1:${port}/`)
    await expect(openSender()(gone, '127.0.0.1', REQUEST)).rejects.toThrow('connection refused')
  })
})

function connections(server: ReturnType<typeof createHttpServer>): Promise<number> {
  return new Promise((resolve, reject) =>
    server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  )
}

it('looks up addresses as they are, and names that no resolver has as none', async () => {
  expect(await resolveHost('8.8.8.8')).toEqual(['8.8.8.8'])
  expect(await resolveHost('::1')).toEqual(['::1'])
  expect(await resolveHost('localhost')).toContain('127.0.0.1')
})

describe('a name', () => {
  /** What the resolver says next; null is an outage. */
  let addresses: string[] | null
  const sent: { address: string; host: string }[] = []
  const start = (env: Record<string, string> = {}) =>
    startService('PGlite', {
      env,
      change: (world) => ({
        ...world,
        webhookPorts: {
          async resolve() {
            if (addresses === null) throw new Error('SERVFAIL')
            return addresses
          },
          async send({ host }, address) {
            sent.push({ address, host })
            return { status: 200, retryAfter: undefined }
          },
        },
      }),
    })
  let service: Service
  beforeAll(async () => {
    service = await start()
  })
  afterAll(() => service.close())

  it.each([
    ['127.0.0.1'],
    ['::1'],
    ['10.1.2.3'],
    ['169.254.169.254'],
    ['100.64.0.1'],
    ['224.0.0.1'],
    ['fe80::1'],
    ['fd00::1'],
    ['::ffff:10.0.0.1'],
    ['64:ff9b::a00:1'],
  ])('that leads to %s is refused when the webhook is created, when it is changed, and when it is delivered', async (address) => {
    const wallet = newWallet(service)
    const url = 'https://bot.example/'
    const refusal = async (response: Promise<Response>) =>
      (await refused(await response, 'webhookUrlRefused')).details
    addresses = ['8.8.8.8', address]
    const reason = { reason: 'private_address' }
    expect(await refusal(changeWebhook(service, wallet, 'create_webhook', { url }))).toEqual(reason)

    addresses = ['8.8.8.8']
    const { webhookId } = await createWebhook(service, wallet, { url })
    addresses = [address]
    const change = { webhookId, url: 'https://other.example/' }
    expect(await refusal(changeWebhook(service, wallet, 'update_webhook', change))).toEqual(reason)
    const before = sent.length
    await announce(service.world.db, {
      walletAddress: wallet.address,
      type: 'key.leaked',
      data: {},
      at: service.clock.now,
    })
    await deliverAll(service)
    expect(sent.length).toBe(before)
    const headers = wallet.signHeaders({ action: 'list_webhooks' })
    const { webhooks } = await answered<{ webhooks: Webhook[] }>(
      await service.call('/webhooks', { headers }),
    )
    expect(webhooks).toMatchObject([{ lastFailure: 'private_address', status: 'failing' }])

    addresses = ['9.9.9.9', '2620:fe::fe']
    service.clock.now += 60_000
    await deliverAll(service)
    // The second attempt takes the second address, and no other one than was looked up for it.
    expect(sent.slice(before)).toEqual([{ address: '2620:fe::fe', host: 'bot.example' }])
  })

  it('that nothing has is refused, and where the resolver is away nothing is created', async () => {
    const wallet = newWallet(service)
    const create = () =>
      changeWebhook(service, wallet, 'create_webhook', { url: 'https://bot.example/' })
    addresses = []
    expect((await refused(await create(), 'webhookUrlRefused')).details).toEqual({
      reason: 'name_not_found',
    })
    addresses = null
    expect((await refused(await create(), 'unavailable')).details).toEqual({ reason: 'resolver' })
  })

  it('is not even looked up where webhooks are off, and what was created then still is listed and deleted', async () => {
    addresses = ['8.8.8.8']
    const off = await start({ WEBHOOKS: 'off' })
    const wallet = newWallet(off)
    const url = 'https://bot.example/'
    const create = await changeWebhook(off, wallet, 'create_webhook', { url })
    expect((await refused(create, 'webhooksOff')).details).toEqual({ reason: 'setting' })
    expect(await off.world.deliverer?.pass(off.world)).toBe(true)
    const headers = wallet.signHeaders({ action: 'list_webhooks' })
    expect(await answered(await off.call('/webhooks', { headers }))).toMatchObject({ webhooks: [] })
    const gone = await changeWebhook(off, wallet, 'delete_webhook', { webhookId: 'wh_1' })
    await refused(gone, 'webhookNotFound')
    await off.close()
  })
})
