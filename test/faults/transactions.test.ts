import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { fundedOperator, type ServiceProcess, sharedEnv, startProcess } from '../support/process.ts'
import { freshDatabase } from '../support/service.ts'
import { createKey, newWallet, type Wallet } from '../support/wallet.ts'

/** Whoever takes one of these locks stops every revocation after that statement, before its transaction goes on. */
const AFTER = { message: 1, key: 2 }

describe('a transaction', () => {
  let one: ServiceProcess
  let other: ServiceProcess
  let admin: postgres.Sql
  let wallet: Wallet
  let key: { apiKey: string; keyId: string }
  beforeAll(async () => {
    const chain = { devnetUrl: inject('devnetUrl') }
    const databaseUrl = await freshDatabase('Postgres')
    const env = sharedEnv(databaseUrl, chain)
    const start = async () =>
      startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
    ;[one, other] = await Promise.all([start(), start()])
    admin = postgres(databaseUrl, { max: 3, onnotice: () => {} })
    await admin.unsafe(`
      CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_advisory_xact_lock_shared(TG_ARGV[0]::bigint); RETURN NULL; END $$;
      CREATE TRIGGER gate AFTER INSERT ON signed_actions FOR EACH ROW
        WHEN (NEW.action = 'delete_api_key') EXECUTE FUNCTION wait_at_gate(${AFTER.message});
      CREATE TRIGGER gate AFTER UPDATE OF revoked_at ON api_keys FOR EACH ROW
        EXECUTE FUNCTION wait_at_gate(${AFTER.key});`)
  })
  afterAll(async () => {
    await Promise.all([one.stop(), other.stop(), admin.end()])
  })
  beforeEach(async () => {
    wallet = newWallet(one)
    key = await createKey(one, wallet)
  })

  /** 404 is what a key sees that was let through: the order is unknown. */
  const use = async (process: ServiceProcess, { apiKey } = key) =>
    (await process.ask(`/orders/${randomUUID()}/execute`, { method: 'POST', key: apiKey }))?.status
  const signed = () => wallet.sign({ action: 'delete_api_key', keyId: key.keyId })
  const revoke = (json = signed()) => one.ask(`/api-keys/${key.keyId}`, { method: 'DELETE', json })

  async function closeGate(after: keyof typeof AFTER): Promise<() => Promise<void>> {
    const session = await admin.reserve()
    await session`SELECT pg_advisory_lock(${AFTER[after]})`
    return async () => {
      await session`SELECT pg_advisory_unlock(${AFTER[after]})`
      session.release()
    }
  }

  /** The session of the service that waits at the gate, once there is one. */
  async function sessionAtGate(): Promise<number> {
    const [found] = await admin<{ pid: number }[]>`SELECT pid FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'latchkey' AND wait_event = 'advisory'`
    return found?.pid ?? sessionAtGate()
  }

  async function stored() {
    const [row] = await admin`SELECT revoked_at IS NOT NULL AS revoked,
        (SELECT count(*)::int FROM signed_actions a WHERE a.wallet_address = ${wallet.address}
          AND action = 'delete_api_key') AS messages FROM api_keys WHERE id = ${key.keyId}`
    return row
  }

  it('whose connection is lost while it waits is answered 503, does nothing, and may be sent again', async () => {
    const open = await closeGate('message')
    const message = signed()
    const answer = revoke(message)
    await admin`SELECT pg_terminate_backend(${await sessionAtGate()})`
    expect((await answer)?.status).toBe(503)
    await open()
    expect(await stored()).toEqual({ revoked: false, messages: 0 })
    expect([await use(one), await use(other)]).toEqual([404, 404])
    expect((await revoke(message))?.status).toBe(200)
    expect([await use(one), await use(other)]).toEqual([401, 401])
    expect(one.ended()).toBeUndefined()
  })

  it('whose connection is lost between two statements is answered 503 and does neither', async () => {
    const open = await closeGate('message')
    const message = signed()
    const answer = revoke(message)
    const pid = await sessionAtGate()
    process.kill(one.pid, 'SIGSTOP')
    await open()
    await idleInTransaction(pid)
    await admin`SELECT pg_terminate_backend(${pid})`
    process.kill(one.pid, 'SIGCONT')
    expect((await answer)?.status).toBe(503)
    expect(await stored()).toEqual({ revoked: false, messages: 0 })
    expect((await revoke(message))?.status).toBe(200)
    expect(await use(other)).toBe(401)
    expect(one.ended()).toBeUndefined()
  })

  it('of a process that stands still holds no request up, not even with its own key, and ends in seconds', async () => {
    const second = await createKey(one, wallet)
    const open = await closeGate('key')
    const answer = revoke()
    const pid = await sessionAtGate()
    process.kill(one.pid, 'SIGSTOP')
    await open()
    await idleInTransaction(pid)
    const began = performance.now()
    // Nothing was committed: the key is not revoked.
    expect([await use(other), await use(other, second)]).toEqual([404, 404])
    await sessionEnds(pid)
    expect(performance.now() - began).toBeLessThan(8_000)
    expect(await use(other)).toBe(404)
    process.kill(one.pid, 'SIGCONT')
    expect((await answer)?.status).toBe(503)
    expect(await stored()).toEqual({ revoked: false, messages: 0 })
    expect((await revoke())?.status).toBe(200)
    expect(await use(other)).toBe(401)
  })

  /** Postgres ends a session that is idle in a transaction. */
  async function sessionEnds(pid: number): Promise<void> {
    const found = await admin`SELECT FROM pg_stat_activity WHERE pid = ${pid}`
    if (found.length > 0) await sessionEnds(pid)
  }

  /** The process is stopped, so its session stays as it is once it has answered. */
  async function idleInTransaction(pid: number): Promise<void> {
    const [found] = await admin`SELECT FROM pg_stat_activity
      WHERE pid = ${pid} AND state = 'idle in transaction'`
    if (found === undefined) await idleInTransaction(pid)
  }
})
