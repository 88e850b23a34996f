import { describe, expect, it } from 'vitest'
import { systemClock } from '../../src/client/clock.ts'
import { AbortError, type Client, LatchkeyError, walletSigner } from '../../src/client/index.ts'
import { signMessage } from '../../src/stacks/sign.ts'
import { API_KEY, DRAFT, info, NOON, PRIVATE_KEY, refusal, scripted, signer } from './scripted.ts'

const limited = (headers: Record<string, string> = { 'Retry-After': '7' }) =>
  refusal(429, 'RATE_LIMIT_EXCEEDED', {}, headers)
const away = (headers: Record<string, string> = { 'Retry-After': '2' }) =>
  refusal(503, 'UNAVAILABLE', {}, headers)
const executed = { body: { status: 'success', txid: '0xabc', data: { uuid: 'uuid-1' } } }

describe('A call that is refused for its rate', () => {
  it('waits for as long as Retry-After says, and is made again', async () => {
    const { client, sent, waits } = scripted([limited(), executed], { apiKey: API_KEY })
    expect((await client.orders.execute('uuid-1')).txid).toBe('0xabc')
    expect(waits).toEqual([7_000])
    expect(sent).toHaveLength(2)
  })

  it('is repeated exactly maxRetries times', async () => {
    const script = [limited(), limited(), limited(), limited(), executed]
    const { client, sent, waits, left } = scripted(script, { apiKey: API_KEY, maxRetries: 3 })
    await expect(client.orders.execute('uuid-1')).rejects.toMatchObject({ status: 429 })
    expect([sent.length, waits.length, left.length]).toEqual([4, 3, 1])
  })

  it('is never repeated when maxRetries is 0', async () => {
    const { client, waits } = scripted([limited()], { apiKey: API_KEY, maxRetries: 0 })
    const error = await client.orders.execute('uuid-1').catch((error) => error)
    expect(error).toMatchObject({ code: 'RATE_LIMIT_EXCEEDED', retryAfterSeconds: 7 })
    expect(waits).toEqual([])
  })

  it.each([
    ['a date in Retry-After', { 'Retry-After': new Date(NOON + 9_000).toUTCString() }, 9_000],
    [
      'the end of the window, without Retry-After',
      { 'X-RateLimit-Reset': String(NOON / 1000 + 11) },
      11_000,
    ],
    ['a second has passed, when nothing says how long', {}, 1_000],
    ['now, when the window has ended', { 'Retry-After': '0' }, 0],
  ])('waits until %s', async (_, headers, ms) => {
    const { client, waits } = scripted([limited(headers), executed], { apiKey: API_KEY })
    await client.orders.execute('uuid-1')
    expect(waits).toEqual([ms])
  })

  it('fails at once when the wait would be longer than maxRetryWaitMs', async () => {
    const script = [limited({ 'Retry-After': '61' })]
    const { client, waits } = scripted(script, { apiKey: API_KEY })
    await expect(client.orders.execute('uuid-1')).rejects.toMatchObject({ retryAfterSeconds: 61 })
    expect(waits).toEqual([])
  })

  it('stops waiting when its signal aborts, and says with which reason', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    const clock = {
      now: () => NOON,
      wait: (ms: number, signal: AbortSignal) => {
        setImmediate(() => controller.abort(reason))
        return systemClock.wait(ms, signal)
      },
    }
    const { client, sent } = scripted([limited(), executed], { apiKey: API_KEY, clock })
    const error = await client.orders
      .execute('uuid-1', { signal: controller.signal })
      .catch((error) => error)
    expect(error).toBeInstanceOf(AbortError)
    expect(error).toMatchObject({ code: 'ABORTED', name: 'AbortError', cause: reason })
    expect(sent).toHaveLength(1)
  })

  it('is not made at all once the signal of the client has aborted', async () => {
    const signal = AbortSignal.abort(new Error('closed'))
    const { client, sent } = scripted([executed], { apiKey: API_KEY, signal })
    await expect(client.orders.execute('uuid-1')).rejects.toMatchObject({
      code: 'ABORTED',
      cause: new Error('closed'),
    })
    expect(sent).toEqual([])
  })
})

describe('A service that is away for a moment', () => {
  const order = { body: { data: { uuid: 'uuid-1' } } }

  it.each([
    ['orders.get', 'get', order],
    ['orders.execute', 'execute', executed],
    ['orders.cancel', 'cancel', order],
  ] as const)('is asked again by %s', async (_, call, answer) => {
    const { client, waits } = scripted([away(), answer], { apiKey: API_KEY })
    await client.orders[call]('uuid-1')
    expect(waits).toEqual([2_000])
  })

  it('is asked again by orders.create, with the same uuid and the same signature', async () => {
    const { client, sent } = scripted([away(), { status: 201, ...order }], { signer })
    await client.orders.create({ ...DRAFT })
    expect(sent).toHaveLength(2)
    expect(sent[1]?.body).toEqual(sent[0]?.body)
  })

  it('is asked again by keys.delete', async () => {
    const { client, sent } = scripted([away(), { body: { message: 'revoked' } }], { signer })
    expect(await client.keys.delete('key_1')).toEqual({ message: 'revoked' })
    expect(sent).toHaveLength(2)
  })

  it('is not asked for a second key where it makes the secrets itself: that of the first may be lost', async () => {
    const { client, sent } = scripted([away()], { signer })
    const creating = client.keys.create({ name: 'bot', permissions: [] })
    await expect(creating).rejects.toMatchObject({ code: 'UNAVAILABLE', retryAfterSeconds: 2 })
    expect(sent).toHaveLength(1)
  })

  it('is asked again after waits that double, half of each at random, when it does not say when', async () => {
    const script = Array.from({ length: 8 }, () => away({}))
    const { client, waits } = scripted(script, { apiKey: API_KEY, maxRetries: 7 })
    await expect(client.orders.get('uuid-1')).rejects.toMatchObject({ status: 503 })
    const longest = [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]
    expect(waits).toHaveLength(longest.length)
    for (const [at, most] of longest.entries()) {
      expect(waits[at]).toBeGreaterThanOrEqual(most / 2)
      expect(waits[at]).toBeLessThanOrEqual(most)
    }
    expect(new Set(waits.map((wait, at) => wait / (longest[at] ?? 1))).size).toBeGreaterThan(1)
  })

  it.each([
    ['a lost connection', new TypeError('fetch failed')],
    ['a fault of the service', refusal(500, 'INTERNAL')],
    ['a request that came too slowly', refusal(408, 'REQUEST_TIMEOUT')],
    ['a fault of a proxy', { status: 502, body: '<html>Bad Gateway</html>' }],
    ['the patience of a proxy', { status: 504, body: '' }],
    ['a response that was cut short', { body: '{"data": {"uuid": "uu' }],
  ])('is asked again after %s', async (_, answer) => {
    const { client, sent } = scripted([answer, order], { apiKey: API_KEY })
    await client.orders.get('uuid-1')
    expect(sent).toHaveLength(2)
  })

  it.each([
    ['an execution that failed', refusal(502, 'EXECUTION_FAILED')],
    ['a page that is no API', { body: '<html>Welcome</html>' }],
    ['a refusal', refusal(400, 'ORDER_NOT_OPEN')],
  ])('is not asked again after %s', async (_, answer) => {
    const { client, sent } = scripted([answer], { apiKey: API_KEY })
    await expect(client.orders.execute('uuid-1')).rejects.toBeInstanceOf(LatchkeyError)
    expect(sent).toHaveLength(1)
  })

  it('is asked again for anything when the connection was refused: nothing had been sent', async () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    const failed = new TypeError('fetch failed', { cause })
    const { client, sent } = scripted([failed, { status: 201, body: {} }], { signer })
    await client.sessions.open(60)
    expect(sent[1]?.body).toEqual(sent[0]?.body)
  })

  it.each([
    ['sessions.open', (client: Client) => client.sessions.open(60)],
    ['keys.rotate', (client: Client) => client.keys.rotate('key_1', 60)],
    ['devnet.faucet', (client: Client) => client.devnet.faucet(signer.address)],
  ])('is not asked again by %s, whose result would be lost or doubled', async (_, call) => {
    const { client, sent } = scripted([new TypeError('fetch failed')], { signer })
    await expect(call(client)).rejects.toMatchObject({ code: 'UNREACHABLE' })
    expect(sent).toHaveLength(1)
  })

  it('is not asked with another message when the outcome of the first is unknown', async () => {
    const script = [new TypeError('fetch failed'), away({ 'Retry-After': '300' })]
    const { client, sent } = scripted(script, { signer, maxRetryWaitMs: 600_000 })
    await expect(client.keys.suspend('key_1')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    expect(sent.map(({ body }) => body.message)).toEqual(Array(2).fill(sent[0]?.body.message))
  })
})

describe('A signed message', () => {
  const created = { status: 201, body: { apiKey: API_KEY } }

  it('is sent again after a 429, the same one, while it is fresh', async () => {
    const { client, sent } = scripted([limited(), created], { signer })
    await client.keys.create({ name: 'bot', permissions: [] })
    expect(sent[1]?.body).toEqual(sent[0]?.body)
  })

  it('is signed anew once it has become stale', async () => {
    const script = [limited({ 'Retry-After': '241' }), created]
    const { client, sent } = scripted(script, { signer, maxRetryWaitMs: 600_000 })
    await client.keys.create({ name: 'bot', permissions: [] })
    const [first, second] = sent.map(({ body }) => JSON.parse(body.message).timestamp)
    expect([first, second]).toEqual([NOON, NOON + 241_000])
  })

  it.each([
    ['sooner', 60, [0, 49_000]],
    ['later', 600, [0, 0]],
  ])('is stale %s where the service says so: after %i s', async (_, maxAge, expected) => {
    const limits = { ...info.limits, signatureMaxAgeSeconds: maxAge }
    const { client, sent } = scripted([limited({ 'Retry-After': '49' }), created], {
      signer,
      info: { ...info, limits },
    })
    await client.keys.create({ name: 'bot', permissions: [] })
    const dates = sent.map(({ body }) => JSON.parse(body.message).timestamp - NOON)
    expect(dates).toEqual(expected)
  })

  it('is fresh for the usual time where the service does not say for how long', async () => {
    const { limits: _, ...older } = info
    const script = [limited({ 'Retry-After': '200' }), created]
    const { client, sent } = scripted(script, { signer, info: older, maxRetryWaitMs: 600_000 })
    await client.keys.create({ name: 'bot', permissions: [] })
    expect(sent[1]?.body).toEqual(sent[0]?.body)
  })

  const tooOld = refusal(401, 'EXPIRED_TIMESTAMP', { details: { serverTime: NOON + 540_000 } })

  it("is dated by the service's clock and signed once more when this clock is wrong", async () => {
    const { client, sent } = scripted([tooOld, created, created], { signer })
    await client.keys.create({ name: 'bot', permissions: [] })
    await client.keys.create({ name: 'bot 2', permissions: [] })
    const dates = sent.map(({ body }) => JSON.parse(body.message).timestamp - NOON)
    expect(dates).toEqual([0, 540_000, 540_000])
  })

  it('is signed once more and not twice', async () => {
    const { client, sent } = scripted([tooOld, tooOld], { signer })
    const creating = client.keys.create({ name: 'bot', permissions: [] })
    await expect(creating).rejects.toMatchObject({ code: 'EXPIRED_TIMESTAMP' })
    expect(sent).toHaveLength(2)
  })

  it('is never put before a person a second time for one call', async () => {
    let asked = 0
    const wallet = walletSigner(
      async (_, { message }) => {
        asked += 1
        return { signature: signMessage({ message, privateKey: PRIVATE_KEY }), publicKey: '' }
      },
      { address: signer.address },
    )
    const { client } = scripted([tooOld], { signer: wallet })
    const error = await client.keys.list().catch((error) => error)
    expect(error).toBeInstanceOf(LatchkeyError)
    expect(error.code).toBe('EXPIRED_TIMESTAMP')
    expect(asked).toBe(1)
  })

  it("is dated by the service's clock from the first, when a person signs it", async () => {
    const wallet = walletSigner(
      async (_, { message }) => ({
        signature: signMessage({ message, privateKey: PRIVATE_KEY }),
        publicKey: '',
      }),
      { address: signer.address },
    )
    const options = { signer: wallet, serviceAheadMs: 90_000 }
    const { client, sent } = scripted([{ body: { apiKeys: [] } }], options)
    await client.keys.list()
    const message = JSON.parse(sent[0]?.headers['x-message'] ?? '')
    expect(message.timestamp).toBe(NOON + 90_000)
  })
})

describe('The clock of the system', () => {
  it('rejects with the reason of a signal that has aborted already', async () => {
    const reason = new Error('too late')
    await expect(systemClock.wait(60_000, AbortSignal.abort(reason))).rejects.toBe(reason)
  })

  it('resolves when the time has passed', async () => {
    await systemClock.wait(1, new AbortController().signal)
  })
})
