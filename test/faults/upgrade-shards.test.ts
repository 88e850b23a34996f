import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { DISTRIBUTED_TABLES } from '../../src/db/distribution.ts'
import { refused } from '../support/assertions.ts'
import { databaseAt } from '../support/old-database.ts'
import { fundedOperator, type ServiceProcess, sharedEnv, startProcess } from '../support/process.ts'
import {
  hasCommitWithoutShards,
  LAST_MIGRATION_WITHOUT_SHARDS,
  writeCommitWithoutShards,
} from '../support/release-before.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

const START_MS = 240_000
const LANES = 8
const KEYS = 4
const RATE = 24
const OPEN_ORDERS = 6

/** Rows of a table whose shard is not the one of their wallet. */
const WRONG_SHARDS: Readonly<Record<(typeof DISTRIBUTED_TABLES)[number], string>> = {
  wallets: 'shard <> wallet_shard(address)',
  signed_actions: 'shard <> wallet_shard(wallet_address)',
  api_keys: 'shard <> wallet_shard(wallet_address)',
  key_counters: ofKey('key_counters'),
  key_spending: ofKey('key_spending'),
  key_reservations: ofKey('key_reservations'),
  key_usage: ofKey('key_usage'),
  key_sightings: ofKey('key_sightings'),
  request_nonces: ofKey('request_nonces'),
  key_watches: ofKey('key_watches'),
  key_rates: ofKey('key_rates'),
  key_findings: ofKey('key_findings'),
  sessions: 'shard <> wallet_shard(wallet_address)',
  audit_events: 'shard <> wallet_shard(wallet_address)',
  orders: 'shard <> wallet_shard(owner)',
  order_events: ofOrder('order_events'),
  transactions: ofOrder('transactions'),
  archived_audits: 'shard <> wallet_shard(wallet_address)',
  archived_orders: 'false',
  webhooks: 'shard <> coalesce(wallet_shard(wallet_address), 0)',
  notices: 'shard <> wallet_shard(wallet_address)',
  deliveries: 'shard <> (SELECT shard FROM notices WHERE id = deliveries.notice_id)',
}

function ofKey(table: string): string {
  return `shard <> (SELECT wallet_shard(wallet_address) FROM api_keys WHERE id = ${table}.key_id)`
}

function ofOrder(table: string): string {
  return `shard <> (SELECT wallet_shard(owner) FROM orders WHERE uuid = ${table}.order_uuid)`
}

/** Of the requests of the load. */
const SUCCESSES = ['read 200', 'create 201', 'key of a new wallet 201']

interface Owner {
  wallet: Wallet
  apiKey: string
  session: string
}

describe.skipIf(!hasCommitWithoutShards())(
  'a release beside the last one without shards, on one database,',
  () => {
    let folder: string
    let before: ServiceProcess
    let after: ServiceProcess
    let admin: postgres.Sql
    /** Of a wallet that existed before the migration. */
    let early: Owner
    let earlyOrders: string[]
    const during: Record<string, number> = {}
    /** Resolves once each kind of request had its success. */
    const served = Promise.withResolvers<void>()

    beforeAll(async () => {
      const { databaseUrl, client } = await databaseAt(LAST_MIGRATION_WITHOUT_SHARDS)
      admin = client
      const chain = { devnetUrl: inject('devnetUrl') }
      const env = {
        ...sharedEnv(databaseUrl, chain),
        MAX_ACTIVE_KEYS_PER_WALLET: String(KEYS),
        SLIPPAGE_BPS: '100',
      }
      const own = async () => ({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
      folder = mkdtempSync(join(tmpdir(), 'latchkey-before-'))
      before = await startProcess(await own(), undefined, writeCommitWithoutShards(folder))
      early = await newOwner(before)
      earlyOrders = await Promise.all(
        Array.from({ length: OPEN_ORDERS }, () => createOrder(before, early.wallet)),
      )
      const [executed = '', cancelled = ''] = earlyOrders
      expect((await act(before, early, executed, 'execute')).status).toBe(200)
      expect((await act(before, early, cancelled, 'cancel')).status).toBe(200)
      let isStarting = true
      const lanes = Array.from({ length: LANES }, async (_, lane) => {
        while (isStarting) await load(lane)
      })
      await served.promise
      after = await startProcess(await own())
      isStarting = false
      await Promise.all(lanes)
    }, START_MS)
    afterAll(async () => {
      await Promise.all([before?.stop(), after?.stop(), admin?.end()])
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
    })

    /** A wallet with funds, a key with a daily limit, and a session, of the process that it began at. */
    async function newOwner(door: ServiceProcess): Promise<Owner> {
      const wallet = newWallet(door)
      await fund({ call: door.call } as Parameters<typeof fund>[0], wallet)
      const { inputToken } = wallet.order()
      const maxAmountIn = { [inputToken]: { perDay: '1000000000' } }
      const { apiKey } = await createKey(door, wallet, { maxAmountIn })
      const created = await door.call(
        '/sessions',
        json(wallet.sign({ action: 'create_session', ttlSeconds: 600 })),
      )
      const { session } = (await created.json()) as { session: string }
      return { wallet, apiKey, session }
    }

    const act = (door: ServiceProcess, { apiKey }: Owner, uuid: string, verb: string) =>
      door.call(`/orders/${uuid}/${verb}`, {
        method: verb === 'cancel' ? 'PATCH' : 'POST',
        headers: { 'X-API-Key': apiKey },
      })
    const use = (door: ServiceProcess, apiKey: string) =>
      door.call('/me', { headers: { 'X-API-Key': apiKey } })

    async function load(lane: number): Promise<void> {
      const headers = { 'X-API-Key': early.apiKey }
      const requests: Record<string, () => Promise<Response>> = {
        read: () => use(before, early.apiKey),
        create: () => before.call('/orders/new', json(early.wallet.order(), headers)),
        'key of a new wallet': async () => {
          const create = { action: 'create_api_key', keyName: 'bot', permissions: [] }
          return before.call('/api-keys', json(newWallet(before).sign(create)))
        },
      }
      const [name, send] = Object.entries(requests)[lane % 3] as [string, () => Promise<Response>]
      const response = await send()
      const { code = '' } = (await response.json()) as { code?: string }
      const what = `${name} ${response.status} ${code}`.trim()
      during[what] = (during[what] ?? 0) + 1
      if (SUCCESSES.every((success) => during[success] !== undefined)) served.resolve()
    }

    it('migrates it under load: every request of the process before got its response, or 503 UNAVAILABLE', () => {
      const others = Object.keys(during).filter((what) => !SUCCESSES.includes(what))
      expect(others.filter((what) => !/ 503 UNAVAILABLE$/.test(what))).toEqual([])
    })

    it('what began at the one goes on at the other: keys, sessions, orders', async () => {
      const late = await newOwner(after)
      for (const door of [before, after])
        for (const owner of [early, late]) {
          expect((await use(door, owner.apiKey)).status).toBe(200)
          const bearer = { Authorization: `Bearer ${owner.session}` }
          expect((await door.call('/audit', { headers: bearer })).status).toBe(200)
          const uuid = await createOrder(door, owner.wallet)
          const other = door === before ? after : before
          expect((await act(other, owner, uuid, 'execute')).status).toBe(200)
          const ended = await createOrder(door, owner.wallet)
          expect((await act(other, owner, ended, 'cancel')).status).toBe(200)
          await refused(await act(door, owner, ended, 'execute'), 'orderNotOpen')
        }
      const [, , open = ''] = earlyOrders
      expect((await act(after, early, open, 'execute')).status).toBe(200)
    })

    it("a key's limit is exact across both, whichever made the key", async () => {
      for (const door of [before, after]) {
        const { apiKey } = await createKey(door, newWallet(door), { rateLimit: RATE })
        const statuses = await Promise.all(
          Array.from({ length: 5 * RATE }, async (_, at) => {
            const { status } = await use(at % 2 === 0 ? before : after, apiKey)
            return status
          }),
        )
        // A minute may have begun meanwhile.
        expect([RATE, 2 * RATE]).toContain(statuses.filter((status) => status === 200).length)
      }
    })

    it('no wallet has more keys than its limit', async () => {
      for (let round = 0; round < 5; round++) {
        const wallet = newWallet(after)
        const statuses = await Promise.all(
          Array.from({ length: 3 * KEYS }, async (_, at) => {
            const create = { action: 'create_api_key', keyName: `bot ${at}`, permissions: [] }
            const door = at % 2 === 0 ? before : after
            return (await door.call('/api-keys', json(wallet.sign(create)))).status
          }),
        )
        expect(statuses.filter((status) => status === 201)).toHaveLength(KEYS)
      }
    })

    it('a key that one revoked is refused by the other', async () => {
      for (const [door, other] of [
        [before, after],
        [after, before],
      ] as const) {
        const { wallet, apiKey } = await newOwner(door)
        const [{ keyId = '' } = {}] = (await admin`SELECT id AS "keyId" FROM api_keys
          WHERE wallet_address = ${wallet.address}`) as unknown as { keyId: string }[]
        const body = json(wallet.sign({ action: 'delete_api_key', keyId }))
        const revoked = await other.call(`/api-keys/${keyId}`, { ...body, method: 'DELETE' })
        expect(revoked.status).toBe(200)
        for (const one of [door, other]) await refused(await use(one, apiKey), 'apiKeyInactive')
      }
    })

    it('every row of either, from before and after the migration, has the shard of its wallet', async () => {
      // Both have counted uses by then, which are written behind the requests.
      await Promise.all([before.stop(), after.stop()])
      for (const [table, isWrong] of Object.entries(WRONG_SHARDS)) {
        const [found] = await admin.unsafe(
          `SELECT count(*)::int AS rows, count(*) FILTER (WHERE ${isWrong})::int AS wrong FROM ${table}`,
        )
        expect([table, found?.wrong]).toEqual([table, 0])
        // Nothing was archived, no webhook waited for anything, no key was watched, and none signed.
        if (!UNUSED.test(table)) expect(found?.rows, table).toBeGreaterThan(0)
      }
      expect(Object.keys(WRONG_SHARDS)).toEqual([...DISTRIBUTED_TABLES])
    })
  },
)

/** Tables of what the release before does not have. */
const UNUSED =
  /^(archived_\w+|webhooks|notices|deliveries|request_nonces|key_(watches|rates|findings))$/
