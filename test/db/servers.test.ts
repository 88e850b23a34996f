import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { refused } from '../support/assertions.ts'
import { type Cluster, startCluster } from '../support/cluster.ts'
import { startOwnPostgres } from '../support/postgres.ts'
import { GENEROUS } from '../support/process.ts'
import { writeMacs } from '../support/remac.ts'
import { type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

const START_MS = 120_000

describe('a service that knows a primary and its standby', () => {
  let cluster: Cluster
  let databaseUrl: string
  let service: Service
  let wallet: Wallet
  let key: { apiKey: string; keyId: string }
  const opened: Service[] = []
  beforeAll(async () => {
    cluster = await startCluster()
    databaseUrl = await cluster.freshDatabase()
    service = await open(databaseUrl)
    wallet = newWallet(service)
    key = await createKey(service, wallet)
  }, START_MS)
  afterAll(async () => {
    for (const one of opened) await one.close()
    await cluster.close()
  })

  async function open(url: string, like?: Service): Promise<Service> {
    const env = { ...GENEROUS, ...(like !== undefined && secretsOf(like)) }
    const one = await startService('Postgres', { databaseUrl: url, env })
    opened.push(one)
    return one
  }
  const alone = ({ host }: Cluster['primary']) => databaseUrl.replace(/@[^/]+/, `@${host}`)
  const use = (through = service) => through.call('/me', { headers: { 'X-API-Key': key.apiKey } })
  async function isReady(): Promise<Response> {
    // The probes of a second share one check.
    service.clock.now += 1_000
    return service.call('/ready')
  }

  it('opens its sessions on the primary, whatever comes first', async () => {
    const [, hosts = ''] = /@([^/]+)/.exec(databaseUrl) ?? []
    const turned = databaseUrl.replace(hosts, hosts.split(',').reverse().join(','))
    const { db, close } = await openDatabase(turned)
    onTestFinished(close)
    expect(await rows(db, sql`SELECT pg_is_in_recovery() AS standby`)).toEqual([{ standby: false }])
  })

  it('is not opened by servers of different clusters', async () => {
    const stranger = await startOwnPostgres()
    onTestFinished(stranger.close)
    const { host, pathname } = new URL(await stranger.freshDatabase())
    const client = postgres(`postgres://postgres@${host}${pathname}`, {
      max: 1,
      onnotice: () => {},
    })
    await client.unsafe(`CREATE DATABASE ${databaseUrl.split('/').at(-1)}`)
    await client.end()
    await expect(openDatabase(databaseUrl.replace('@', `@${host},`))).rejects.toThrow(
      'its servers are of different clusters',
    )
  })

  it('reads nothing on a standby, which may not have a revocation yet', async () => {
    await cluster.caughtUp()
    const { db, close } = await openDatabase(alone(cluster.standby))
    onTestFinished(close)
    const error = await rows(db, sql`SELECT 1`).catch((fault: Error) => fault.cause)
    expect(error).toMatchObject({ code: 'CONNECTION_TO_STANDBY' })
  })

  describe('while commits wait for a standby that does not respond', () => {
    it('acknowledges nothing, is not ready, and goes on when the standby does', async () => {
      await cluster.setSynchronous(true)
      expect((await isReady()).status).toBe(200)
      const thaw = cluster.standby.freeze()
      const create = { action: 'create_api_key', keyName: 'unheard', permissions: [] }
      const response = await service.call('/api-keys', json(wallet.sign(create)))
      await refused(response, 'unavailable')
      await refused(await isReady(), 'unavailable')
      thaw()
      const began = performance.now()
      while ((await use()).status !== 200);
      expect(performance.now() - began).toBeLessThan(5_000)
      expect((await isReady()).status).toBe(200)
    }, 60_000)

    it('acknowledges nothing either where an operator cancels the wait', async () => {
      const thaw = cluster.standby.freeze()
      const create = { action: 'create_api_key', keyName: 'cancelled wait', permissions: [] }
      const answer = service.call('/api-keys', json(wallet.sign(create)))
      const waiting = `FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'latchkey'`
      while ((await cluster.ask(cluster.primary, `SELECT ${waiting}`)).length === 0);
      await cluster.ask(cluster.primary, `SELECT pg_cancel_backend(pid) ${waiting}`)
      await refused(await answer, 'unavailable')
      thaw()
      while ((await use()).status !== 200);
      await cluster.setSynchronous(false)
    }, 60_000)
  })

  it('means by the version of a row what the new primary has, though the old one has the same version of it', async () => {
    const versionOn = async (server: Cluster['primary']) => {
      const database = alone(server)
      const client = postgres(database, { max: 1, onnotice: () => {} })
      const [row] = await client`SELECT xmin::text, ctid::text, permissions FROM api_keys
        WHERE id = ${key.keyId}`
      await client.end()
      return row
    }
    const execute = () =>
      service.call('/orders/00000000-0000-4000-8000-000000000000/execute', {
        method: 'POST',
        headers: { 'X-API-Key': key.apiKey },
      })
    const change = async (server: Cluster['primary'], permissions: string) => {
      const { db, close } = await openDatabase(alone(server), { maxConnections: 1 })
      await db.transaction(async (tx) => {
        await rows(
          tx,
          sql`UPDATE api_keys SET permissions = ${permissions}::text[]
          WHERE id = ${key.keyId}`,
        )
        await writeMacs(tx, service.world.mac, sql`id = ${key.keyId}`)
      })
      await close()
    }
    await cluster.caughtUp()
    // From here on the two servers give the same numbers, to different transactions.
    await cluster.ask(cluster.standby, `ALTER SYSTEM SET primary_conninfo = ''`)
    await cluster.ask(cluster.standby, 'SELECT pg_reload_conf()')
    const receiving = `SELECT FROM pg_stat_replication`
    while ((await cluster.ask(cluster.primary, receiving)).length > 0);
    await change(cluster.primary, '{create,execute,cancel}')
    for (const _ of [1, 2, 3]) expect((await execute()).status).toBe(404)
    await cluster.promote()
    await change(cluster.standby, '{}')
    const [old, now] = [await versionOn(cluster.primary), await versionOn(cluster.standby)]
    expect({ ...now, permissions: old?.permissions }).toEqual(old)
    expect(now?.permissions).toEqual([])
    // The old primary goes on: the service moves by itself.
    const sessions = `SELECT FROM pg_stat_activity WHERE application_name = 'latchkey'`
    while ((await cluster.ask(cluster.standby, sessions)).length === 0) await use()
    await refused(await execute(), 'permissionDenied')
    // A process that has seen the new timeline uses no server of the old one.
    expect((await cluster.ask(cluster.primary, sessions)).length).toBe(0)
  }, 60_000)
})
