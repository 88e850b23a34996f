import postgres from 'postgres'
import { afterEach, describe, expect, inject, it } from 'vitest'
import { migrateUnderLock, openDatabase } from '../../src/db/open.ts'
import { RELEASE } from '../../src/db/release.ts'
import { answered, refused } from '../support/assertions.ts'
import { fundedOperator, sharedEnv, startProcess } from '../support/process.ts'
import { freshDatabase, startService } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'

const NEWER = RELEASE + 1

describe('a database that a newer release has migrated', () => {
  const closing: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })

  async function databaseOf() {
    const databaseUrl = await freshDatabase('Postgres')
    await migrateUnderLock(databaseUrl)
    const client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
    closing.push(() => client.end())
    const record = (oldest: number) =>
      client`INSERT INTO latchkey_releases (release, oldest) VALUES (${NEWER}, ${oldest})`
    return { databaseUrl, record }
  }

  it('is not opened by a release that it does not admit, which says what to do', async () => {
    const { databaseUrl, record } = await databaseOf()
    await record(NEWER)
    const sentence = `The database was migrated by release ${NEWER}, which runs with release ${NEWER} and newer ones only; this is release ${RELEASE}. Start the newer release`
    await expect(openDatabase(databaseUrl)).rejects.toThrow(sentence)
    await expect(migrateUnderLock(databaseUrl)).rejects.toThrow(sentence)
  })

  it('is opened by one that it admits', async () => {
    const { databaseUrl, record } = await databaseOf()
    await record(RELEASE)
    await (await openDatabase(databaseUrl)).close()
  })

  it('gets no more requests from a process that runs on it, within seconds, which says so', async () => {
    const { databaseUrl, record } = await databaseOf()
    const chain = { devnetUrl: inject('devnetUrl') }
    const env = {
      ...sharedEnv(databaseUrl, chain),
      OPERATOR_PRIVATE_KEY: await fundedOperator(chain),
    }
    const process = await startProcess(env)
    closing.push(() => process.stop())
    const { apiKey } = await createKey(process, newWallet(process))
    const use = () => process.call('/me', { headers: { 'X-API-Key': apiKey } })
    await answered(await use())
    await record(NEWER)
    await expect.poll(async () => (await use()).status, { timeout: 5_000 }).toBe(503)
    const { details } = (await (await use()).json()) as { details: object }
    expect(details).toEqual({ reason: 'release' })
    expect((await process.call('/ready')).status).toBe(503)
    expect((await process.call('/health')).status).toBe(200)
    expect(process.output()).toContain('"release_superseded"')
  })

  it('gets no requests from a worker that it does not admit', async () => {
    const { databaseUrl, record } = await databaseOf()
    const service = await startService('workerd', { databaseUrl })
    closing.push(() => service.close())
    await record(NEWER)
    const { details } = await refused(await service.call('/orders'), 'unavailable')
    expect(details).toEqual({ reason: 'release' })
  })
})
