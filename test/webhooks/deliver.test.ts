import { sql } from 'drizzle-orm'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { rotateEncryption } from '../../src/encryption/rotate.ts'
import { announce } from '../../src/notices/announce.ts'
import { FAILING_MS, MAX_ATTEMPTS } from '../../src/webhooks/schedule.ts'
import type { Delivery, Notice, Webhook } from '../../src/webhooks/webhook.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, type Service, startService } from '../support/service.ts'
import { createKey, newWallet, type Wallet } from '../support/wallet.ts'
import { changeWebhook, createWebhook, deliverAll } from './own.ts'
import { type Received, type Receiver, startReceiver } from './receiver.ts'

describe.each(ENGINES)('a webhook on %s', (engine) => {
  let service: Service
  let receiver: Receiver
  let wallet: Wallet
  beforeAll(async () => {
    service = await startService(engine, { env: { WEBHOOK_TIMEOUT_MS: '1000' } })
  })
  afterAll(() => service.close())
  beforeEach(async () => {
    receiver = await startReceiver()
    wallet = newWallet(service)
  })
  afterEach(() => receiver.close())

  const list = async (of = wallet) => {
    const headers = of.signHeaders({ action: 'list_webhooks' })
    const { webhooks } = await answered<{ webhooks: Webhook[] }>(
      await service.call('/webhooks', { headers }),
    )
    return webhooks
  }
  const deliveries = async (webhookId: string, state: string) => {
    const headers = wallet.signHeaders({ action: 'list_webhooks' })
    const path = `/webhooks/${webhookId}/deliveries?state=${state}`
    return (await answered<{ deliveries: Delivery[] }>(await service.call(path, { headers })))
      .deliveries
  }
  const find = (data = {}, of = wallet) =>
    announce(service.world.db, {
      walletAddress: of.address,
      type: 'key.unusual_rate',
      data,
      at: service.clock.now,
    })
  /** By an independent implementation, at whatever time: that one knows the machine's clock alone. */
  const isSigned = (secret: string, { headers, body }: Received) => {
    const sentAt = new Date(Number(headers['webhook-timestamp']) * 1_000)
    const signature = new StandardWebhook(secret).sign(headers['webhook-id'] ?? '', sentAt, body)
    return headers['webhook-signature']?.split(' ').includes(signature)
  }

  it('receives what happens, once, as Standard Webhooks of an independent implementation', async () => {
    const { secret, webhookId } = await createWebhook(service, wallet, { url: receiver.url })
    const { keyId } = await createKey(service, wallet)
    await deliverAll(service)
    await deliverAll(service)
    const payloads = receiver.received.map(({ headers, body }) =>
      new StandardWebhook(secret).verify(body, headers),
    )
    expect(payloads).toEqual([
      {
        type: 'key.created',
        timestamp: new Date(service.clock.now).toISOString(),
        data: {
          walletAddress: wallet.address,
          keyId,
          actor: 'owner',
          auditHead: { sequence: 2, hash: expect.any(String) },
        },
      },
    ])
    const [made] = await deliveries(webhookId, 'delivered')
    expect(made).toMatchObject({ attempts: 1, responseStatus: 204, type: 'key.created' })
    expect(made?.noticeId).toBe(receiver.received[0]?.headers['webhook-id'])
    expect(await list()).toMatchObject([{ status: 'active', waiting: 0, dead: 0 }])
    expect((await list())[0]?.deliveredAt).not.toBeNull()
  })

  it('is tried out with a delivery of its own, and tells of nothing before', async () => {
    const { webhookId, secret } = await createWebhook(service, wallet, {
      url: receiver.url,
      events: ['order.failed'],
    })
    await createKey(service, wallet)
    await answered(await changeWebhook(service, wallet, 'test_webhook', { webhookId }))
    await deliverAll(service)
    expect(receiver.received.map((one) => isSigned(secret, one))).toEqual([true])
    expect(receiver.received.map(({ body }) => JSON.parse(body))).toMatchObject([
      { type: 'webhook.test', data: { webhookId, walletAddress: wallet.address } },
    ])
  })

  it('gets a delivery that failed again with the same webhook-id and body, later each time, until it is given up', async () => {
    receiver.respond((_, response) => void response.writeHead(500).end())
    const { webhookId, secret } = await createWebhook(service, wallet, { url: receiver.url })
    await find()
    await deliverAll(service)
    expect(await list()).toMatchObject([
      { status: 'failing', waiting: 1, lastFailure: 'status 500' },
    ])
    let waits: number[] = []
    for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
      const [waiting] = await deliveries(webhookId, 'waiting')
      const due = Date.parse(waiting?.dueAt ?? '')
      waits = [...waits, due - service.clock.now]
      service.clock.now = due - 1
      await deliverAll(service)
      expect(receiver.received).toHaveLength(attempt)
      service.clock.now = due
      await deliverAll(service)
      expect(receiver.received).toHaveLength(attempt + 1)
    }
    expect(waits).toEqual(waits.toSorted((a, b) => a - b))
    const total = waits.reduce((sum, one) => sum + one, 0)
    expect(total).toBeGreaterThan(24 * 3_600_000)
    expect(total).toBeLessThan(48 * 3_600_000)
    expect(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    expect(new Set(receiver.received.map(({ body }) => body)).size).toBe(1)
    const [dead] = await deliveries(webhookId, 'dead')
    expect(dead).toMatchObject({ attempts: MAX_ATTEMPTS, responseStatus: 500, dueAt: null })

    receiver.respond((_, response) => void response.writeHead(200).end())
    const members = { webhookId, noticeId: dead?.noticeId }
    const replayed = await changeWebhook(service, wallet, 'replay_webhook', members)
    expect(await answered(replayed)).toMatchObject({ queued: 1 })
    await deliverAll(service)
    expect(receiver.received).toHaveLength(MAX_ATTEMPTS + 1)
    expect(receiver.received.at(-1)?.headers['webhook-id']).toBe(dead?.noticeId)
    expect(secret).toMatch(/^whsec_/)
    expect(await list()).toMatchObject([{ status: 'active', dead: 0, lastFailure: null }])
  })

  it('waits as long as Retry-After says, within bounds', async () => {
    const waitOf = async (retryAfter: string) => {
      receiver.respond(
        (_, response) => void response.writeHead(429, { 'retry-after': retryAfter }).end(),
      )
      const { webhookId } = await createWebhook(service, wallet, { url: receiver.url })
      await find()
      await deliverAll(service)
      const [waiting] = await deliveries(webhookId, 'waiting')
      const seconds = (Date.parse(waiting?.dueAt ?? '') - service.clock.now) / 1_000
      await answered(await changeWebhook(service, wallet, 'delete_webhook', { webhookId }))
      return seconds
    }
    const isIn = (low: number, high: number, value: number) =>
      expect([value >= low && value <= high, value]).toEqual([true, value])
    isIn(600, 720, await waitOf('600'))
    isIn(5, 6, await waitOf('1'))
    isIn(5, 6, await waitOf('soon'))
    isIn(6 * 3_600, 1.2 * 6 * 3_600, await waitOf('99999999'))
    isIn(600, 720, await waitOf(new Date(service.clock.now + 600_900).toUTCString()))
  })

  it('that is gone is disabled at once, and its owner reads why', async () => {
    receiver.respond((_, response) => void response.writeHead(410).end())
    const { webhookId } = await createWebhook(service, wallet, { url: receiver.url })
    await find()
    await deliverAll(service)
    await find()
    await deliverAll(service)
    expect(receiver.received).toHaveLength(1)
    expect(await list()).toMatchObject([{ status: 'disabled', disabledReason: 'gone', dead: 1 }])
    const test = await changeWebhook(service, wallet, 'test_webhook', { webhookId })
    expect((await refused(test, 'webhookDisabled')).details).toEqual({ reason: 'gone' })

    receiver.respond((_, response) => void response.writeHead(200).end())
    const enabled = await changeWebhook(service, wallet, 'update_webhook', {
      webhookId,
      enabled: true,
    })
    expect(await answered(enabled)).toMatchObject({ status: 'active' })
    await answered(await changeWebhook(service, wallet, 'replay_webhook', { webhookId }))
    await deliverAll(service)
    expect(receiver.received).toHaveLength(2)
  })

  it('that fails for days is disabled, with what it still had to receive kept for a replay', async () => {
    receiver.respond((_, response) => void response.writeHead(503).end())
    await createWebhook(service, wallet, { url: receiver.url })
    await find({ n: 1 })
    await deliverAll(service)
    service.clock.now += FAILING_MS - 60_000
    await find({ n: 2 })
    await deliverAll(service)
    expect(await list()).toMatchObject([{ status: 'failing' }])
    service.clock.now += 120_000
    await deliverAll(service)
    expect(await list()).toMatchObject([
      {
        status: 'disabled',
        disabledReason: 'failing',
        lastFailure: 'status 503',
        waiting: 0,
        dead: 2,
      },
    ])
  })

  it('signs with both secrets while a rotation overlaps, and with the new one alone afterwards', async () => {
    const { webhookId, secret: old } = await createWebhook(service, wallet, { url: receiver.url })
    const rotated = await changeWebhook(service, wallet, 'rotate_webhook_secret', {
      webhookId,
      overlapSeconds: 3_600,
    })
    const { secret } = await answered<{ secret: string }>(rotated)
    expect(secret).not.toBe(old)
    await find()
    await deliverAll(service)
    const [both] = receiver.received as [Received]
    expect(both.headers['webhook-signature']?.split(' ')).toHaveLength(2)
    for (const one of [secret, old]) expect(isSigned(one, both)).toBe(true)
    service.clock.now += 3_600_000
    await find()
    await deliverAll(service)
    const after = receiver.received[1] as Received
    expect(after.headers['webhook-signature']?.split(' ')).toHaveLength(1)
    expect([isSigned(secret, after), isSigned(old, after)]).toEqual([true, false])
    expect((await list())[0]?.previousSecretUntil).toBeNull()
  })

  it('whose row was edited sends nothing, is disabled, and is never authenticated again', async () => {
    const other = await startReceiver()
    const edits = [
      sql`url = ${other.url}`,
      sql`events = ARRAY['*', '*']`,
      sql`wallet_address = wallet_address, previous_secret_box = secret_box`,
      sql`previous_until = now()`,
      sql`secret_box = (SELECT secret_box FROM webhooks AS stolen WHERE stolen.id <> webhooks.id LIMIT 1)`,
    ]
    await createWebhook(service, newWallet(service), { url: other.url })
    for (const edit of edits) {
      const { webhookId } = await createWebhook(service, wallet, { url: receiver.url })
      await rows(service.world.db, sql`UPDATE webhooks SET ${edit} WHERE id = ${webhookId}`)
      await find()
      await deliverAll(service)
      const [webhook] = await list()
      expect(webhook).toMatchObject({ status: 'disabled', disabledReason: 'tampered' })
      for (const [action, members] of [
        ['update_webhook', { enabled: true }],
        ['rotate_webhook_secret', { overlapSeconds: 0 }],
      ] as const)
        await refused(
          await changeWebhook(service, wallet, action, { webhookId, ...members }),
          'webhookTampered',
        )
      await answered(await changeWebhook(service, wallet, 'delete_webhook', { webhookId }))
    }
    expect([...receiver.received, ...other.received]).toEqual([])
    expect(service.logged.filter((line) => line.includes('webhook_tampered'))).not.toEqual([])
    await other.close()
  })

  it('keeps what it was told for days, and then no more', async () => {
    await createWebhook(service, wallet, { url: receiver.url })
    await find({ n: 1 })
    await deliverAll(service)
    const notices = async () => {
      const headers = wallet.signHeaders({ action: 'list_notices' })
      return (await answered<{ notices: Notice[] }>(await service.call('/notices', { headers })))
        .notices
    }
    expect(await notices()).toMatchObject([{ type: 'key.unusual_rate', data: { n: 1 } }])
    const { forgetOldNotices } = await import('../../src/notices/forget.ts')
    service.clock.now += 30 * 86_400_000 - 1_000
    expect(await forgetOldNotices(service.world, service.clock.now)).toBe(true)
    expect(await notices()).toHaveLength(1)
    service.clock.now += 2_000
    await forgetOldNotices(service.world, service.clock.now)
    expect(await notices()).toEqual([])
    expect(await rows(service.world.db, sql`SELECT FROM deliveries`)).toEqual([])
  })

  it('that is slow or floods holds up no other one, and neither does one that redirects', async () => {
    const [slow, huge, moved] = [
      await startReceiver(),
      await startReceiver(),
      await startReceiver(),
    ]
    slow.respond(() => {})
    huge.respond((_, response) => {
      response.writeHead(200)
      const more = () => void response.write('x'.repeat(65_536), (error) => error || more())
      more()
    })
    moved.respond((_, response) => void response.writeHead(307, { location: receiver.url }).end())
    for (const { url } of [slow, huge, moved])
      await createWebhook(service, wallet, { url: `${url}?x=1` })
    for (let n = 0; n < 12; n++) await find({ n })
    const other = newWallet(service)
    await createWebhook(service, other, { url: receiver.url })
    await find({}, other)
    await service.world.deliverer?.pass(service.world)
    await expect.poll(() => receiver.received.length).toBe(1)
    expect(service.world.deliverer?.counts().inFlight).toBeGreaterThanOrEqual(4)
    expect(slow.received.length).toBeLessThanOrEqual(4)
    await service.world.deliverer?.settle()
    const states = Object.fromEntries((await list()).map((one) => [one.url, one]))
    expect(states[`${slow.url}?x=1`]?.lastFailure).toBe('no response in time')
    expect(states[`${moved.url}?x=1`]?.lastFailure).toBe('status 307')
    expect(receiver.received).toHaveLength(1)
    for (const one of [slow, huge, moved]) await one.close()
  })

  it('is created within a limit, changed by its owner alone, and deleted with what it waited for', async () => {
    const { url } = receiver
    for (let n = 0; n < 5; n++) await createWebhook(service, wallet, { url })
    const sixth = await changeWebhook(service, wallet, 'create_webhook', { url })
    expect((await refused(sixth, 'webhookLimitReached')).details).toEqual({ limit: 5 })
    const [{ webhookId = '' } = {}] = await list()
    const stranger = newWallet(service)
    for (const [action, members] of [
      ['update_webhook', { enabled: true }],
      ['rotate_webhook_secret', { overlapSeconds: 0 }],
      ['delete_webhook', {}],
      ['test_webhook', {}],
      ['replay_webhook', {}],
    ] as const)
      await refused(
        await changeWebhook(service, stranger, action, { webhookId, ...members }),
        'webhookNotFound',
      )
    const headers = stranger.signHeaders({ action: 'list_webhooks' })
    await refused(
      await service.call(`/webhooks/${webhookId}/deliveries`, { headers }),
      'webhookNotFound',
    )
    await find()
    await answered(await changeWebhook(service, wallet, 'delete_webhook', { webhookId }))
    const again = await changeWebhook(service, wallet, 'delete_webhook', { webhookId })
    await refused(again, 'webhookNotFound')
    await deliverAll(service)
    expect(receiver.received).toHaveLength(4)
    expect(await list()).toHaveLength(4)
  })

  it('is delivered to after the encryption key was rotated, the secret and the old one too', async () => {
    const { webhookId, secret: old } = await createWebhook(service, wallet, { url: receiver.url })
    const rotate = { webhookId, overlapSeconds: 3_600 }
    const { secret } = await answered<{ secret: string }>(
      await changeWebhook(service, wallet, 'rotate_webhook_secret', rotate),
    )
    const { env, databaseUrl } = newKey(service)
    if (engine === 'PGlite') return // A second service cannot open a database in memory.
    const next = await startService(engine, { databaseUrl, env })
    next.clock.now = service.clock.now
    const rotated = await rotateEncryption(next.world, async () => {})
    expect(rotated).toMatchObject({ unverified: 0, isDone: true })
    const alone = await startService(engine, {
      databaseUrl,
      env: { ...env, ENCRYPTION_KEY: env.ENCRYPTION_KEY.split(',')[0] ?? '' },
    }).catch(() => undefined)
    if (alone !== undefined) alone.clock.now = service.clock.now
    await find()
    await deliverAll(alone ?? next)
    for (const one of [secret, old])
      expect(isSigned(one, receiver.received[0] as Received)).toBe(true)
    await next.close()
    await alone?.close()
  })
})

/** The configuration of a process that writes with a new encryption key, and reads with the old one too. */
function newKey({ world, databaseUrl }: Service) {
  const old = world.config.ENCRYPTION_KEY ?? ''
  const fresh = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64')
  const [OPERATOR_PRIVATE_KEY = ''] = world.config.OPERATOR_PRIVATE_KEYS
  const env = { ENCRYPTION_KEY: `new:${fresh},old:${old}`, OPERATOR_PRIVATE_KEY }
  return { env, databaseUrl }
}
