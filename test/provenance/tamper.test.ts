import { randomBytes } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { INPUT_TOKEN, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { startService } from '../http/documented.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'

/** Who sees an edit of a column: the gate, at the next request, and the audit check. */
interface Edit {
  to: string
  gate: boolean
  check: boolean
}

const FOREIGN_HASH = `'\\x${randomBytes(32).toString('hex')}'::bytea`

/** Every column of `api_keys`, and an edit of it that a thief would like. */
const EDITS: Record<string, Edit> = {
  id: { to: "'key_edited'", gate: true, check: true },
  // The owner's secret then leads nowhere, and the thief's to a row that nobody sealed.
  key_hash: { to: FOREIGN_HASH, gate: true, check: true },
  key_preview: { to: "'ck_live_xxxx...xxxx'", gate: false, check: false },
  // With the shard of that wallet: see what the database refuses, below.
  wallet_address: {
    to: "'ST000000000000000000002AMW42H', shard = wallet_shard('ST000000000000000000002AMW42H')",
    gate: true,
    check: true,
  },
  name: { to: "'edited'", gate: true, check: true },
  permissions: { to: "'{create,execute,cancel}'", gate: true, check: true },
  rate_limit_per_minute: { to: '1000000', gate: true, check: true },
  ip_allowlist: { to: "'{0.0.0.0/0,::/0}'", gate: true, check: true },
  tokens: { to: 'NULL', gate: true, check: true },
  recipients: { to: 'NULL', gate: true, check: true },
  max_amount_in: { to: 'NULL', gate: true, check: true },
  own_orders_only: { to: 'false', gate: true, check: true },
  max_open_orders: { to: 'NULL', gate: true, check: true },
  public_key: {
    to: `'{"alg":"ed25519","key":"${'A'.repeat(41)}-A"}'`,
    gate: true,
    check: true,
  },
  require_signature: { to: 'true', gate: true, check: true },
  max_signature_age_seconds: { to: '5', gate: true, check: true },
  // They are encrypted under labels of the key and of its hashes: another box verifies nothing.
  mac_key_box: { to: "'\\x00'", gate: false, check: false },
  previous_mac_key_box: { to: "'\\x00'", gate: false, check: false },
  heartbeat: { to: 'NULL', gate: true, check: true },
  alerts: { to: 'NULL', gate: true, check: true },
  label: { to: "'edited'", gate: false, check: true },
  justification: { to: "'edited'", gate: false, check: true },
  previous_key_hash: { to: FOREIGN_HASH, gate: true, check: true },
  previous_until: { to: "'2999-01-01'", gate: true, check: true },
  rights_mac: { to: 'NULL', gate: true, check: true },
  grant_id: { to: '(SELECT min(id) FROM signed_actions)', gate: true, check: true },
  created_at: { to: "'2001-01-01'", gate: true, check: true },
  expires_at: { to: 'NULL', gate: true, check: true },
  suspended_at: { to: "'2001-01-01'", gate: true, check: true },
  suspended_by: { to: "'owner'", gate: true, check: true },
  revoked_at: { to: "'2001-01-01'", gate: true, check: true },
}

/** Counters of an earlier release, which nothing reads: the database refuses to change them. */
const OLD_COUNTERS = [
  'last_used_at',
  'minute_window',
  'minute_count',
  'hour_window',
  'hour_count',
  'day_window',
  'day_count',
  'total_requests',
  'successful_requests',
  'creation_count',
  'execution_count',
  'cancellation_count',
]

/** Every column of `key_counters`. The MAC covers none of them. */
const COUNTER_EDITS: Record<string, Edit> = {
  // Of another key, whose own counters are gone: the first key then has none, and is refused.
  key_id: { to: '', gate: true, check: false },
  last_used_at: { to: 'NULL', gate: false, check: false },
  minute_window: { to: '1', gate: false, check: false },
  minute_count: { to: '-1000', gate: false, check: false },
  hour_window: { to: '1', gate: false, check: false },
  hour_count: { to: '-1000', gate: false, check: false },
  day_window: { to: '1', gate: false, check: false },
  day_count: { to: '-1000', gate: false, check: false },
  total_requests: { to: '1000', gate: false, check: false },
  successful_requests: { to: '0', gate: false, check: false },
  creation_count: { to: '1000', gate: false, check: false },
  execution_count: { to: '1000', gate: false, check: false },
  cancellation_count: { to: '1000', gate: false, check: false },
  shard: { to: '-1', gate: false, check: false },
}

const AUDIT_UPSERT = sql`INSERT INTO audit_events SELECT * FROM audit_events
  ON CONFLICT (wallet_address, sequence) DO UPDATE SET body = excluded.body`

describe.each(ENGINES)('An edit of the database behind the back of the service on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
    // The first message is another wallet's: grants can be pointed at it.
    await createKey(service, newWallet(service))
  })
  afterAll(() => service.close())

  const limited = (wallet: Wallet) =>
    createKey(service, wallet, {
      permissions: ['create'],
      rateLimit: 50,
      ipAllowlist: ['127.0.0.1'],
      tokens: [INPUT_TOKEN],
      recipients: [newWallet(service).address],
      maxAmountIn: { [INPUT_TOKEN]: { perOrder: '5' } },
      ownOrdersOnly: true,
      maxOpenOrders: 3,
      heartbeat: { seconds: 60, then: 'suspend' },
      alerts: { newAddress: { action: 'notify' } },
      expiresAt: service.clock.now + 3_600_000,
      label: 'prod',
      justification: 'ticket 4711',
    })
  const bounded = async (wallet: Wallet) => {
    const recipients = [newWallet(service).address]
    const tokens = [INPUT_TOKEN, OUTPUT_TOKEN]
    return { recipients, tokens, ...(await createKey(service, wallet, { recipients, tokens })) }
  }
  const use = (apiKey: string) => service.call('/orders', { headers: { 'X-API-Key': apiKey } })
  const faultsOf = async (keyId: string) => {
    const { faults } = await checkAudit(service.world)
    return faults.filter((fault) => [keyId, 'key_edited'].includes(fault.keyId ?? ''))
  }
  const rowOf = async (keyId: string) =>
    (
      await rows<{ row: string }>(
        service.world.db,
        sql`SELECT to_jsonb(api_keys)::text AS row FROM api_keys WHERE id = ${keyId}`,
      )
    )[0]?.row ?? ''
  const putBack = async (keyId: string, row: string) => {
    await rows(service.world.db, sql`DELETE FROM api_keys WHERE id IN (${keyId}, 'key_edited')`)
    await rows(
      service.world.db,
      sql`INSERT INTO api_keys SELECT * FROM jsonb_populate_record(NULL::api_keys, ${row}::text::jsonb)`,
    )
  }

  it.each([
    ['api_keys', [...Object.keys(EDITS), ...OLD_COUNTERS, 'shard']],
    ['key_counters', Object.keys(COUNTER_EDITS)],
  ])('is tried on every column that there is of %s', async (table, tried) => {
    const columns = await rows<{ name: string }>(
      service.world.db,
      sql`SELECT column_name AS name FROM information_schema.columns WHERE table_name = ${table}`,
    )
    expect(tried.sort()).toEqual(columns.map(({ name }) => name).sort())
  })

  it.each(OLD_COUNTERS)('of %s in api_keys is refused by the database itself', async (column) => {
    const statement = sql`UPDATE api_keys SET ${sql.raw(column)} = ${sql.raw(column)}`
    await expect(rows(service.world.db, statement)).rejects.toMatchObject({
      cause: expect.objectContaining({ code: '57P03' }),
    })
  })

  it.each(
    Object.entries(COUNTER_EDITS),
  )('of the counter %s is found by whom the table says', async (column, edit) => {
    const { apiKey, keyId } = await limited(newWallet(service))
    await answered(await use(apiKey))
    const other = await createKey(service, newWallet(service))
    await rows(service.world.db, sql`DELETE FROM key_counters WHERE key_id = ${other.keyId}`)
    const to = column === 'key_id' ? sql`${other.keyId}` : sql.raw(edit.to)
    await rows(
      service.world.db,
      sql`UPDATE key_counters SET ${sql.raw(column)} = ${to} WHERE key_id = ${keyId}`,
    )
    expect((await use(apiKey)).ok).toBe(!edit.gate)
    expect((await faultsOf(keyId)).length > 0).toBe(edit.check)
  })

  it('that takes the counters of a key away has the key refused', async () => {
    const { apiKey, keyId } = await limited(newWallet(service))
    await answered(await use(apiKey))
    await rows(service.world.db, sql`DELETE FROM key_counters WHERE key_id = ${keyId}`)
    const { details } = await refused(await use(apiKey), 'apiKeyInactive')
    expect(details).toEqual({ reason: 'tampered' })
  })

  it('of the shard alone is refused by the database: it is that of the wallet', async () => {
    await expect(
      rows(service.world.db, sql`UPDATE api_keys SET shard = (shard + 1) % 65536`),
    ).rejects.toMatchObject({ cause: { code: '23514' } })
  })

  it.each(Object.entries(EDITS))('of %s is found by whom the table says', async (column, edit) => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await limited(wallet)
    await answered(await use(apiKey))
    expect(await faultsOf(keyId)).toEqual([])
    const before = await rowOf(keyId)
    await rows(
      service.world.db,
      sql`UPDATE api_keys SET ${sql.raw(column)} = ${sql.raw(edit.to)} WHERE id = ${keyId}`,
    )
    const response = await use(apiKey)
    expect(response.ok).toBe(!edit.gate)
    if (edit.gate && column !== 'key_hash')
      expect((await response.json()).code).toMatch(/^(API_KEY_INACTIVE|IP_NOT_ALLOWED)$/)
    expect((await faultsOf(keyId)).length > 0).toBe(edit.check)
    await putBack(keyId, before)
    expect((await faultsOf(keyId)).length).toBe(0)
  })

  it('makes the gate say so, and the log an error', async () => {
    const { apiKey, keyId } = await limited(newWallet(service))
    await rows(service.world.db, sql`UPDATE api_keys SET tokens = NULL WHERE id = ${keyId}`)
    const { details } = await refused(await use(apiKey), 'apiKeyInactive')
    expect(details).toEqual({ reason: 'tampered' })
    const line = service.logged
      .map((text) => JSON.parse(text))
      .find((one) => one.keyId === keyId && one.event === 'api_key_tampered')
    expect(line).toMatchObject({ level: 'error' })
  })

  it('is not blessed by the next change that the owner signs', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await limited(wallet)
    await rows(service.world.db, sql`UPDATE api_keys SET tokens = NULL WHERE id = ${keyId}`)
    const change = (verb: string, members: object = {}) =>
      service.call(`/api-keys/${keyId}${verb === 'update' ? '' : `/${verb}`}`, {
        ...json(wallet.sign({ action: `${verb}_api_key`, keyId, ...members })),
        method: verb === 'update' ? 'PATCH' : 'POST',
      })
    for (const [verb, members] of [
      ['update', { label: 'x' }],
      ['suspend', {}],
      ['resume', {}],
      ['rotate', { graceSeconds: 0 }],
    ] as const) {
      const { details } = await refused(await change(verb, members), 'keyNotLive')
      expect(details).toEqual({ reason: 'tampered' })
    }
    const body = json(wallet.sign({ action: 'delete_api_key', keyId }))
    await answered(await service.call(`/api-keys/${keyId}`, { ...body, method: 'DELETE' }))
    expect((await refused(await use(apiKey), 'apiKeyInactive')).details).toEqual({
      reason: 'revoked',
    })
    expect(await faultsOf(keyId)).not.toEqual([])
  })

  it('that puts a whole old row back passes the gate, and not the check', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await limited(wallet)
    const before = await rowOf(keyId)
    const body = json(wallet.sign({ action: 'delete_api_key', keyId }))
    await answered(await service.call(`/api-keys/${keyId}`, { ...body, method: 'DELETE' }))
    await putBack(keyId, before)
    await answered(await use(apiKey))
    expect((await faultsOf(keyId)).map(({ fault }) => fault)).toEqual([
      'revokedAt is not what its events made it',
    ])
  })

  it('of an order leaves it within the recipients and tokens of the key that executes it', async () => {
    const wallet = newWallet(service)
    const { recipients, tokens, apiKey } = await bounded(wallet)
    const thief = newWallet(service).address
    for (const [column, value, limit, allowed] of [
      ['recipient', thief, 'recipients', [wallet.address, ...recipients]],
      ['output_token', `${thief}.worthless`, 'tokens', tokens],
    ] as const) {
      const uuid = await createOrder(service, wallet)
      await rows(
        service.world.db,
        sql`UPDATE orders SET ${sql.raw(column)} = ${value} WHERE uuid = ${uuid}`,
      )
      const headers = { 'X-API-Key': apiKey }
      const response = await service.call(`/orders/${uuid}/execute`, { method: 'POST', headers })
      const { details } = await refused(response, 'limitExceeded')
      expect(details).toEqual({ limit, value, allowed })
    }
  })

  it('that adds a key of its own is stopped and found', async () => {
    const wallet = newWallet(service)
    const { keyId } = await limited(wallet)
    const thief = await createKey(service, newWallet(service))
    const forged = JSON.parse(await rowOf(keyId))
    const hashed = JSON.parse(await rowOf(thief.keyId))
    await rows(
      service.world.db,
      sql`UPDATE api_keys SET key_hash = ${randomBytes(32)}::bytea WHERE id = ${thief.keyId}`,
    )
    const row = { ...forged, id: 'key_forged', key_hash: hashed.key_hash, permissions: ['execute'] }
    await rows(
      service.world.db,
      sql`INSERT INTO api_keys SELECT * FROM jsonb_populate_record(NULL::api_keys, ${JSON.stringify(row)}::text::jsonb)`,
    )
    await refused(await use(thief.apiKey), 'apiKeyInactive')
    const { faults } = await checkAudit(service.world)
    expect(faults.filter((fault) => fault.keyId === 'key_forged')).not.toEqual([])
    await rows(service.world.db, sql`DELETE FROM api_keys WHERE id = 'key_forged'`)
  })

  it.each([
    ['changed', sql`UPDATE audit_events SET body = body`],
    ['changed by an insert', AUDIT_UPSERT],
    ['deleted', sql`DELETE FROM audit_events`],
    ['emptied', sql`TRUNCATE audit_events`],
    ['emptied with what it refers to', sql`TRUNCATE signed_actions CASCADE`],
  ])('of the audit is refused by the database itself: it cannot be %s', async (_, statement) => {
    await limited(newWallet(service))
    const count = () => rows(service.world.db, sql`SELECT count(*)::int FROM audit_events`)
    const before = await count()
    await expect(rows(service.world.db, statement)).rejects.toMatchObject({
      cause: expect.objectContaining({ message: expect.stringMatching(/^\w+ is append-only$/) }),
    })
    expect(await count()).toEqual(before)
  })

  it.each([
    ['a body', sql`body = replace(body, '"details":{', '"details":{"edited":1,')`],
    ['a hash', sql`hash = sha256(hash)`],
    ['a place in the chain', sql`sequence = sequence + 1000`],
    ['its message', sql`action_id = (SELECT min(id) FROM signed_actions)`],
  ])('of the audit is found: %s', async (_, change) => {
    const wallet = newWallet(service)
    const { keyId } = await limited(wallet)
    // As whoever owns the table can, and nobody else.
    await service.world.db.transaction(async (tx) => {
      await rows(tx, sql`ALTER TABLE audit_events DISABLE TRIGGER audit_events_append_only`)
      await rows(tx, sql`UPDATE audit_events SET ${change} WHERE key_id = ${keyId}`)
      await rows(tx, sql`ALTER TABLE audit_events ENABLE TRIGGER audit_events_append_only`)
    })
    const { faults } = await checkAudit(service.world)
    expect(faults.filter((fault) => fault.walletAddress === wallet.address)).not.toEqual([])
  })
})
