import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { sql } from 'drizzle-orm'
import type postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fromHex, sha256, toBase62 } from '../../src/crypto/bytes.ts'
import { openEncryption } from '../../src/crypto/encryption.ts'
import { readEncryptionKeys } from '../../src/crypto/keys.ts'
import { signatureLabel } from '../../src/crypto/labels.ts'
import { rows } from '../../src/db/database.ts'
import { hashSecret, makeSecret } from '../../src/keys/secret.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { answered, refused } from '../support/assertions.ts'
import { databaseAt, MIGRATIONS } from '../support/old-database.ts'
import { type Service, startService } from '../support/service.ts'
import { fund, json, newWallet, type Wallet } from '../support/wallet.ts'

const run = promisify(execFile)
const ENCRYPTION_KEY = randomBytes(32).toString('base64')

/** Runs `npm run migrate` and answers what it said. */
async function migrateScript(env: Record<string, string>) {
  const options = { env: { PATH: process.env.PATH, ...env } }
  return run(process.execPath, [join(MIGRATIONS, '../src/node/migrate.ts')], options).then(
    ({ stdout }) => ({ code: 0, said: stdout }),
    ({ code, stderr }) => ({ code, said: stderr }),
  )
}

/** A database as the release before this one left it, with rows in every table, opened by this one. */
describe.each([
  ['a service on Node, when it starts', 'Postgres'],
  ['npm run migrate, for workers', 'workerd'],
] as const)('The keys of the release before, sealed by %s,', (_, engine) => {
  let service: Service
  let client: postgres.Sql
  const clock = { now: Date.now() }
  const made: Record<string, { apiKey: string; keyId: string; wallet: Wallet }> = {}
  let uuid: string

  beforeAll(async () => {
    const old = await databaseAt(2)
    const { databaseUrl } = old
    client = old.client

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
    const { wallet } = made.live as { wallet: Wallet }
    uuid = await oldOrder(wallet, 'open')
    const settled = await oldOrder(wallet, 'confirmed')
    await client`INSERT INTO operators (address, next_nonce) VALUES ('ST1OPERATOR', 1)`
    await client`INSERT INTO transactions (txid, order_uuid, operator, nonce, fee_in_micro_stx, raw_box, status, created_at)
      VALUES ('00', ${settled}, 'ST1OPERATOR', 0, 3000, ${randomBytes(64)}, 'mined', now())`
    if (engine === 'workerd') await sealByScript(databaseUrl)
    service = await startService(engine, { databaseUrl, env: { ENCRYPTION_KEY } })
    await fund(service, wallet)
  }, 120_000)
  afterAll(async () => {
    await Promise.all([service.close(), client.end()])
  })

  async function sealByScript(databaseUrl: string): Promise<void> {
    const given = { DATABASE_URL: databaseUrl, STACKS_NETWORK: 'devnet', ENCRYPTION_KEY }
    for (const [wrong, said] of [
      [{ ENCRYPTION_KEY: '' }, 'set ENCRYPTION_KEY and STACKS_NETWORK'],
      [{ STACKS_NETWORK: '' }, 'set ENCRYPTION_KEY and STACKS_NETWORK'],
      [{ ENCRYPTION_KEY: randomBytes(32).toString('base64') }, 'is not the one'],
    ] as const) {
      const refusal = await migrateScript({ ...given, ...wrong })
      expect(refusal).toEqual({ code: 1, said: expect.stringContaining(said) })
    }
    const { code, said } = await migrateScript(given)
    expect([code, said]).toEqual([0, expect.stringMatching(/: 3 written\.\n3 keys are not what/)])
    const again = await migrateScript({ DATABASE_URL: databaseUrl })
    expect([again.code, again.said]).toEqual([0, expect.not.stringContaining('sealed')])
  }

  async function oldOrder(wallet: Wallet, status: string): Promise<string> {
    const order = wallet.order()
    const encryption = await openEncryption(readEncryptionKeys(ENCRYPTION_KEY), (length) =>
      Uint8Array.from(randomBytes(length)),
    )
    const box = await encryption.encrypt(fromHex(order.signature), signatureLabel(order.uuid))
    await client`INSERT INTO orders
        (uuid, owner, input_token, output_token, amount_in, recipient, signature_box, status, created_at)
      VALUES (${order.uuid}, ${wallet.address}, ${order.inputToken}, ${order.outputToken}, ${order.amountIn},
        ${wallet.address}, ${Buffer.from(box)}, ${status}, now())`
    await client`INSERT INTO order_events (order_uuid, status, at) VALUES (${order.uuid}, ${status}, now())`
    return order.uuid
  }

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
    const apiKey = makeSecret('ck_live_', randomBytes(32))
    const keyId = `key_${toBase62(randomBytes(12), 17)}`
    await client`INSERT INTO api_keys
        (id, key_hash, key_preview, wallet_address, name, permissions, grant_id, created_at, expires_at)
      VALUES (${keyId}, ${Buffer.from(hashSecret(apiKey), 'hex')}, 'ck_live_0000...0000', ${wallet.address}, ${keyName},
        '{execute}', ${grantId}, now(), '2999-01-01T00:00:00+01:00')`
    return { apiKey, keyId, wallet }
  }

  const use = (name: string) =>
    service.call('/orders', { headers: { 'X-API-Key': made[name]?.apiKey ?? '' } })
  const reasonOf = async (name: string) =>
    (await refused(await use(name), 'apiKeyInactive')).details?.reason

  it('work on, where their rows say what their owners signed', async () => {
    await answered(await use('live'))
    const { apiKey = '' } = made.live ?? {}
    const headers = { 'X-API-Key': apiKey }
    await answered(await service.call(`/orders/${uuid}/execute`, { method: 'POST', headers }))
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

  it('can be changed by their owners from then on', async () => {
    const { wallet, keyId, apiKey } = made.live as { wallet: Wallet; keyId: string; apiKey: string }
    service.clock.now = Date.now()
    const change = { action: 'update_api_key', keyId, label: 'upgraded', timestamp: Date.now() }
    const init = { ...json(wallet.sign(change)), method: 'PATCH' }
    await answered(await service.call(`/api-keys/${keyId}`, init))
    await answered(await service.call('/orders', { headers: { 'X-API-Key': apiKey } }))
    const { faults } = await checkAudit(service.world)
    expect(faults.filter((fault) => fault.keyId === keyId)).toEqual([])
  })

  it('are adopted once: whoever takes a seal away does not get another', async () => {
    const { keyId = '' } = made.live ?? {}
    await rows(service.world.db, sql`UPDATE api_keys SET rights_mac = NULL WHERE id = ${keyId}`)
    const again = await startService('Postgres', {
      databaseUrl: service.databaseUrl,
      env: { ENCRYPTION_KEY },
    })
    expect(await reasonOf('live')).toBe('tampered')
    await again.close()
  })
})
