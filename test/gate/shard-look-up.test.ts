import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { hashSecret, type Secret } from '../../src/keys/secret.ts'
import { answered, refused } from '../support/assertions.ts'
import { partitionedDatabase } from '../support/partitioned.ts'
import { writeMacs } from '../support/remac.ts'
import { oldSecret } from '../support/secrets.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, json, newWallet } from '../support/wallet.ts'

const RATE = 24

describe('a key of a release without shards, where tables are distributed,', () => {
  let service: Service
  beforeAll(async () => {
    service = await startService('Postgres', { databaseUrl: await partitionedDatabase() })
  }, 120_000)
  afterAll(() => service?.close())

  const use = (apiKey: Secret) => service.call('/me', { headers: { 'X-API-Key': apiKey } })

  /** Gives a key the secret that such a release would have given it. */
  async function oldKey() {
    const wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet, { rateLimit: RATE })
    const apiKey = oldSecret()
    const { db, mac } = service.world
    await rows(
      db,
      sql`UPDATE api_keys SET key_hash = decode(${hashSecret(apiKey)}, 'hex') WHERE id = ${keyId}`,
    )
    await writeMacs(db, mac, sql`id = ${keyId}`)
    return { wallet, keyId, apiKey }
  }

  it('is admitted up to its limit, and its shard is looked up once', async () => {
    const { apiKey } = await oldKey()
    await answered(await use(apiKey))
    const from = service.statements.length
    const statuses = await Promise.all(
      Array.from({ length: 3 * RATE }, async () => (await use(apiKey)).status),
    )
    expect(statuses.filter((status) => status === 200)).toHaveLength(RATE - 1)
    const lookUps = service.statements.slice(from).filter((text) => / UNION ALL SELECT /.test(text))
    expect(lookUps).toEqual([])
  })

  it('is refused from its revocation on, though its shard is known', async () => {
    const { wallet, keyId, apiKey } = await oldKey()
    await answered(await use(apiKey))
    const body = json(wallet.sign({ action: 'delete_api_key', keyId }))
    await answered(await service.call(`/api-keys/${keyId}`, { ...body, method: 'DELETE' }))
    await refused(await use(apiKey), 'apiKeyInactive')
  })

  it('is found together with keys that name their shards, and with secrets of no key', async () => {
    const { apiKey } = await oldKey()
    const { apiKey: named } = await createKey(service, newWallet(service))
    const statuses = await Promise.all(
      [apiKey, named as Secret, oldSecret()].map(async (one) => (await use(one)).status),
    )
    expect(statuses).toEqual([200, 200, 401])
  })
})
