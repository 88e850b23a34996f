import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { describe, expect, it, onTestFinished } from 'vitest'
import { isOutage } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { hashSecret } from '../../src/keys/secret.ts'
import { databaseAt } from '../support/old-database.ts'
import { writeMacs } from '../support/remac.ts'
import { oldSecret } from '../support/secrets.ts'
import { startService } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'

/** The last migration of the release that counted in `api_keys`. */
const COUNTED_IN_KEYS = 8
const LIMIT = 2_000
const CALLERS = 24

/** A key of that release, half through its hour and its day. */
async function oldKey(client: postgres.Sql, minute: number) {
  const apiKey = oldSecret()
  await client`INSERT INTO signed_actions
      (wallet_address, action, message, message_hash, signature, public_key, accepted_at)
    VALUES ('ST', 'create_api_key', '{}', '\\x00', '', '', now())`
  await client`INSERT INTO api_keys (id, key_hash, key_preview, wallet_address, name, permissions, grant_id, created_at,
      minute_window, minute_count, hour_window, hour_count, day_window, day_count, total_requests, successful_requests)
    SELECT 'key_old', decode(${hashSecret(apiKey)}, 'hex'), '', 'ST', 'old', '{create,execute}', max(id), now(),
      ${minute}, 0, ${Math.floor(minute / 60)}, 7, ${Math.floor(minute / 1_440)}, 9, 11, 5 FROM signed_actions`
  return { apiKey, keyId: 'key_old' }
}

/** What a process of that release did for each request, and when the work of one succeeded. */
const countAsBefore = (client: postgres.Sql, minute: number) => client`
  UPDATE api_keys SET minute_count = CASE WHEN minute_window >= ${minute} THEN minute_count ELSE 0 END + 1,
    minute_window = greatest(minute_window, ${minute}), hour_count = hour_count + 1, day_count = day_count + 1,
    total_requests = total_requests + 1, last_used_at = now()
  WHERE id = 'key_old' AND CASE WHEN minute_window >= ${minute} THEN minute_count ELSE 0 END < ${LIMIT} RETURNING id`
const succeedAsBefore = (client: postgres.Sql) => client`
  UPDATE api_keys SET successful_requests = successful_requests + 1 WHERE id = 'key_old'`

describe('after an upgrade from a release that counted in api_keys', () => {
  it('no budget is exceeded, whatever that release counted until it was refused', async () => {
    const { databaseUrl, client: admin } = await databaseAt(COUNTED_IN_KEYS)
    const minute = Math.floor(Date.now() / 60_000)
    const { apiKey, keyId } = await oldKey(admin, minute)
    await admin.end()
    const old = postgres(databaseUrl, { max: CALLERS, onnotice: () => {} })
    onTestFinished(() => old.end())
    let counted = 0
    const errors: unknown[] = []
    const caller = async () => {
      while (errors.length < CALLERS) {
        const passed = await countAsBefore(old, minute).catch((error) => {
          errors.push(error)
          return []
        })
        counted += passed.length
      }
    }
    const callers = Promise.all(Array.from({ length: CALLERS }, caller))
    await admitted(() => counted > CALLERS)
    const { close } = await openDatabase(databaseUrl)
    onTestFinished(close)
    await callers
    for (const error of errors) expect(isOutage(error)).toBe(true)
    expect(counted).toBeLessThan(LIMIT)

    const service = await startService('Postgres', {
      databaseUrl,
      env: { RATE_LIMIT_PER_MINUTE: String(LIMIT), RATE_LIMIT_PER_HOUR: '100000' },
    })
    onTestFinished(service.close)
    service.clock.now = minute * 60_000
    await writeMacs(service.world.db, service.world.mac, sql`id = ${keyId}`)
    const use = () => service.call('/orders', { headers: { 'X-API-Key': apiKey } })
    const statuses = await Promise.all(
      Array.from({ length: LIMIT - counted + 20 }, async () => (await use()).status),
    )
    expect(statuses.filter((status) => status === 200)).toHaveLength(LIMIT - counted)
    const [row] = await old`SELECT minute_count, hour_count, day_count, total_requests::int,
      successful_requests::int FROM key_counters WHERE key_id = ${keyId}`
    expect(row).toEqual({
      minute_count: LIMIT,
      hour_count: 7 + LIMIT,
      day_count: 9 + LIMIT,
      total_requests: 11 + LIMIT,
      successful_requests: 5 + LIMIT - counted,
    })
  })

  it('a process of that release admits nothing more, counts no success, and may still create keys', async () => {
    const service = await startService('Postgres')
    onTestFinished(service.close)
    const old = postgres(service.databaseUrl, { max: 1, onnotice: () => {} })
    onTestFinished(() => old.end())
    const minute = Math.floor(service.clock.now / 60_000)
    for (const statement of [() => countAsBefore(old, minute), () => succeedAsBefore(old)])
      await expect(statement().catch(isOutage)).resolves.toBe(true)
    const { apiKey, keyId } = await oldKey(old, minute)
    await writeMacs(service.world.db, service.world.mac, sql`id = ${keyId}`)
    const used = await service.call('/orders', { headers: { 'X-API-Key': apiKey } })
    expect(used.status).toBe(200)
    for (const statement of [() => countAsBefore(old, minute), () => succeedAsBefore(old)])
      await expect(statement().catch(isOutage)).resolves.toBe(true)
  })

  it('going back is what docs/operations.md says, and keeps the counts', async () => {
    const service = await startService('Postgres')
    onTestFinished(service.close)
    const { apiKey, keyId } = await createKey(service, newWallet(service))
    await service.call('/orders', { headers: { 'X-API-Key': apiKey } })
    const client = postgres(service.databaseUrl, { max: 1, onnotice: () => {} })
    onTestFinished(() => client.end())
    for (const statement of await wayBack()) await client.unsafe(statement)
    const [row] = await client`SELECT minute_count, total_requests::int, successful_requests::int
      FROM api_keys WHERE id = ${keyId}`
    expect(row).toEqual({ minute_count: 1, total_requests: 1, successful_requests: 1 })
    await client`UPDATE api_keys SET total_requests = total_requests + 1`
  })
})

async function wayBack(): Promise<string[]> {
  const { readFile } = await import('node:fs/promises')
  const text = await readFile(new URL('../../docs/operations.md', import.meta.url), 'utf8')
  const section = text.slice(text.indexOf('### A release that counted in `api_keys`'))
  const [, block = ''] = /```sql\n([\s\S]*?)```/.exec(section) ?? []
  return block.split(';\n').filter((statement) => statement.trim() !== '')
}

/** Resolves once a condition holds, which other work of the process makes true. */
async function admitted(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise<void>((resolve) => setImmediate(resolve))
}
