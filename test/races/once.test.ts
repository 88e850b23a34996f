import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { hashSecret } from '../../src/keys/secret.ts'
import { unknownSecret } from '../support/secrets.ts'
import { type Service, secretsOf, startService } from '../support/service.ts'
import { createSigningKey, SIGNED_ENV, signed as signedRequest } from '../support/signed.ts'
import {
  createKey,
  createOrder,
  fund,
  json,
  newWallet,
  type Wallet,
  walletsOfOneShard,
} from '../support/wallet.ts'

/** One round of each race in `npm test`; RACE_ROUNDS=50 repeats them all. */
const ROUNDS = Number(process.env.RACE_ROUNDS ?? 3)
const CALLERS = 24

describe('of many at once, on Postgres, through two services with 24 connections each,', () => {
  let one: Service
  let other: Service
  let wallet: Wallet
  let key: { apiKey: string; keyId: string }
  beforeAll(async () => {
    one = await startService('Postgres', { maxConnections: CALLERS, env: GENEROUS })
    other = await startService('Postgres', {
      maxConnections: CALLERS,
      databaseUrl: one.databaseUrl,
      env: { ...GENEROUS, ...secretsOf(one) },
    })
    wallet = newWallet(one)
    await fund(one, wallet)
    key = await createKey(one, wallet)
  })
  afterAll(async () => {
    await Promise.all([one.close(), other.close()])
  })

  /** Sends the same call from many callers, half to each process, and answers the statuses. */
  async function race(call: (service: Service, caller: number) => Promise<Response>) {
    const answers = await Promise.all(
      Array.from({ length: CALLERS }, async (_, caller) => {
        const response = await call(caller % 2 === 0 ? one : other, caller)
        return { status: response.status, body: (await response.json()) as Record<string, unknown> }
      }),
    )
    return answers.sort((a, b) => a.status - b.status)
  }
  const execute = (service: Service, uuid: string) =>
    service.call(`/orders/${uuid}/execute`, {
      method: 'POST',
      headers: { 'X-API-Key': key.apiKey },
    })
  const cancel = (service: Service, uuid: string) =>
    service.call(`/orders/${uuid}/cancel`, {
      method: 'PATCH',
      headers: { 'X-API-Key': key.apiKey },
    })
  const winners = (answers: { status: number }[]) => answers.filter(({ status }) => status < 300)

  it.each(
    rounds(),
  )('one signed request is taken once, and its execute broadcast once (round %i)', async () => {
    const owner = newWallet(one)
    await fund(one, owner)
    const { signer, keyId } = await createSigningKey(one, owner)
    const uuid = await createOrder(one, owner)
    const path = `/orders/${uuid}/execute`
    const request = await signedRequest(one, signer, path, { method: 'POST' })
    const answers = await race((service) => service.call(path, request))
    expect(winners(answers)).toHaveLength(1)
    expect(answers.slice(1).map(({ body }) => body.code)).toEqual(
      Array(CALLERS - 1).fill('REQUEST_REPLAYED'),
    )
    const [counted] = await rows<{ total: string }>(
      one.world.db,
      sql`SELECT total_requests::text AS total FROM key_counters WHERE key_id = ${keyId}`,
    )
    expect(counted?.total).toBe('1')
  })

  it.each(rounds())('one message makes one key (round %i)', async () => {
    const signed = newWallet(one).sign({
      action: 'create_api_key',
      keyName: `raced ${crypto.randomUUID()}`,
      permissions: [],
    })
    const answers = await race((service) => service.call('/api-keys', json(signed)))
    expect(winners(answers)).toHaveLength(1)
    expect(new Set(answers.slice(1).map(({ body }) => body.code))).toEqual(
      new Set(['MESSAGE_REPLAYED']),
    )
    const made = await rows(
      one.world.db,
      sql`SELECT api_keys.id FROM api_keys JOIN signed_actions a ON grant_id = a.id AND a.shard = api_keys.shard WHERE message = ${signed.message}`,
    )
    expect(made).toHaveLength(1)
  })

  it.each(
    rounds(),
  )('one message and its secret make one key, which all of its senders get (round %i)', async () => {
    const owner = newWallet(one)
    const secret = unknownSecret('ck_live_', owner.address)
    const signed = owner.sign({
      action: 'create_api_key',
      keyName: 'raced',
      permissions: [],
      keyHash: hashSecret(secret),
    })
    const answers = await race((service) =>
      service.call('/api-keys', json(signed, { 'X-API-Key': secret })),
    )
    expect(answers.map(({ status }) => status)).toEqual([...Array(CALLERS - 1).fill(200), 201])
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1)
    const made = await rows(
      one.world.db,
      sql`SELECT id FROM api_keys WHERE wallet_address = ${owner.address}`,
    )
    expect(made).toHaveLength(1)
  })

  it.each(
    rounds(),
  )('one message and its secret rotate a key once, which all of its senders learn (round %i)', async () => {
    const owner = newWallet(one)
    const { apiKey, keyId } = await createKey(one, owner)
    const secret = unknownSecret('ck_live_', owner.address)
    const members = {
      action: 'rotate_api_key',
      keyId,
      graceSeconds: 60,
      keyHash: hashSecret(secret),
    }
    const signed = owner.sign(members)
    const answers = await race((service) =>
      service.call(`/api-keys/${keyId}/rotate`, json(signed, { 'X-API-Key': secret })),
    )
    expect(answers.map(({ status }) => status)).toEqual(Array(CALLERS).fill(200))
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1)
    for (const bearer of [apiKey, secret]) {
      const response = await one.call('/me', { headers: { 'X-API-Key': bearer } })
      expect(await response.json()).toMatchObject({ keyId })
    }
  })

  it.each(
    rounds(),
  )('one secret becomes that of one key, whichever keys are rotated to it (round %i)', async () => {
    const wallets = walletsOfOneShard(one)
    const secret = unknownSecret('ck_live_', wallets[0].address)
    const keyHash = hashSecret(secret)
    const keys = await Promise.all(wallets.map((wallet) => createKey(one, wallet)))
    const answers = await race((service, caller) => {
      const [wallet, { keyId }] = [wallets[caller % 2], keys[caller % 2]] as [
        Wallet,
        { keyId: string },
      ]
      const members = { action: 'rotate_api_key', keyId, graceSeconds: caller, keyHash }
      const signed = wallet.sign({ ...members, force: true })
      return service.call(`/api-keys/${keyId}/rotate`, json(signed, { 'X-API-Key': secret }))
    })
    expect(winners(answers)).toHaveLength(1)
    expect(new Set(answers.slice(1).map(({ body }) => body.code))).toEqual(
      new Set(['SECRET_IN_USE']),
    )
  })

  it.each(rounds())('one secret is of one key, whichever wallets name it (round %i)', async () => {
    const wallets = walletsOfOneShard(one)
    const secret = unknownSecret('ck_live_', wallets[0].address)
    const keyHash = hashSecret(secret)
    const answers = await race((service, caller) => {
      const keyName = `bot ${caller}`
      const members = { action: 'create_api_key', keyName, permissions: [], keyHash }
      const signed = (wallets[caller % 2] ?? wallets[0]).sign(members)
      return service.call('/api-keys', json(signed, { 'X-API-Key': secret }))
    })
    expect(winners(answers)).toHaveLength(1)
    expect(new Set(answers.slice(1).map(({ body }) => body.code))).toEqual(
      new Set(['SECRET_IN_USE']),
    )
  })

  it.each(
    rounds(),
  )('a secret that is being rotated away is not taken by another wallet meanwhile (round %i)', async () => {
    const [owner, other] = walletsOfOneShard(one)
    const secret = unknownSecret('ck_live_', owner.address)
    const keyHash = hashSecret(secret)
    const named = { action: 'create_api_key', keyName: 'bot', permissions: [], keyHash }
    const made = await one.call('/api-keys', json(owner.sign(named), { 'X-API-Key': secret }))
    const { keyId } = (await made.json()) as { keyId: string }
    const rotate = { action: 'rotate_api_key', keyId, graceSeconds: 3_600 }
    const answers = await race((service, caller) =>
      caller === 0
        ? service.call(`/api-keys/${keyId}/rotate`, json(owner.sign(rotate)))
        : service.call('/api-keys', json(other.sign(named), { 'X-API-Key': secret })),
    )
    expect(winners(answers)).toHaveLength(1)
    const holders = await rows(
      one.world.db,
      sql`SELECT id FROM api_keys
        WHERE key_hash = decode(${keyHash}, 'hex') OR previous_key_hash = decode(${keyHash}, 'hex')`,
    )
    expect(holders).toHaveLength(1)
  })

  it.each(
    rounds(),
  )('a wallet gets its limit of live keys and never one more (round %i)', async () => {
    const owner = newWallet(one)
    const answers = await race((service, caller) =>
      service.call(
        '/api-keys',
        json(owner.sign({ action: 'create_api_key', keyName: `bot ${caller}`, permissions: [] })),
      ),
    )
    expect(winners(answers)).toHaveLength(one.world.config.MAX_ACTIVE_KEYS_PER_WALLET)
  })

  it.each(rounds())('one key gets a name (round %i)', async () => {
    const owner = newWallet(one)
    const answers = await race((service, caller) =>
      service.call(
        '/api-keys',
        json(
          owner.sign({
            action: 'create_api_key',
            keyName: 'the same',
            permissions: [],
            timestamp: one.clock.now - caller,
          }),
        ),
      ),
    )
    expect(winners(answers)).toHaveLength(1)
    expect(answers[1]?.body.code).toBe('DUPLICATE_KEY_NAME')
  })

  it.each(rounds())('one order is stored for a uuid (round %i)', async () => {
    const order = wallet.order()
    const answers = await race((service) => service.call('/orders/new', json(order)))
    expect(answers.map(({ status }) => status)).toEqual([...Array(CALLERS - 1).fill(200), 201])
  })

  it.each(rounds())('one execute of an order is a transaction (round %i)', async () => {
    const uuid = await createOrder(one, wallet)
    const before = await nonceOf(one)
    const answers = await race((service) => execute(service, uuid))
    expect(winners(answers)).toHaveLength(1)
    expect(new Set(answers.slice(1).map(({ body }) => body.code))).toEqual(
      new Set(['ORDER_NOT_OPEN']),
    )
    expect(await transactionsOf(one, uuid)).toHaveLength(1)
    expect(await nonceOf(one)).toBe(before + 1)
  })

  it.each(rounds())('an execute or a cancel of an order wins, never both (round %i)', async () => {
    const uuid = await createOrder(one, wallet)
    const answers = await race((service, caller) =>
      caller % 4 < 2 ? execute(service, uuid) : cancel(service, uuid),
    )
    expect(winners(answers)).toHaveLength(1)
    const [order] = await rows<{ status: string }>(
      one.world.db,
      sql`SELECT status FROM orders WHERE uuid = ${uuid}`,
    )
    const sent = await transactionsOf(one, uuid)
    expect([order?.status, sent.length]).toEqual(
      sent.length === 1 ? ['broadcasted', 1] : ['cancelled', 0],
    )
  })

  it.each(rounds())('orders executed at once use every nonce once (round %i)', async () => {
    const uuids = await Promise.all(Array.from({ length: CALLERS }, () => createOrder(one, wallet)))
    const before = await nonceOf(one)
    const answers = await race((service, caller) => execute(service, uuids[caller] ?? ''))
    expect(answers.filter(({ status }) => status >= 300 && status !== 503)).toEqual([])
    const sent = winners(answers).length
    expect(await nonceOf(one)).toBe(before + sent)
    const nonces = await rows<{ nonce: number }>(
      one.world.db,
      sql`SELECT nonce::int FROM transactions WHERE nonce >= ${before}::bigint ORDER BY nonce`,
    )
    expect(nonces.map(({ nonce }) => nonce)).toEqual(
      Array.from({ length: sent }, (_, place) => before + place),
    )
  })

  it('counts every request, and each as what became of it', async () => {
    const [usage] = await rows<Record<string, number>>(
      one.world.db,
      sql`SELECT execution_count::int AS executions, cancellation_count::int AS cancellations,
          successful_requests::int AS successes FROM key_counters WHERE key_id = ${key.keyId}`,
    )
    const [done] = await rows<Record<string, number>>(
      one.world.db,
      sql`SELECT count(*) FILTER (WHERE status = 'broadcasted')::int AS executions,
          count(*) FILTER (WHERE status = 'cancelled')::int AS cancellations,
          count(*) FILTER (WHERE status IN ('broadcasted', 'cancelled'))::int AS successes
        FROM orders WHERE owner = ${wallet.address}`,
    )
    expect(usage).toEqual(done)
  })
})

const GENEROUS = {
  ...SIGNED_ENV,
  RATE_LIMIT_PER_MINUTE: '1000000',
  RATE_LIMIT_PER_HOUR: '1000000',
  RATE_LIMIT_PER_DAY: '1000000',
}

function rounds(): number[] {
  return Array.from({ length: ROUNDS }, (_, round) => round + 1)
}

async function nonceOf(service: Service): Promise<number> {
  const [operator] = await rows<{ nonce: number }>(
    service.world.db,
    sql`SELECT next_nonce::int AS nonce FROM operators`,
  )
  return operator?.nonce ?? 0
}

async function transactionsOf(service: Service, uuid: string): Promise<unknown[]> {
  return rows(service.world.db, sql`SELECT txid FROM transactions WHERE order_uuid = ${uuid}`)
}
