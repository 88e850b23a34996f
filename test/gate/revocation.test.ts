import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import {
  type DatabaseClockOfTest,
  openDatabaseClock,
  untilRead,
} from '../support/database-clock.ts'
import { fundedOperator, type ServiceProcess, sharedEnv, startProcess } from '../support/process.ts'
import { freshDatabase } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'
import { revokeUnderLoad } from '../support/workloads/revocation.ts'

/** `npm run soak` goes through 10,000. */
const TRIALS = 200

describe('of two processes', () => {
  let one: ServiceProcess
  let other: ServiceProcess
  let admin: postgres.Sql
  let clock: DatabaseClockOfTest
  beforeAll(async () => {
    const chain = { devnetUrl: inject('devnetUrl') }
    const databaseUrl = await freshDatabase('Postgres')
    clock = await openDatabaseClock(databaseUrl)
    const env = sharedEnv(clock.databaseUrl, chain)
    const start = async () =>
      startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
    ;[one, other] = await Promise.all([start(), start()])
    admin = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  })
  afterAll(async () => {
    await Promise.all([one.stop(), other.stop(), admin.end(), clock.close()])
  })

  /** 404 is what a key sees that was let through: the order is unknown. */
  async function use(process: ServiceProcess, { apiKey }: { apiKey: string }) {
    const answer = await process.ask(`/orders/${randomUUID()}/execute`, {
      method: 'POST',
      key: apiKey,
    })
    return answer?.status === 401 ? answer.body.details?.reason : answer?.status
  }
  const onBoth = (key: { apiKey: string }) => Promise.all([use(one, key), use(other, key)])

  it('neither accepts a key whose DELETE the other has answered, and both accept a fresh one at once', async () => {
    const tally = await revokeUnderLoad({ one, other, trials: TRIALS })
    expect(tally).toMatchObject({
      trials: TRIALS,
      freshRefused: 0,
      acceptedAfter: 0,
      unexpected: {},
    })
    expect(tally.requests).toBeGreaterThan(5 * TRIALS)
  })

  it('neither accepts a key from the moment on that it is suspended, until it no longer is', async () => {
    const key = await createKey(one, newWallet(one))
    for (let time = 0; time < 20; time++) {
      await admin`UPDATE api_keys SET suspended_at = now() WHERE id = ${key.keyId}`
      expect(await onBoth(key)).toEqual(['suspended', 'suspended'])
      await admin`UPDATE api_keys SET suspended_at = NULL WHERE id = ${key.keyId}`
      expect(await onBoth(key)).toEqual([404, 404])
    }
  })

  it('neither accepts a key from the moment on at which it expires', async () => {
    const expiry = Date.UTC(2031, 4, 6, 7, 20, 30, 123)
    const setClocks = async (now: number) => {
      await clock.set(now)
      await Promise.all([one.setClock(now), other.setClock(now - 86_400_000)])
      await Promise.all([one, other].map((process) => untilRead(process, now)))
    }
    await setClocks(expiry - 60_000)
    const key = await createKey(one, newWallet(one), { expiresAt: new Date(expiry).toISOString() })
    await setClocks(expiry - 1)
    expect(await onBoth(key)).toEqual([404, 404])
    await setClocks(expiry)
    expect(await onBoth(key)).toEqual(['expired', 'expired'])
    await setClocks(expiry - 1)
    expect(await onBoth(key)).toEqual([404, 404])
  })
})
