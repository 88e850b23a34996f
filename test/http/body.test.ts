import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MAX_BODY_BYTES } from '../../src/http/body.ts'
import { answered, asksNothing, changesNothing, refused } from '../support/assertions.ts'
import type { Service } from '../support/service.ts'
import { createKey, createOrder, newWallet, type Wallet } from '../support/wallet.ts'
import { startService } from './documented.ts'

interface Endpoint {
  title: string
  method: string
  path: (uuid: string) => string
  body: (uuid: string) => object
}

describe('A body', () => {
  let service: Service
  let wallet: Wallet
  let uuid: string
  beforeAll(async () => {
    service = await startService('Postgres')
    wallet = newWallet(service)
    uuid = await createOrder(service, wallet)
  })
  afterAll(() => service.close())

  const endpoints: Endpoint[] = [
    {
      title: 'POST /api-keys',
      method: 'POST',
      path: () => '/api-keys',
      body: () => wallet.sign({ action: 'create_api_key', keyName: 'a', permissions: [] }),
    },
    {
      title: 'DELETE /api-keys/{keyId}',
      method: 'DELETE',
      path: () => '/api-keys/key_1',
      body: () => wallet.sign({ action: 'delete_api_key', keyId: 'key_1' }),
    },
    {
      title: 'POST /orders/new',
      method: 'POST',
      path: () => '/orders/new',
      body: () => wallet.order(),
    },
    {
      title: 'POST /orders/{uuid}/execute',
      method: 'POST',
      path: (uuid) => `/orders/${uuid}/execute`,
      body: (uuid) => wallet.sign({ action: 'execute_order', uuid }),
    },
    {
      title: 'PATCH /orders/{uuid}/cancel',
      method: 'PATCH',
      path: (uuid) => `/orders/${uuid}/cancel`,
      body: (uuid) => wallet.sign({ action: 'cancel_order', uuid }),
    },
    {
      title: 'POST /devnet/faucet',
      method: 'POST',
      path: () => '/devnet/faucet',
      body: () => ({ address: wallet.address }),
    },
  ]

  describe.each(endpoints)('of $title', ({ method, path, body }) => {
    const send = (content: BodyInit, headers: Record<string, string> = {}) =>
      service.call(path(uuid), { method, body: content, headers, duplex: 'half' } as RequestInit)

    it.each([
      ['no JSON', () => 'message=1&signature=2'],
      ['white space', () => ' \n'],
      ['half of it', (text: string) => text.slice(0, -10)],
      ['two of it', (text: string) => text + text],
      ['a byte-order mark before it', (text: string) => `\ufeff${text}`],
      ['NUL after it', (text: string) => `${text}\u0000`],
      ['a member twice', (text: string) => text.replace(/\{("\w+")/, '{$1:"x",$1')],
      [
        'a member twice, once escaped',
        (text: string) => text.replace(/\{"(\w)/, '{"\\u0061":1,"a":2,"$1'),
      ],
      ['an unknown member', (text: string) => text.replace('{', '{"unknown":true,')],
      [
        'a member called __proto__',
        (text: string) => text.replace('{', '{"__proto__":{"admin":true},'),
      ],
      ['a list', (text: string) => `[${text}]`],
      ['a string', (text: string) => JSON.stringify(text)],
      ['null', () => 'null'],
      ['a number', () => '1e999'],
      ['true', () => 'true'],
      ['nothing but braces', () => '{}'],
      [
        'a member less',
        (text: string) => text.replace(/"(address|signature)":"[^"]*",?/, '').replace(/,\}$/, '}'),
      ],
      ['numbers for texts', (text: string) => text.replaceAll(/:"[^"\\]*"/g, ':1')],
      ['lists for texts', (text: string) => text.replaceAll(/:("[^"\\]*")/g, ':[$1]')],
      ['objects for texts', (text: string) => text.replaceAll(/:("[^"\\]*")/g, ':{"a":$1}')],
      ['null for texts', (text: string) => text.replaceAll(/:"[^"\\]*"/g, ':null')],
      ['half of an emoji', (text: string) => text.replace(/"\}$/, '\\ud83d"}')],
      ['half of an emoji as a name', (text: string) => text.replace('{', '{"\\udc00":1,')],
      ['a nest 5,000 deep', () => '['.repeat(5_000) + ']'.repeat(5_000)],
      ['a nest of objects', () => `${'{"a":'.repeat(1_000)}1${'}'.repeat(1_000)}`],
    ])('is refused when it is or has %s', async (_, change) => {
      const text = change(JSON.stringify(body(uuid)))
      await changesNothing(service, async () => refused(await send(text), 'invalidRequest'))
    })

    it('is refused when it is not UTF-8', async () => {
      const text = Buffer.from(JSON.stringify(body(uuid)))
      const broken = [
        Buffer.concat([text.subarray(0, -2), Buffer.from([0xff]), text.subarray(-2)]),
        Buffer.concat([text.subarray(0, -2), Buffer.from([0xed, 0xa0, 0x80]), text.subarray(-2)]),
        Buffer.concat([text.subarray(0, -2), Buffer.from([0xc0, 0x80]), text.subarray(-2)]),
        Buffer.from(text.toString(), 'utf16le'),
        Buffer.from([0x1f, 0x8b, 0, 0]),
      ]
      for (const bytes of broken)
        await asksNothing(service, async () => refused(await send(bytes), 'invalidRequest'))
    })

    it('is refused by the name of its encoding when that is not UTF-8', async () => {
      const text = JSON.stringify(body(uuid))
      const wide = Buffer.from(text, 'utf16le')
      const forms: [Uint8Array<ArrayBuffer>, RegExp][] = [
        [Buffer.from(`\ufeff${text}`), /byte-order mark/],
        [Buffer.from(`\ufeff${text}`, 'utf16le'), /UTF-16/],
        [Uint8Array.from(Buffer.from(`\ufeff${text}`, 'utf16le').swap16()), /UTF-16/],
        [wide, /UTF-16/],
        [Uint8Array.from(Buffer.from(wide).swap16()), /UTF-16/],
        [gzipSync(text), /compressed/],
      ]
      for (const [bytes, problem] of forms) {
        const { details } = await refused(await send(bytes), 'invalidRequest')
        expect(details?.problem).toMatch(problem)
      }
    })

    it.each([
      ['Content-Encoding', 'gzip', 'Accept-Encoding', 'identity'],
      ['Content-Encoding', 'br, identity', 'Accept-Encoding', 'identity'],
      ['Content-Encoding', 'aes128gcm', 'Accept-Encoding', 'identity'],
      ['Content-Type', 'application/xml', 'Accept', 'application/json'],
      ['Content-Type', 'multipart/form-data; boundary=a', 'Accept', 'application/json'],
      ['Content-Type', 'application/octet-stream', 'Accept', 'application/json'],
      ['Content-Type', 'application/json; charset=utf-16', 'Accept', 'application/json'],
      ['Content-Type', 'application/json; charset=iso-8859-1', 'Accept', 'application/json'],
    ])('is refused as not understood, and not as broken, with %s: %s', async (name, value, accept, supported) => {
      const text = JSON.stringify(body(uuid))
      for (const content of [text, gzipSync(text)])
        await asksNothing(service, async () => {
          const response = await send(content, { [name]: value })
          expect(response.headers.get(accept)).toBe(supported)
          const { details } = await refused(response, 'unsupportedMedia')
          expect(details).toMatchObject({ supported: [supported] })
        })
    })

    it(`is refused when it is larger than ${MAX_BODY_BYTES} bytes, said or unsaid`, async () => {
      const text = JSON.stringify(body(uuid)).padEnd(MAX_BODY_BYTES + 1)
      const { details } = await refused(await send(text), 'bodyTooLarge')
      expect(details).toEqual({ maxBytes: MAX_BODY_BYTES })
      await refused(await send(text, { 'Content-Length': '10' }), 'bodyTooLarge')
      await refused(await send('{}', { 'Content-Length': '1000000000' }), 'bodyTooLarge')
      let pulled = 0
      const endless = new ReadableStream({
        pull(controller) {
          pulled += 1
          controller.enqueue(new Uint8Array(1_024).fill(0x20))
        },
      })
      await refused(await send(endless), 'bodyTooLarge')
      expect(pulled).toBeLessThan(MAX_BODY_BYTES / 1_024 + 10)
    })

    it.each([
      { 'Content-Type': 'text/plain;charset=UTF-8' },
      { 'Content-Type': 'application/x-www-form-urlencoded' },
      { 'Content-Type': 'Application/JSON ; Charset="utf-8"', 'Content-Encoding': 'identity' },
      { 'Content-Type': 'application/problem+json' },
      { 'Content-Type': '' },
    ])('is read with white space, and whatever a client says by default of JSON: %j', async (headers: Record<
      string,
      string
    >) => {
      const text = JSON.stringify(body(uuid)).padEnd(MAX_BODY_BYTES)
      const response = await send(text, headers)
      // The key of DELETE does not exist, the execute has no funds: both are past their body.
      expect([200, 201, 400, 404, 409, 502]).toContain(response.status)
      const { code } = (await response.json()) as { code?: string }
      expect(code).not.toBe('INVALID_REQUEST')
    })
  })

  it('may be cut anywhere on its way', async () => {
    const bytes = Buffer.from(
      JSON.stringify(
        wallet.sign({ action: 'create_api_key', keyName: '機械人 👩‍🚀', permissions: [] }),
      ),
    )
    const body = new ReadableStream({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte))
        controller.close()
      },
    })
    const init = { method: 'POST', body, duplex: 'half' } as RequestInit
    await answered(await service.call('/api-keys', init), 201)
  })

  it('is not read before a key is found good', async () => {
    const headers = { 'X-API-Key': 'no key' }
    const init = { method: 'POST', headers, body: 'x'.repeat(MAX_BODY_BYTES + 1) }
    await refused(await service.call('/orders/new', init), 'apiKeyInvalid')
    const { apiKey } = await createKey(service, wallet)
    init.headers = { 'X-API-Key': apiKey }
    await refused(await service.call('/orders/new', init), 'bodyTooLarge')
  })
})
