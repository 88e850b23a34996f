import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { shardSql } from '../../src/db/shard.ts'
import { suspendByOperator } from '../../src/keys/suspend.ts'
import { announce } from '../../src/notices/announce.ts'
import { answered } from '../support/assertions.ts'
import { ENGINES, type Service, startService } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

interface Notice {
  type: string
  keyId: string | null
  orderUuid: string | null
  data: Record<string, unknown>
  deliveries: string[]
}

describe.each(ENGINES)('notices on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
  })
  afterAll(() => service.close())

  const db = () => service.world.db

  /** A webhook as a row alone. Answers its id. */
  async function addWebhook(wallet: Wallet | undefined, events: string[]): Promise<string> {
    const id = `wh_${crypto.randomUUID()}`
    const shard = wallet === undefined ? sql`0` : shardSql(wallet.address)
    await rows(
      db(),
      sql`INSERT INTO webhooks (id, wallet_address, url, events, secret_box, mac, created_at, shard)
        VALUES (${id}, ${wallet?.address ?? null}, 'https://a.example', ${`{${events.join(',')}}`}::text::text[], '', '',
          now(), ${shard})`,
    )
    return id
  }

  const noticesOf = ({ address }: Wallet) =>
    rows<Notice>(
      db(),
      sql`SELECT type, key_id AS "keyId", order_uuid AS "orderUuid", data,
          (SELECT coalesce(json_agg(webhook_id), '[]') FROM deliveries WHERE notice_id = notices.id) AS deliveries
        FROM notices WHERE wallet_address = ${address} ORDER BY sequence`,
    )

  it('are recorded once for each change of a key, with its event in the audit, for each webhook that wants them', async () => {
    const wallet = newWallet(service)
    const [all, some] = [await addWebhook(wallet, ['*']), await addWebhook(wallet, ['key.revoked'])]
    const { keyId } = await createKey(service, wallet)
    for (const [method, suffix, action, members] of [
      ['PATCH', '', 'update_api_key', { label: 'told' }],
      ['POST', '/rotate', 'rotate_api_key', { graceSeconds: 60 }],
      ['POST', '/suspend', 'suspend_api_key', {}],
      ['POST', '/resume', 'resume_api_key', {}],
      ['DELETE', '', 'delete_api_key', {}],
    ] as const)
      await answered(
        await service.call(`/api-keys/${keyId}${suffix}`, {
          ...json(wallet.sign({ action, keyId, ...members })),
          method,
        }),
      )
    const found = await noticesOf(wallet)
    expect(found.map(({ type, deliveries }) => [type, deliveries.length])).toEqual([
      ['key.created', 1],
      ['key.changed', 1],
      ['key.rotated', 1],
      ['key.suspended', 1],
      ['key.resumed', 1],
      ['key.revoked', 2],
    ])
    expect(new Set(found.map((one) => one.keyId))).toEqual(new Set([keyId]))
    expect(found.at(-1)?.deliveries.toSorted()).toEqual([all, some].toSorted())
    const heads = await rows(
      db(),
      sql`SELECT sequence::int, encode(hash, 'hex') AS hash FROM audit_events WHERE wallet_address = ${wallet.address} ORDER BY sequence`,
    )
    expect(found.map(({ data }) => data)).toEqual(
      heads.map((auditHead) => ({ actor: 'owner', auditHead })),
    )
  })

  it('tell of the acts of an operator with the reason, of revoke-all once, and of nothing that was refused', async () => {
    const wallet = newWallet(service)
    await addWebhook(wallet, ['*'])
    const { keyId } = await createKey(service, wallet)
    const { now } = service.clock
    await suspendByOperator(service.world, { keyId }, 'stolen \u0000', now)
    await suspendByOperator(service.world, { walletAddress: wallet.address }, 'stolen', now)
    const again = await service.call('/api-keys', json(wallet.sign({ action: 'create_api_key' })))
    expect(again.status).toBe(400)
    const all = wallet.sign({ action: 'revoke_all_api_keys', cancelOpenOrders: false })
    await answered(await service.call('/api-keys/revoke-all', json(all)))
    const found = await noticesOf(wallet)
    expect(found.map(({ type, keyId, data }) => [type, keyId, data.reason])).toEqual([
      ['key.created', keyId, undefined],
      ['key.suspended', keyId, 'stolen \ufffd'],
      ['wallet.suspended', null, 'stolen'],
      ['key.revoked', null, undefined],
    ])
  })

  it('are recorded once for each new status of an order, with what its event says', async () => {
    const wallet = newWallet(service)
    await fund(service, wallet)
    await addWebhook(wallet, ['order.open', 'order.cancelled', 'order.broadcast'])
    const [cancelled, executed] = [
      await createOrder(service, wallet),
      await createOrder(service, wallet),
    ]
    const cancel = json(wallet.sign({ action: 'cancel_order', uuid: cancelled }))
    await answered(
      await service.call(`/orders/${cancelled}/cancel`, { ...cancel, method: 'PATCH' }),
    )
    const execute = json(wallet.sign({ action: 'execute_order', uuid: executed }))
    const { txid } = await answered<{ txid: string }>(
      await service.call(`/orders/${executed}/execute`, execute),
    )
    const found = await noticesOf(wallet)
    expect(found.map(({ type, orderUuid, data }) => [type, orderUuid, data.status])).toEqual([
      ['order.open', cancelled, 'open'],
      ['order.open', executed, 'open'],
      ['order.cancelled', cancelled, 'cancelled'],
      ['order.broadcast', executed, 'broadcasted'],
    ])
    expect(found.at(-1)?.data).toMatchObject({ txid, event: expect.any(Number) })
  })

  it('are not recorded for a wallet without a webhook that wants them, except for what is announced', async () => {
    const [wallet, other] = [newWallet(service), newWallet(service)]
    await addWebhook(other, ['*'])
    await addWebhook(wallet, ['order.failed'])
    const { keyId } = await createKey(service, wallet)
    expect(await noticesOf(wallet)).toEqual([])
    const { address: walletAddress } = wallet
    const data = { from: 'a\u0000', to: 'b\ud800' }
    await announce(db(), { walletAddress, type: 'key.new_address', keyId, data, at: 0 })
    expect(await noticesOf(wallet)).toEqual([
      {
        type: 'key.new_address',
        keyId,
        orderUuid: null,
        data: { from: 'a\ufffd', to: 'b\ufffd' },
        deliveries: [],
      },
    ])
    expect(await noticesOf(other)).toEqual([])
  })

  it('go with a change that is rolled back', async () => {
    const wallet = newWallet(service)
    await addWebhook(wallet, ['*'])
    const { address: walletAddress } = wallet
    const count = () => rows(db(), sql`SELECT count(*)::int AS n FROM deliveries`)
    const before = await count()
    const change = db().transaction(async (tx) => {
      await announce(tx, { walletAddress, type: 'key.leaked', data: {}, at: 0 })
      throw new Error('rolled back')
    })
    await expect(change).rejects.toThrow('rolled back')
    expect(await noticesOf(wallet)).toEqual([])
    expect(await count()).toEqual(before)
  })

  it("of heads of the audit are the operator's alone, who is told of every wallet", async () => {
    const wallet = newWallet(service)
    const own = await addWebhook(wallet, ['*'])
    const operators = await addWebhook(undefined, ['audit.head', 'key.created'])
    const disabled = await addWebhook(undefined, ['*'])
    await rows(db(), sql`UPDATE webhooks SET disabled_at = now() WHERE id = ${disabled}`)
    const { keyId } = await createKey(service, wallet)
    const found = await noticesOf(wallet)
    const to = Object.fromEntries(found.map((one) => [one.type, one.deliveries.toSorted()]))
    expect(to).toEqual({ 'audit.head': [operators], 'key.created': [own, operators].toSorted() })
    expect(found.find(({ type }) => type === 'audit.head')?.data).toMatchObject({ sequence: 1 })
    expect(found.find(({ type }) => type === 'key.created')?.keyId).toBe(keyId)
    await rows(db(), sql`DELETE FROM webhooks WHERE wallet_address IS NULL`)
  })
})

it('keep what they are about in a database whose encoding is not UTF-8', async () => {
  const server = inject('postgresUrl')
  const name = `ascii_${crypto.randomUUID().replaceAll('-', '')}`
  const client = postgres(`${server}/postgres`, { max: 1, onnotice: () => {} })
  await client.unsafe(
    `CREATE DATABASE ${name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
  )
  await client.end()
  const { db, close } = await openDatabase(`${server}/${name}`)
  const data = { url: 'https://a.example/ü\u0000', source: 'a\\u0000' }
  await announce(db, { walletAddress: 'W', type: 'key.leaked', data, at: 0 })
  expect(await rows(db, sql`SELECT data FROM notices`)).toEqual([
    { data: { url: 'https://a.example/ü\ufffd', source: 'a\\u0000' } },
  ])
  await close()
})
