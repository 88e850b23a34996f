import { randomBytes } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkAudit } from '../../src/audit/check.ts'
import { sha256, toBase62 } from '../../src/bytes.ts'
import { rows } from '../../src/db/database.ts'
import { hashToken, makeToken } from '../../src/keys/token.ts'
import { answered, refused } from '../http/answers.ts'
import { freshDatabase, type Service, startService } from '../service.ts'
import { newWallet, type Wallet } from '../wallet.ts'

const MIGRATIONS = fileURLToPath(new URL('../../drizzle', import.meta.url))

/** A database as the release before this one left it, with keys in it, opened by this one. */
describe('The keys of the release before', () => {
  let service: Service
  let client: postgres.Sql
  const clock = { now: Date.now() }
  const made: Record<string, { apiKey: string; keyId: string; wallet: Wallet }> = {}

  beforeAll(async () => {
    const databaseUrl = await freshDatabase('Postgres')
    const folder = mkdtempSync(join(tmpdir(), 'latchkey-old-'))
    cpSync(MIGRATIONS, folder, { recursive: true })
    const journal = JSON.parse(readFileSync(join(folder, 'meta/_journal.json'), 'utf8'))
    journal.entries = journal.entries.filter(({ tag }: { tag: string }) => tag.startsWith('0000_'))
    writeFileSync(join(folder, 'meta/_journal.json'), JSON.stringify(journal))
    client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
    await migrate(drizzle({ client }), { migrationsFolder: folder })
    rmSync(folder, { recursive: true })

    for (const name of ['live', 'suspended', 'revoked', 'unrevoked', 'widened', 'forged'])
      made[name] = await oldKey(name)
    await client`UPDATE api_keys SET suspended_at = now() WHERE name = 'suspended'`
    await client`UPDATE api_keys SET permissions = '{create,execute,cancel}' WHERE name = 'widened'`
    await client`UPDATE signed_actions SET signature = ${'00'.repeat(65)}
      WHERE id = (SELECT grant_id FROM api_keys WHERE name = 'forged')`
    for (const name of ['revoked', 'unrevoked']) {
      const { wallet, keyId } = made[name] as { wallet: Wallet; keyId: string }
      await signedAction(wallet, { action: 'delete_api_key', keyId })
    }
    await client`UPDATE api_keys SET revoked_at = now() WHERE name = 'revoked'`
    service = await startService('Postgres', { databaseUrl })
  })
  afterAll(async () => {
    await Promise.all([service.close(), client.end()])
  })

  async function signedAction(wallet: Wallet, members: Record<string, unknown>): Promise<string> {
    const { message, signature } = wallet.sign(members)
    const [row] = await client`INSERT INTO signed_actions
        (wallet_address, action, message, message_hash, signature, public_key, accepted_at)
      VALUES (${wallet.address}, ${String(members.action)}, ${message}, ${Buffer.from(sha256(message))}, ${signature}, '', now())
      RETURNING id`
    return row?.id
  }

  async function oldKey(keyName: string) {
    const wallet = newWallet({ clock })
    const grantId = await signedAction(wallet, {
      action: 'create_api_key',
      keyName,
      permissions: ['execute'],
      expiresAt: '2999-01-01T00:00:00+01:00',
    })
    const apiKey = makeToken('ck_live_', randomBytes(32))
    const keyId = `key_${toBase62(randomBytes(12), 17)}`
    await client`INSERT INTO api_keys
        (id, key_hash, key_preview, wallet_address, name, permissions, grant_id, created_at, expires_at)
      VALUES (${keyId}, ${Buffer.from(hashToken(apiKey), 'hex')}, 'ck_live_0000...0000', ${wallet.address}, ${keyName},
        '{execute}', ${grantId}, now(), '2999-01-01T00:00:00+01:00')`
    return { apiKey, keyId, wallet }
  }

  const use = (name: string) =>
    service.call('/orders', { headers: { 'X-API-Key': made[name]?.apiKey ?? '' } })
  const reasonOf = async (name: string) =>
    (await refused(await use(name), 'apiKeyInactive')).details?.reason

  it('work on, where their rows say what their owners signed', async () => {
    await answered(await use('live'))
    expect(await reasonOf('suspended')).toBe('suspended')
    expect(await reasonOf('revoked')).toBe('revoked')
  })

  it.each(['widened', 'forged', 'unrevoked'])('do not, where they do not: %s', async (name) => {
    expect(await reasonOf(name)).toBe('tampered')
  })

  it('have an audit from then on, which proves those that work', async () => {
    const { faults } = await checkAudit(service.world)
    const faulty = new Set(faults.map(({ keyId }) => keyId))
    const names = Object.keys(made).filter((name) => faulty.has(made[name]?.keyId))
    expect(names).toEqual(['unrevoked', 'widened', 'forged'])
  })

  it('are adopted once: whoever takes a seal away does not get another', async () => {
    const { keyId = '' } = made.live ?? {}
    await rows(service.world.db, sql`UPDATE api_keys SET rights_mac = NULL WHERE id = ${keyId}`)
    const { ENCRYPTION_KEY = '' } = service.world.config
    const again = await startService('Postgres', {
      databaseUrl: service.databaseUrl,
      env: { ENCRYPTION_KEY },
    })
    expect(await reasonOf('live')).toBe('tampered')
    await again.close()
  })
})
