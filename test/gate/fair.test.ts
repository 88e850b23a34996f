import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest'
import { openGate } from '../../src/gate/gate.ts'
import { freshDatabase, type Service, startService } from '../service.ts'
import { contend } from '../soak/contention.ts'
import { fundedOperator, sharedEnv, startProcess } from '../soak/process.ts'
import { createKey, json, newWallet } from '../wallet.ts'

/** What one statement may take, and so the longest that anyone waits for another's. */
const TIMEOUT_MS = 5_000
const MAX_WAITING = 8

describe('the gate', () => {
  let service: Service
  let admin: postgres.Sql
  beforeAll(async () => {
    service = await startService('Postgres', {
      change: (world) => ({
        ...world,
        gate: openGate(
          world.db,
          { perMinute: 1_000, perHour: 1_000, perDay: 1_000 },
          { maxWaiting: MAX_WAITING },
        ),
      }),
    })
    admin = postgres(service.databaseUrl, { max: 2, onnotice: () => {} })
  })
  afterAll(async () => {
    await Promise.all([service.close(), admin.end()])
  })

  const newKey = () => createKey(service, newWallet(service))

  /** 404 is what a key sees that was let through: the order is unknown. */
  async function ask({ apiKey }: { apiKey: string }) {
    const began = performance.now()
    const response = await service.call(
      `/orders/${randomUUID()}/execute`,
      json({}, { 'X-API-Key': apiKey }),
    )
    const { code } = (await response.json()) as { code: string }
    const retryAfter = response.headers.get('retry-after')
    return { status: response.status, code, retryAfter, ms: performance.now() - began }
  }

  /** Holds a key's row in another session; answers how to let it go. */
  async function lock({ keyId }: { keyId: string }): Promise<() => Promise<void>> {
    let release = () => {}
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let locked = () => {}
    const reached = new Promise<void>((resolve) => {
      locked = resolve
    })
    const session = admin.begin(async (tx) => {
      await tx`SELECT FROM api_keys WHERE id = ${keyId} FOR UPDATE`
      locked()
      await held
    })
    await reached
    const letGo = async () => {
      release()
      await session
    }
    onTestFinished(letGo)
    return letGo
  }

  /** Resolves once a statement of the service waits for a lock. */
  async function blocked(): Promise<void> {
    const [found] = await admin`SELECT FROM pg_stat_activity
      WHERE datname = current_database() AND application_name = 'latchkey' AND wait_event_type = 'Lock'`
    if (found === undefined) await blocked()
  }

  async function usage({ keyId }: { keyId: string }) {
    const [row] = await admin`SELECT total_requests::int AS total, minute_count AS minute
      FROM api_keys WHERE id = ${keyId}`
    return row
  }

  it('refuses with 503 and Retry-After, at once, whoever comes when its queue is full', async () => {
    const [stuck, other] = [await newKey(), await newKey()]
    const release = await lock(stuck)
    const first = ask(stuck)
    await blocked()
    const waiting = Array.from({ length: MAX_WAITING }, () => ask(other))
    const late = await Promise.all(Array.from({ length: 20 }, () => ask(other)))
    for (const { status, code, retryAfter, ms } of late) {
      expect([status, code]).toEqual([503, 'UNAVAILABLE'])
      expect(Number(retryAfter)).toBeGreaterThanOrEqual(1)
      expect(ms).toBeLessThan(1_000)
    }
    await release()
    const answered = await Promise.all([first, ...waiting])
    expect(answered.map(({ status }) => status)).toEqual(Array(1 + MAX_WAITING).fill(404))
    expect(await usage(stuck)).toEqual({ total: 1, minute: 1 })
    expect(await usage(other)).toEqual({ total: MAX_WAITING, minute: MAX_WAITING })
  })

  it('answers 503 for a key whose row is held, and the others in time, and then all again', async () => {
    const stuck = await newKey()
    const others = await Promise.all([newKey(), newKey()])
    const release = await lock(stuck)
    const first = ask(stuck)
    await blocked()
    const mixed = [stuck, ...others, stuck, ...others].map(ask)
    const answers = await Promise.all([first, ...mixed])
    for (const { ms } of answers) expect(ms).toBeLessThan(TIMEOUT_MS)
    expect(answers.map(({ status }) => status)).toEqual([503, 503, 404, 404, 503, 404, 404])
    await release()
    const again = await Promise.all([stuck, ...others].map(ask))
    expect(again.map(({ status }) => status)).toEqual([404, 404, 404])
    expect(await usage(stuck)).toEqual({ total: 1, minute: 1 })
    for (const other of others) expect(await usage(other)).toEqual({ total: 3, minute: 3 })
  })

  it('answers everyone but the one whose row the database will not write', async () => {
    const [poisoned, ...others] = await Promise.all([newKey(), newKey(), newKey(), newKey()])
    await admin.unsafe(`ALTER TABLE api_keys ADD CONSTRAINT poison
      CHECK (id <> '${poisoned.keyId}' OR total_requests = 0)`)
    const release = await lock(others[0] as (typeof others)[number])
    const first = ask(others[0] as (typeof others)[number])
    await blocked()
    const batch = [...others, poisoned, ...others].map(ask)
    await release()
    const [before, ...answers] = await Promise.all([first, ...batch])
    await admin`ALTER TABLE api_keys DROP CONSTRAINT poison`
    expect(before?.status).toBe(404)
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 500, 404, 404, 404])
    expect(await usage(poisoned)).toEqual({ total: 0, minute: 0 })
    expect(await usage(others[1] as (typeof others)[number])).toEqual({ total: 2, minute: 2 })
    expect((await ask(poisoned)).status).toBe(404)
  })
})

describe('two processes', () => {
  it('never wait for each other in a circle, whatever the order of their keys', async () => {
    const chain = { devnetUrl: inject('devnetUrl') }
    const databaseUrl = await freshDatabase('Postgres')
    const env = sharedEnv(databaseUrl, chain)
    const start = async () =>
      startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
    const [one, other] = await Promise.all([start(), start()])
    const tally = await contend({ databaseUrl, processes: [one, other], requests: 2_500 })
    await Promise.all([one.stop(), other.stop()])
    expect(tally).toMatchObject({ requests: 2_500, unexpected: {}, deadlocks: 0, miscounted: 0 })
  })
})
