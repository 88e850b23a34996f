import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { verifyWebhook } from '../../src/client/index.ts'
import { signDelivery, webhookSecretBytes, webhookSecretText } from '../../src/notices/signature.ts'
import { startWorkerd, type Workerd } from '../worker/workerd.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** The example that the specification's libraries publish. */
const PUBLISHED = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  timestamp: '1614265330',
  payload: '{"test": 2432232314}',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
}
const now = Date.now()
const secret = webhookSecretText(new Uint8Array(32).fill(7))
const other = webhookSecretText(new Uint8Array(32).fill(8))
const payload = JSON.stringify({
  type: 'order.failed',
  timestamp: new Date(now).toISOString(),
  data: { walletAddress: 'ST1', orderUuid: 'u', status: 'failed', event: 1, note: 'Zürich ✓' },
})
const bytesOf = (text: string) => webhookSecretBytes(text) as Uint8Array

function headersOf(secrets: readonly string[], at = now, body = payload) {
  const signed = { id: 'msg_1', timestamp: String(Math.floor(at / 1_000)), payload: body }
  return {
    'webhook-id': signed.id,
    'webhook-timestamp': signed.timestamp,
    'webhook-signature': signDelivery(secrets.map(bytesOf), signed),
  }
}

describe('a delivery', () => {
  it('is signed as the published example of Standard Webhooks is', () => {
    const { secret, signature, ...signed } = PUBLISHED
    expect(signDelivery([bytesOf(secret)], signed)).toBe(signature)
  })

  it('is verified where an independent implementation signed it, and the other way round', () => {
    const theirs = new StandardWebhook(secret).sign('msg_1', new Date(now), payload)
    const headers = { ...headersOf([secret]), 'webhook-signature': theirs }
    expect(verifyWebhook(payload, headers, secret, { now })).toMatchObject({ type: 'order.failed' })
    expect(new StandardWebhook(secret).verify(payload, headersOf([secret]))).toEqual(
      JSON.parse(payload),
    )
  })

  it('is returned with its id and time, from text or bytes, headers of Fetch or of node:http', () => {
    const given = headersOf([secret])
    const event = verifyWebhook(payload, given, secret, { now })
    expect(event).toEqual({
      ...JSON.parse(payload),
      id: 'msg_1',
      sentAt: new Date(Math.floor(now / 1_000) * 1_000),
    })
    const upper = Object.fromEntries(
      Object.entries(given).map(([name, value]) => [name.toUpperCase(), value]),
    )
    for (const headers of [new Headers(given), upper])
      expect(verifyWebhook(new TextEncoder().encode(payload), headers, secret, { now })).toEqual(
        event,
      )
  })

  it('is verified by one of several secrets, and by one of several signatures', () => {
    for (const [signed, verified] of [
      [[secret], [other, secret]],
      [[other, secret], [secret]],
    ] as const)
      expect(verifyWebhook(payload, headersOf(signed), verified, { now }).id).toBe('msg_1')
    const headers = headersOf([secret])
    const signature = `v1a,${'A'.repeat(86)}== v2,x ${headers['webhook-signature']}`
    const many = { ...headers, 'webhook-signature': signature }
    expect(verifyWebhook(payload, many, secret, { now }).id).toBe('msg_1')
  })

  const headers = headersOf([secret])
  it.each([
    ['another body', () => verifyWebhook(`${payload} `, headers, secret, { now })],
    ['another secret', () => verifyWebhook(payload, headers, other, { now })],
    ['no secret', () => verifyWebhook(payload, headers, [], { now })],
    [
      'another id',
      () => verifyWebhook(payload, { ...headers, 'webhook-id': 'msg_2' }, secret, { now }),
    ],
    [
      'no id',
      () => verifyWebhook(payload, { ...headers, 'webhook-id': undefined }, secret, { now }),
    ],
    [
      'no timestamp',
      () => verifyWebhook(payload, { ...headers, 'webhook-timestamp': '' }, secret, { now }),
    ],
    [
      'a timestamp that is no number',
      () => verifyWebhook(payload, { ...headers, 'webhook-timestamp': '1e9' }, secret, { now }),
    ],
    [
      'no signature',
      () => verifyWebhook(payload, { ...headers, 'webhook-signature': '' }, secret, { now }),
    ],
    [
      'an empty signature',
      () => verifyWebhook(payload, { ...headers, 'webhook-signature': 'v1,' }, secret, { now }),
    ],
    [
      'a part of a signature',
      () =>
        verifyWebhook(
          payload,
          { ...headers, 'webhook-signature': headers['webhook-signature'].slice(0, -1) },
          secret,
          { now },
        ),
    ],
    [
      'a signature of another version',
      () =>
        verifyWebhook(
          payload,
          { ...headers, 'webhook-signature': headers['webhook-signature'].replace('v1', 'v2') },
          secret,
          { now },
        ),
    ],
    [
      'a time that is too long ago',
      () => verifyWebhook(payload, headersOf([secret], now - 301_000), secret, { now }),
    ],
    [
      'a time ahead',
      () => verifyWebhook(payload, headersOf([secret], now + 302_000), secret, { now }),
    ],
    [
      'a tolerance that is none',
      () => verifyWebhook(payload, headers, secret, { now, toleranceSeconds: Number.NaN }),
    ],
    [
      'a payload that is no JSON',
      () => verifyWebhook('x', headersOf([secret], now, 'x'), secret, { now }),
    ],
    [
      'a payload without a type',
      () => verifyWebhook('{}', headersOf([secret], now, '{}'), secret, { now }),
    ],
  ])('is refused with %s', (_, verify) => {
    expect(verify).toThrow(expect.objectContaining({ code: 'WEBHOOK_INVALID' }))
  })

  it('is good for as long as the caller says', () => {
    const early = headersOf([secret], now - 299_000)
    expect(verifyWebhook(payload, early, secret, { now }).id).toBe('msg_1')
    const old = headersOf([secret], now - 3_000_000)
    expect(verifyWebhook(payload, old, secret, { now, toleranceSeconds: 3_600 }).id).toBe('msg_1')
  })

  it.each([
    '',
    'whsec_',
    'whsec_AAAA',
    'whsec_!',
    `whsec_${'A'.repeat(200)}`,
  ])('is verified with no secret that is none: %s', (wrong) => {
    expect(() => verifyWebhook(payload, headers, wrong, { now })).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
  })
})

it('is verified in Python with its standard library, by the example of the docs', () => {
  const program = join(ROOT, 'examples/wire/verify_webhook.py')
  const verify = (secrets: string, headers: Record<string, string>, body: string) => {
    const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
    try {
      const input = `${head.join('\n')}\n\n${body}`
      return execFileSync('python3', [program, secrets], { input, encoding: 'utf8' }).trim()
    } catch (error) {
      return (error as { stdout: string }).stdout.trim()
    }
  }
  const fresh = headersOf([secret], Date.now())
  expect(verify(`${other},${secret}`, fresh, payload)).toBe('order.failed msg_1')
  expect(verify(secret, headersOf([other, secret], Date.now()), payload)).toBe('order.failed msg_1')
  expect(verify(other, fresh, payload)).toBe('refused: it is not signed with the secret')
  expect(verify(secret, fresh, `${payload} `)).toBe('refused: it is not signed with the secret')
  expect(verify(secret, headersOf([secret], Date.now() - 400_000), payload)).toMatch(/^refused/)
  expect(verify(secret, { ...fresh, 'webhook-id': '' }, payload)).toMatch(/^refused/)
})

it('is received by the example in TypeScript, and acted upon once', async () => {
  const child = spawn(process.execPath, [join(ROOT, 'examples/typescript/receive-webhooks.ts')], {
    env: { PATH: process.env.PATH, PORT: '0', WEBHOOK_SECRET: secret },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => (await lines.next()).value as string
  const port = /listening on (\d+)/.exec(await next())?.[1]
  const send = async (headers: Record<string, string>, body: string) =>
    (await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', headers, body })).status
  const fresh = headersOf([secret], Date.now())
  expect(await send(fresh, payload)).toBe(204)
  expect(await next()).toBe('order.failed: u')
  expect(await send(fresh, payload)).toBe(204)
  expect(await send(fresh, `${payload} `)).toBe(400)
  expect(await send(fresh, 'x'.repeat(70_000))).toBe(413)
  const later = { ...fresh, 'webhook-id': 'msg_2' }
  expect(await send(later, payload)).toBe(400)
  child.kill()
  await once(child, 'exit')
  expect((await lines.next()).done).toBe(true)
})

describe('in workerd', () => {
  let workerd: Workerd
  let folder: string
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'latchkey-verify-'))
    await build({
      stdin: {
        contents: `import { verifyWebhook } from './src/client/index.ts'
          export default { async fetch(request) {
            try {
              return Response.json(verifyWebhook(await request.text(), request.headers, '${secret}'))
            } catch ({ code }) { return new Response(code, { status: 400 }) }
          } }`,
        resolveDir: ROOT,
        loader: 'ts',
      },
      bundle: true,
      format: 'esm',
      outfile: join(folder, 'worker.js'),
    })
    workerd = await startWorkerd(folder)
  }, 60_000)
  afterAll(async () => {
    await workerd?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  it('is verified as everywhere', async () => {
    const send = (headers: Record<string, string>, body: string) =>
      workerd.fetch('/', { method: 'POST', headers, body })
    const fresh = headersOf([secret], Date.now())
    expect(await (await send(fresh, payload)).json()).toMatchObject({ id: 'msg_1' })
    expect(await (await send(fresh, `${payload} `)).text()).toBe('WEBHOOK_INVALID')
  })
})
