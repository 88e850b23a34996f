import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { watchKeys } from '../../src/alerts/watch.ts'
import { rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { JOBS } from '../../src/jobs.ts'
import { resumeByOperator, suspendByOperator } from '../../src/keys/suspend.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { reconcile } from '../../src/settlement/reconcile.ts'
import { answered, refused } from '../support/assertions.ts'
import { MIGRATIONS } from '../support/old-database.ts'
import { freshDatabase, type Service, startService } from '../support/service.ts'
import { createKey, fund, json, newWallet } from '../support/wallet.ts'

const run = promisify(execFile)

describe('The service with a role that owns nothing', () => {
  const [owner, role] = ['owner', 'service'].map((name) => `${name}_${randomUUID().slice(0, 8)}`)
  let admin: postgres.Sql
  let service: Service
  let ownerUrl: string

  async function migrate(env: Record<string, string> = {}) {
    const options = {
      env: { PATH: process.env.PATH, DATABASE_URL: ownerUrl, ...env },
    }
    return run(process.execPath, [join(MIGRATIONS, '../src/node/migrate.ts')], options).then(
      ({ stdout }) => stdout,
      ({ stderr }) => stderr,
    )
  }

  beforeAll(async () => {
    const superuser = await freshDatabase('Postgres')
    const database = new URL(superuser).pathname.slice(1)
    const as = (name: string) => {
      const url = new URL(superuser)
      Object.assign(url, { username: name, password: 'secret' })
      return String(url)
    }
    admin = postgres(superuser, { max: 1, onnotice: () => {} })
    for (const name of [owner, role])
      await admin.unsafe(`CREATE ROLE ${name} LOGIN PASSWORD 'secret'`)
    await admin.unsafe(`ALTER DATABASE ${database} OWNER TO ${owner}`)
    ownerUrl = as(owner ?? '')
    await expect(openDatabase(as(role ?? ''))).rejects.toThrow('cannot be opened')
    expect(await migrate({ SERVICE_ROLE: role ?? '' })).toContain(`${role} may run the service`)
    service = await startService('Postgres', { databaseUrl: as(role ?? '') })
  }, 120_000)
  afterAll(async () => {
    await service.close()
    await admin.end()
  })

  it('does everything that the service does', async () => {
    const wallet = newWallet(service)
    await fund(service, wallet)
    const { apiKey, keyId } = await createKey(service, wallet, {
      maxAmountIn: { [wallet.order().inputToken]: { perDay: '3000000' } },
      ipAllowlist: ['127.0.0.1'],
    })
    const headers = { 'X-API-Key': apiKey }
    const order = async () => {
      const made = wallet.order()
      await answered(await service.call('/orders/new', json(made, headers)), 201)
      return made.uuid
    }
    const execute = `/orders/${await order()}/execute`
    await answered(await service.call(execute, { method: 'POST', headers }))
    await reconcile(service.world)
    for (const { name, run } of JOBS)
      if (name.startsWith('forget_')) await run(service.world, service.clock.now + 400 * 86_400_000)
    await createKey(service, newWallet(service), {
      heartbeat: { seconds: 10, then: 'cancel' },
      alerts: { requestsPerMinute: { above: 1, action: 'notify' } },
    }).then(async (bot) => {
      const beat = { method: 'POST', headers: { 'X-API-Key': bot.apiKey } }
      for (let time = 0; time < 2; time++) await answered(await service.call('/heartbeat', beat))
    })
    await service.world.usage.flush(service.world.db)
    await watchKeys(service.world)
    const cancel = `/orders/${await order()}/cancel`
    await answered(await service.call(cancel, { method: 'PATCH', headers }))
    await order()
    await refused(await service.call('/me', { headers, ip: '192.0.2.1' }), 'ipNotAllowed')
    const sign = (action: string, members: object = {}) =>
      json(wallet.sign({ action, keyId, ...members }))
    const change = { ...sign('update_api_key', { label: 'x' }), method: 'PATCH' }
    await answered(await service.call(`/api-keys/${keyId}`, change))
    for (const [verb, members] of [
      ['rotate', { graceSeconds: 0 }],
      ['suspend', {}],
      ['resume', {}],
    ] as const) {
      const body = sign(`${verb}_api_key`, members)
      await answered(await service.call(`/api-keys/${keyId}/${verb}`, body))
    }
    const session = json(wallet.sign({ action: 'create_session', ttlSeconds: 60 }))
    const opened = await service.call('/sessions', session)
    const { session: secret } = await answered<{ session: string }>(opened, 201)
    const bearer = { Authorization: `Bearer ${secret}` }
    for (const path of ['/audit', '/api-keys', `/api-keys/${keyId}/usage`, '/orders'])
      await answered(await service.call(path, { headers: bearer }))
    await answered(await service.call('/sessions/self', { method: 'DELETE', headers: bearer }))
    const all = { action: 'revoke_all_api_keys', cancelOpenOrders: true }
    const revoked = await service.call('/api-keys/revoke-all', json(wallet.sign(all)))
    expect(await answered(revoked)).toMatchObject({ keyIds: [keyId], cancelledOrders: 1 })
    // The first flush also deletes old statistics.
    await service.world.usage.flush(service.world.db)
    const target = { walletAddress: wallet.address }
    for (const verb of [suspendByOperator, resumeByOperator])
      expect((await verb(service.world, target, 'test', service.clock.now)).ok).toBe(true)
    const { faults, unchecked } = await checkAudit(service.world)
    expect([faults, unchecked]).toEqual([[], []])
  })

  it.each([
    'ALTER TABLE audit_events DISABLE TRIGGER audit_events_append_only',
    'ALTER TABLE order_events DISABLE TRIGGER ALL',
    'DROP TRIGGER signed_actions_append_only ON signed_actions',
    'DROP FUNCTION refuse_change() CASCADE',
    'CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$',
    'SET session_replication_role = replica',
    'UPDATE audit_events SET body = body',
    'DELETE FROM audit_events',
    'TRUNCATE audit_events',
    'UPDATE signed_actions SET action = action',
    'DELETE FROM signed_actions',
    'DELETE FROM order_events',
    'DELETE FROM api_keys',
    'DELETE FROM orders',
    'TRUNCATE api_keys CASCADE',
    'ALTER TABLE api_keys DROP COLUMN rights_mac',
    'DROP TABLE audit_events',
    'CREATE TABLE mine (id int)',
    'CREATE TRIGGER mine BEFORE INSERT ON audit_events FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()',
    'UPDATE drizzle.__drizzle_migrations SET created_at = 0',
  ])('cannot %s', async (statement) => {
    await expect(rows(service.world.db, sql.raw(statement))).rejects.toMatchObject({
      // Not by the trigger, which a table's owner could disable.
      cause: { code: '42501', message: expect.stringMatching(/permission denied|must be owner/) },
    })
  })

  it('is refused by the script where the role has the rights of the owner', async () => {
    expect(await migrate({ SERVICE_ROLE: owner ?? '' })).toContain(
      "the rights of the tables' owner",
    )
    expect(await migrate({ SERVICE_ROLE: 'nowhere' })).toContain('there is no role nowhere')
    await admin.unsafe(`GRANT ${owner} TO ${role}`)
    expect(await migrate({ SERVICE_ROLE: role ?? '' })).toContain("the rights of the tables' owner")
    await admin.unsafe(`REVOKE ${owner} FROM ${role}`)
  })
})
