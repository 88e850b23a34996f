import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { refused } from '../support/assertions.ts'
import { type OwnPostgres, startOwnPostgres } from '../support/postgres.ts'
import { GENEROUS } from '../support/process.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'

const RECOVERY_MS = 2_000

describe('a service whose server stops writes', () => {
  let server: OwnPostgres
  let service: Service
  let admin: postgres.Sql
  let headers: Record<string, string>
  beforeAll(async () => {
    server = await startOwnPostgres()
    service = await startService('Postgres', {
      databaseUrl: await server.freshDatabase(),
      env: GENEROUS,
    })
    admin = postgres(service.databaseUrl, { max: 1, onnotice: () => {} })
    headers = { 'X-API-Key': (await createKey(service, newWallet(service))).apiKey }
  })
  afterAll(async () => {
    await admin.end()
    await service.close()
    await server.close()
  })
  beforeEach(async () => {
    await setReadOnly('off')
    await admin.unsafe('ALTER ROLE postgres RESET default_transaction_read_only')
    await until(200)
  })

  async function setReadOnly(value: 'on' | 'off') {
    await admin.unsafe(`SET default_transaction_read_only = off`)
    await admin.unsafe(`ALTER SYSTEM SET default_transaction_read_only = ${value}`)
    await admin`SELECT pg_reload_conf()`
  }
  const sessions = async () =>
    (
      await admin`SELECT pid FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'latchkey'`
    ).map(({ pid }) => pid as number)
  const use = () => service.call('/me', { headers })
  /** Requests until one has the status; resolves to how long that took. */
  async function until(status: number): Promise<number> {
    const began = performance.now()
    while ((await use()).status !== status)
      if (performance.now() - began > 20_000) throw new Error(`never ${status}`)
    return performance.now() - began
  }

  it('is not ready and says why, answers 503 and not 500, and is ready again within 2 s', async () => {
    await setReadOnly('on')
    await until(503)
    await refused(await use(), 'unavailable')
    const { details } = await refused(await service.call('/ready'), 'unavailable')
    expect(details).toEqual({ reason: 'database_read_only' })
    await setReadOnly('off')
    const began = performance.now()
    await until(200)
    // The probes of a second share one check.
    service.clock.now += 1_000
    expect((await service.call('/ready')).status).toBe(200)
    expect(performance.now() - began).toBeLessThan(RECOVERY_MS)
  })

  it('replaces sessions that can never write again by new ones that can, within 2 s', async () => {
    await Promise.all(Array.from({ length: 20 }, use))
    const before = await sessions()
    // Sessions that begin now may write; those that are open may not any more.
    const { pathname } = new URL(service.databaseUrl)
    await admin.unsafe(
      `ALTER ROLE postgres IN DATABASE ${pathname.slice(1)} SET default_transaction_read_only = off`,
    )
    await setReadOnly('on')
    const began = performance.now()
    let lastRefused = began
    while (performance.now() - began < 2 * RECOVERY_MS)
      if ((await use()).status !== 200) lastRefused = performance.now()
    expect(lastRefused - began).toBeLessThan(RECOVERY_MS)
    const answers = await Promise.all(Array.from({ length: 20 }, use))
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
    expect((await sessions()).filter((pid) => before.includes(pid))).toEqual([])
  })
})
