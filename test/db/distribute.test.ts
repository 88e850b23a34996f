import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { watchKeys } from '../../src/alerts/watch.ts'
import type { Database } from '../../src/db/database.ts'
import { readPlacements, shardKeyStatements, takeSteps } from '../../src/db/distribute.ts'
import { DISTRIBUTED_TABLES, REFERENCE_TABLES } from '../../src/db/distribution.ts'
import { distributeDatabase, migrateUnderLock } from '../../src/db/open.ts'
import { OLDEST_RELEASE, RELEASE } from '../../src/db/release.ts'
import { findRoleRoute } from '../../src/db/role-route.ts'
import { grantToService } from '../../src/db/roles.ts'
import { hashSecret } from '../../src/keys/secret.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { reconcile } from '../../src/settlement/reconcile.ts'
import { useEverything } from '../http/everything.ts'
import { answered, refused } from '../support/assertions.ts'
import { CITUS_URL, plainCitusDatabase } from '../support/citus.ts'
import { writeMacs } from '../support/remac.ts'
import { oldSecret } from '../support/secrets.ts'
import { plainDatabase, type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

const ENTRY = fileURLToPath(new URL('../../src/node/distribute.ts', import.meta.url))
const ALL_TABLES = [...DISTRIBUTED_TABLES, ...REFERENCE_TABLES]
const TAKERS = 20

async function migrated(): Promise<string> {
  const databaseUrl = await plainDatabase()
  await migrateUnderLock(databaseUrl)
  return databaseUrl
}

function connect(databaseUrl: string): { client: Sql; db: Database } {
  const client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  onTestFinished(() => client.end())
  return { client, db: drizzle({ client }) as unknown as Database }
}

/** The keys of the tables, as Postgres writes them. */
async function keysOf(client: Sql): Promise<readonly unknown[]> {
  return client`SELECT conrelid::regclass::text AS table, conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
    WHERE contype IN ('p', 'u', 'f') AND conrelid::regclass::text = ANY (${ALL_TABLES}) ORDER BY 1, 2`
}

describe('the steps of a distribution', () => {
  let databaseUrl: string
  let client: Sql
  let db: Database
  beforeEach(async () => {
    databaseUrl = await migrated()
    ;({ client, db } = connect(databaseUrl))
  })

  it('go on where they ended, before whichever of them they were stopped', async () => {
    const { client: other, db: otherDb } = connect(await migrated())
    const count = await takeSteps(otherDb, shardKeyStatements, { onStep: () => {} })
    expect(count).toBeGreaterThan(40)
    for (let stop = 1; stop <= count; stop++) {
      const stopped = takeSteps(db, shardKeyStatements, {
        onStep(_, at) {
          expect(at).toBeGreaterThanOrEqual(stop - 1)
          if (at === stop) throw new Error('stopped')
        },
      })
      await expect(stopped).rejects.toThrow('stopped')
    }
    await takeSteps(db, shardKeyStatements, { onStep: () => {} })
    expect(await takeSteps(db, shardKeyStatements, { onStep: () => {} })).toBe(0)
    expect(await keysOf(client)).toEqual(await keysOf(other))
  })

  it('leave nothing half done: a step that fails is open, and all before it are done', async () => {
    const steps = [
      'CREATE TABLE one ()',
      'CREATE TABLE two (); SELECT 1 / 0',
      'CREATE TABLE three ()',
    ]
    const taken: number[] = []
    const take = () => takeSteps(db, async () => steps, { onStep: (_, at) => taken.push(at) })
    await expect(take()).rejects.toThrow()
    expect(
      await client`SELECT to_regclass('one') IS NOT NULL AS one, to_regclass('two') IS NULL AS no_two`,
    ).toEqual([{ one: true, no_two: true }])
    await client`UPDATE latchkey_distribution SET statement = 'CREATE TABLE two ()' WHERE step = 2`
    expect(await take()).toBe(2)
    expect(taken).toEqual([1, 2, 2, 3])
  })

  it('are taken once each by processes that take them at the same time', async () => {
    await client`CREATE SEQUENCE taken`
    const steps = Array.from({ length: 30 }, () => `SELECT nextval('taken')`)
    await expect(
      takeSteps(db, async () => steps, {
        onStep() {
          throw new Error('recorded only')
        },
      }),
    ).rejects.toThrow()
    const takers = Array.from({ length: TAKERS }, () => connect(databaseUrl).db)
    await Promise.all(takers.map((one) => takeSteps(one, async () => [], { onStep: () => {} })))
    expect(await client`SELECT last_value::int AS taken FROM taken`).toEqual([
      { taken: steps.length },
    ])
  })

  it('are not taken beside the service', async () => {
    const service = await startService('Postgres', { databaseUrl })
    onTestFinished(service.close)
    await expect(takeSteps(db, async () => [], { onStep: () => {} })).rejects.toThrow(
      'stop its processes first',
    )
  })

  it('end a process that no session shows: it serves no request from its next look at the database on, also afterwards', async () => {
    const pooled = `${databaseUrl}?application_name=pooler`
    const service = await startService('Postgres', { databaseUrl: pooled })
    onTestFinished(service.close)
    await answered(await service.call('/orders'))
    const isTaken = takeSteps(db, shardKeyStatements, {
      onStep(_, at) {
        if (at === 3) throw new Error('stopped')
      },
    })
    await expect(isTaken).rejects.toThrow('stopped')
    await expect(startService('Postgres', { databaseUrl: pooled })).rejects.toThrow(
      'npm run distribute goes on where it ended',
    )
    const isRefused = async () => {
      await service.world.watch.read(service.world.db)
      const { details } = await refused(await service.call('/orders'), 'unavailable')
      expect(details).toEqual({ reason: 'release' })
    }
    await isRefused()
    await takeSteps(db, shardKeyStatements, { onStep: () => {} })
    await isRefused()
    expect(service.logged.filter((line) => line.includes('"tables_distributed"'))).toHaveLength(1)
  })

  it('admit no release without shards any more', async () => {
    const oldest = async () =>
      (await client`SELECT oldest FROM latchkey_releases ORDER BY release DESC LIMIT 1`)[0]?.oldest
    expect([await oldest(), OLDEST_RELEASE]).toEqual([2, 2])
    await takeSteps(db, async () => [], { onStep: () => {} })
    expect([await oldest(), RELEASE]).toEqual([3, 3])
  })

  it('cannot be changed by the role of the service: they run with the rights of the owner', async () => {
    await takeSteps(db, async () => ['SELECT 1'], { onStep: () => {} })
    const role = `service_${randomUUID().slice(0, 8)}`
    await client.unsafe(`CREATE ROLE ${role}`)
    await grantToService(databaseUrl, role)
    const may = (right: string) =>
      client`SELECT has_table_privilege(${role}, 'latchkey_distribution', ${right}) AS may`
    expect(await may('SELECT')).toEqual([{ may: true }])
    for (const right of ['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER'])
      expect([right, await may(right)]).toEqual([right, [{ may: false }]])
  })
})

it('sessions of a role plan statements anew where tables are distributed, whose plans are of the shards that they name', async () => {
  const databaseUrl = await migrated()
  const settings = async () => (await findRoleRoute(databaseUrl)).settings
  expect(await settings()).toMatchObject({ plan_cache_mode: 'force_generic_plan' })
  await takeSteps(connect(databaseUrl).db, async () => [], { onStep: () => {} })
  expect(await settings()).toMatchObject({ plan_cache_mode: 'force_custom_plan' })
})

/** As `npm run distribute`, in a process of its own, which is killed when it comes to a step. Resolves to its exit code, or signal. */
async function distributeUntil(
  databaseUrl: string,
  kill: (step: number) => boolean,
): Promise<unknown> {
  const child: ChildProcess = spawn(process.execPath, [ENTRY], {
    env: { PATH: process.env.PATH, DATABASE_URL: databaseUrl },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const exit = once(child, 'exit')
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
    const step = Number(/^(\d+)\//.exec(line)?.[1] ?? 0)
    // Within the step, or just before or after it.
    if (kill(step)) setTimeout(() => child.kill('SIGKILL'), Math.random() * 60)
  })
  const [code, signal] = await exit
  return signal ?? code
}

describe.skipIf(CITUS_URL === undefined)(
  'npm run distribute on a cluster, with the data of a service',
  () => {
    let before: Service
    let databaseUrl: string
    let client: Sql
    let wallet: Wallet
    let key: { apiKey: string; keyId: string }
    const old = oldSecret()
    let oldKeyId = ''
    let open: string[]
    let rowsBefore: Record<string, string[]>

    async function contents(): Promise<Record<string, string[]>> {
      const found: Record<string, string[]> = {}
      for (const table of ALL_TABLES) {
        const all = await client.unsafe(`SELECT to_jsonb(one)::text AS text FROM ${table} AS one`)
        found[table] = all.map(({ text }) => text as string).sort()
      }
      return found
    }

    beforeAll(async () => {
      databaseUrl = await plainCitusDatabase(CITUS_URL ?? '')
      client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
      before = await startService('Postgres', { databaseUrl })
      await useEverything(before)
      wallet = newWallet(before)
      await fund(before, wallet)
      const { inputToken } = wallet.order()
      const terms = { maxAmountIn: { [inputToken]: { perDay: '5000000' } }, rateLimit: 12 }
      key = await createKey(before, wallet, terms)
      const { keyId } = await createKey(before, newWallet(before))
      oldKeyId = keyId
      await client`UPDATE api_keys SET key_hash = decode(${hashSecret(old)}, 'hex') WHERE id = ${keyId}`
      await writeMacs(before.world.db, before.world.mac, sql`id = ${keyId}`)
      const headers = { 'X-API-Key': key.apiKey }
      const make = async () => {
        const order = wallet.order()
        await answered(await before.call('/orders/new', json(order, headers)), 201)
        return order.uuid
      }
      open = [await make(), await make(), await make()]
      await before.world.usage.flush(before.world.db)
      await before.close()
      rowsBefore = await contents()
    }, 240_000)
    afterAll(() => client?.end())

    it('is killed at every step, and ends with every row', { timeout: 1_800_000 }, async () => {
      const killed = new Set<number>()
      const ends: unknown[] = []
      do {
        const code = await distributeUntil(databaseUrl, (step) => {
          if (step === 0 || killed.has(step)) return false
          killed.add(step)
          return true
        })
        ends.push(code)
      } while (ends.at(-1) === 'SIGKILL')
      expect(ends.at(-1)).toBe(0)
      const [steps] = await client`SELECT count(*)::int AS steps FROM latchkey_distribution`
      expect(killed.size).toBe(steps?.steps)
      console.info(`killed ${ends.length - 1} times at ${killed.size} steps`)
      expect(await contents()).toEqual(rowsBefore)
      expect(await distributeUntil(databaseUrl, () => false)).toBe(0)
      const distributed = await client`SELECT table_name::text AS name FROM citus_tables
      WHERE citus_table_type = 'distributed' ORDER BY 1`
      expect(distributed.map(({ name }) => name)).toEqual([...DISTRIBUTED_TABLES].sort())
    })

    it('the service goes on with its keys, limits, orders and audits', {
      timeout: 240_000,
    }, async () => {
      const after = await startService('Postgres', { databaseUrl, env: secretsOf(before) })
      onTestFinished(after.close)
      after.clock.now = before.clock.now
      const use = (apiKey: string) => after.call('/me', { headers: { 'X-API-Key': apiKey } })
      await answered(await use(old))
      const [executed = '', cancelled = ''] = open
      const headers = { 'X-API-Key': key.apiKey }
      const act = (uuid: string, verb: string, method: string) =>
        after.call(`/orders/${uuid}/${verb}`, { method, headers })
      await answered(await act(executed, 'execute', 'POST'))
      await answered(await act(cancelled, 'cancel', 'PATCH'))
      await refused(await act(cancelled, 'execute', 'POST'), 'orderNotOpen')
      // Three of the five million were reserved before, and one was returned by the cancellation.
      const order = wallet.order({ amountIn: '4000000' })
      await refused(await after.call('/orders/new', json(order, headers)), 'limitExceeded')
      const statuses = await Promise.all(
        Array.from({ length: 24 }, async () => (await use(key.apiKey)).status),
      )
      expect(statuses.filter((status) => status === 200)).toHaveLength(12 - 3 - 4)
      await createOrder(after, wallet)
      await useEverything(after)
      const { unchecked, faults } = await checkAudit(after.world)
      // The test gave the old key its secret, which no event says.
      expect(faults.map((one) => ('keyId' in one ? one.keyId : one))).toEqual([oldKeyId])
      expect(unchecked).toEqual([])
      const nodes = new Set((await readPlacements(after.world.db)).map(({ node }) => node))
      expect(nodes.size).toBeGreaterThan(1)
    })
  },
)

it.skipIf(CITUS_URL === undefined)(
  'a role that owns nothing runs the service on a cluster, and cannot change what is append-only',
  { timeout: 240_000 },
  async () => {
    const databaseUrl = await plainCitusDatabase(CITUS_URL ?? '')
    const { client } = connect(databaseUrl)
    const role = `service_${randomUUID().slice(0, 8)}`
    await client.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`)
    await distributeDatabase(databaseUrl, { onStep: () => {} })
    await grantToService(databaseUrl, role)
    const asRole = Object.assign(new URL(databaseUrl), { username: role, password: 'secret' })
    const service = await startService('Postgres', { databaseUrl: asRole.href })
    onTestFinished(service.close)
    const wallet = newWallet(service)
    await fund(service, wallet)
    const { apiKey } = await createKey(service, wallet, {
      heartbeat: { seconds: 60, then: 'cancel' },
    })
    const headers = { 'X-API-Key': apiKey }
    const order = wallet.order()
    await answered(await service.call('/orders/new', json(order, headers)), 201)
    await answered(await service.call(`/orders/${order.uuid}/execute`, { method: 'POST', headers }))
    await reconcile(service.world)
    service.clock.now += 90_000
    await watchKeys(service.world)
    await service.world.usage.flush(service.world.db)
    const db = service.database.db
    for (const table of ['audit_events', 'signed_actions', 'order_events'])
      await expect(db.execute(sql.raw(`DELETE FROM ${table}`))).rejects.toThrow()
    expect((await checkAudit(service.world)).faults).toEqual([])
  },
)
