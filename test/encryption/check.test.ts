import { randomBytes } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { afterAll, describe, expect, inject, it } from 'vitest'
import { readEncryptionKeys } from '../../src/crypto/keys.ts'
import { rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { checkEncryptionKeys } from '../../src/encryption/check.ts'
import { startProcess } from '../support/process.ts'
import { ENGINES, freshDatabase, type Service, startService } from '../support/service.ts'
import { createKey, createOrder, newWallet } from '../support/wallet.ts'
import { startWorker } from '../worker/workerd.ts'

const newKey = () => randomBytes(32).toString('base64')
const ANOTHER = /^ENCRYPTION_KEY is not the one that this database was written with/
const MISSING = /^ENCRYPTION_KEY lacks a key that this database was written with/

describe.each(ENGINES)('A database on %s', (engine) => {
  const opened: Service[] = []
  afterAll(() => Promise.all(opened.map((service) => service.close())))

  /** A service on a new database, and what happens to one that opens it with other keys. */
  async function databaseOf(key: string) {
    const service = await startService(engine, { env: { ENCRYPTION_KEY: key } })
    opened.push(service)
    const open = (ENCRYPTION_KEY: string) =>
      checkEncryptionKeys(service.world.db, readEncryptionKeys(ENCRYPTION_KEY))
    const forget = () => rows(service.world.db, sql`DELETE FROM encryption_keys`)
    return { service, open, forget }
  }

  it('opens with its key, under any id, and with no other, though nothing is stored yet', async () => {
    const key = newKey()
    const { open } = await databaseOf(key)
    await open(key)
    await open(`first:${key}`)
    await expect(open(newKey())).rejects.toThrow(ANOTHER)
    await expect(open(`a:${newKey()},b:${newKey()}`)).rejects.toThrow(ANOTHER)
    await open(key)
  })

  it('that was opened with a second key needs both', async () => {
    const [old, young] = [newKey(), newKey()]
    const { open } = await databaseOf(old)
    await open(`old:${old},new:${young}`)
    await open(old)
    await open(`new:${young},old:${old}`)
    await expect(open(old)).rejects.toThrow(MISSING)
    await expect(open(young)).rejects.toThrow(MISSING)
    await open(`old:${old},new:${young}`)
  })

  it.each([
    'keys',
    'orders',
  ])('of a release without a record opens with the key of its %s', async (content) => {
    const [old, young] = [newKey(), newKey()]
    const { service, open, forget } = await databaseOf(old)
    const wallet = newWallet(service)
    if (content === 'keys') {
      const { keyId } = await createKey(service, wallet)
      await createKey(service, wallet)
      await rows(
        service.world.db,
        sql`UPDATE api_keys SET permissions = '{execute}' WHERE id = ${keyId}`,
      )
    } else await createOrder(service, wallet)
    await forget()
    await expect(open(young)).rejects.toThrow(ANOTHER)
    await open(`new:${young},old:${old}`)
    await expect(open(young)).rejects.toThrow(MISSING)
    await open(`new:${young},old:${old}`)
  })
})

it('of 20 processes with different keys one opens an empty database', async () => {
  const databases = await openTwenty(await freshDatabase('Postgres'))
  const outcomes = await Promise.allSettled(
    databases.map(({ db }) => checkEncryptionKeys(db, readEncryptionKeys(newKey()))),
  )
  const refusals = outcomes.filter((outcome) => outcome.status === 'rejected')
  expect(refusals).toHaveLength(19)
  for (const { reason } of refusals) expect(reason.message).toMatch(ANOTHER)
  await Promise.all(databases.map(({ close }) => close()))
})

async function openTwenty(url: string) {
  const first = await openDatabase(url, { maxConnections: 1 })
  const rest = Array.from({ length: 19 }, () => openDatabase(url, { maxConnections: 1 }))
  return [first, ...(await Promise.all(rest))]
}

describe('With another key than the database was written with', () => {
  const devnet = () => {
    const url = inject('devnetUrl')
    return { STACKS_API_URL: url, QUOTE_URL: `${url}/quote` }
  }

  it('a process on Node does not start, and says why in one sentence', async () => {
    const service = await startService('Postgres')
    const env = {
      ...devnet(),
      PORT: '0',
      DATABASE_URL: service.databaseUrl,
      ENCRYPTION_KEY: newKey(),
    }
    const failure = await startProcess(env).then(
      () => 'it started',
      (error: Error) => error.message,
    )
    const [, ...said] = failure.split('\n')
    expect(said).toEqual([expect.stringMatching(ANOTHER)])
    await service.close()
  })

  it('a worker serves nothing, and its log says why', async () => {
    const service = await startService('Postgres')
    const worker = await startWorker(inject('runFolder'), service.databaseUrl, {
      ...devnet(),
      ENCRYPTION_KEY: newKey(),
    })
    for (const path of ['/api/v1/time', '/api/v1/orders/unknown']) {
      const { response, trace } = await worker.call(path, { now: Date.now() })
      expect(response.status).toBe(503)
      const [line = '{}'] = trace.logged.slice(-1)
      expect(JSON.parse(line)).toMatchObject({
        event: 'not_started',
        fault: expect.stringMatching(ANOTHER),
      })
    }
    await Promise.all([worker.stop(), service.close()])
  })
})
