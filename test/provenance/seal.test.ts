import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import type postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { administer as runAdmin } from '../../src/cli/admin.ts'
import { type AuditExport, verifyAudit } from '../../src/client/index.ts'
import { fromHex, sha256, toBase62 } from '../../src/crypto/bytes.ts'
import { openEncryption } from '../../src/crypto/encryption.ts'
import { readEncryptionKeys } from '../../src/crypto/keys.ts'
import { signatureLabel } from '../../src/crypto/labels.ts'
import { rows } from '../../src/db/database.ts'
import { hashSecret } from '../../src/keys/secret.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import type { UnsealedKey } from '../../src/provenance/seal.ts'
import { collectingTerminal } from '../cli/latchkey.ts'
import { answered, refused } from '../support/assertions.ts'
import { databaseAt } from '../support/old-database.ts'
import { oldSecret } from '../support/secrets.ts'
import { type Service, startService } from '../support/service.ts'
import { fund, json, newWallet, type Wallet } from '../support/wallet.ts'

const ENCRYPTION_KEY = randomBytes(32).toString('base64')

/** A database as the release before MACs left it, with rows in every table. */
describe('The keys of a release without MACs', () => {
  let service: Service
  let client: postgres.Sql
  let databaseUrl: string
  const files = mkdtempSync(join(tmpdir(), 'latchkey-seal-'))
  const clock = { now: Date.now() }
  const made: Record<string, { apiKey: string; keyId: string; wallet: Wallet }> = {}

  beforeAll(async () => {
    const old = await databaseAt(2)
    client = old.client
    databaseUrl = old.databaseUrl

    for (const name of [
      'live',
      'suspended',
      'revoked',
      'unrevoked',
      'widened',
      'forged',
      'swapped',
      'reopened',
    ])
      made[name] = await oldKey(name)
    await client`UPDATE api_keys SET suspended_at = now() WHERE name = 'suspended'`
    await client`UPDATE api_keys SET permissions = '{create,execute,cancel}' WHERE name = 'widened'`
    await client`UPDATE signed_actions SET signature = ${'00'.repeat(65)}
      WHERE id = (SELECT grant_id FROM api_keys WHERE name = 'forged')`
    for (const name of ['revoked', 'unrevoked', 'reopened']) {
      const { wallet, keyId } = made[name] as { wallet: Wallet; keyId: string }
      await signedAction(wallet, { action: 'delete_api_key', keyId })
    }
    await client`UPDATE api_keys SET revoked_at = now() WHERE name IN ('revoked', 'reopened')`
    const { wallet } = made.live as { wallet: Wallet }
    await oldOrder(wallet, 'open')
    const settled = await oldOrder(wallet, 'confirmed')
    await client`INSERT INTO operators (address, next_nonce) VALUES ('ST1OPERATOR', 1)`
    await client`INSERT INTO transactions (txid, order_uuid, operator, nonce, fee_in_micro_stx, raw_box, status, created_at)
      VALUES ('00', ${settled}, 'ST1OPERATOR', 0, 3000, ${randomBytes(64)}, 'mined', now())`
    service = await startService('Postgres', { databaseUrl, env: { ENCRYPTION_KEY } })
    await fund(service, wallet)
  }, 120_000)
  afterAll(async () => {
    await Promise.all([service.close(), client.end()])
  })

  async function administer(args: string[], encryptionKey = ENCRYPTION_KEY) {
    const env = { DATABASE_URL: databaseUrl, ENCRYPTION_KEY: encryptionKey }
    const { terminal, written } = collectingTerminal({ env })
    const exitCode = await runAdmin({ ...terminal, args }, () => service.clock.now)
    return { exitCode, ...written }
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
    const apiKey = oldSecret()
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

  it('are all refused after the upgrade, which seals nothing and says so', async () => {
    for (const name of ['live', 'widened', 'swapped']) expect(await reasonOf(name)).toBe('tampered')
    const line = service.logged.map((text) => JSON.parse(text)).find(isUnsealed)
    expect(line).toMatchObject({ level: 'warn' })
    const [counted] =
      await client`SELECT count(*)::int AS sealed FROM api_keys WHERE rights_mac IS NOT NULL`
    expect(counted?.sealed).toBe(0)
  })

  it('are listed with what keeps each from being sealed', async () => {
    const { exitCode } = await administer(['seal', 'list', '--out', join(files, 'keys')])
    expect(exitCode).toBe(0)
    const { keys } = JSON.parse(readFileSync(join(files, 'keys'), 'utf8'))
    const problems = keys.map(({ name, problem }: UnsealedKey) => [name, problem])
    expect(Object.fromEntries(problems)).toEqual({
      live: null,
      suspended: null,
      revoked: null,
      swapped: null,
      reopened: null,
      unrevoked: 'was revoked by its owner',
      widened: 'is not what its owner signed: permissions',
      forged: 'was not granted by its owner',
    })
  })

  const thief = oldSecret()
  it('are not sealed for a party that writes to the database after the list was made', async () => {
    // S4: own key hashes in granted rows, revocations cleared together with their messages.
    const hash = Buffer.from(hashSecret(thief), 'hex')
    await client`UPDATE api_keys SET key_hash = ${hash} WHERE name = 'swapped'`
    await client`UPDATE api_keys SET revoked_at = NULL WHERE name = 'reopened'`
    await client`ALTER TABLE signed_actions DISABLE TRIGGER signed_actions_append_only`
    await client`DELETE FROM signed_actions WHERE action = 'delete_api_key'
      AND message LIKE ${`%${made.reopened?.keyId}%`}`
    const wrong = randomBytes(32).toString('base64')
    const refusal = await administer(['seal', 'apply', join(files, 'keys')], wrong)
    expect([refusal.exitCode, refusal.err]).toEqual([1, expect.stringContaining('is not the one')])
    const { exitCode, out } = await administer(['seal', 'apply', join(files, 'keys'), '--json'])
    const { sealed, refused: left } = JSON.parse(out)
    const idOf = (name: string) => made[name]?.keyId
    expect(exitCode).toBe(1)
    expect(sealed.sort()).toEqual([idOf('live'), idOf('suspended'), idOf('revoked')].sort())
    expect(left).toHaveLength(2)
    expect(left).toEqual(
      expect.arrayContaining([
        { keyId: idOf('swapped'), problem: 'is not what was vouched for: keyHash' },
        { keyId: idOf('reopened'), problem: 'is not what was vouched for: revokedAt' },
      ]),
    )
    const headers = { 'X-API-Key': thief }
    await refused(await service.call('/orders', { headers }), 'apiKeyInactive')
    for (const name of ['reopened', 'widened', 'forged', 'unrevoked'])
      expect(await reasonOf(name)).toBe('tampered')
  })

  it('work on once they are sealed, where their rows say what their owners signed', async () => {
    await answered(await use('live'))
    expect(await reasonOf('suspended')).toBe('suspended')
    expect(await reasonOf('revoked')).toBe('revoked')
  })

  it('have an audit from then on, which names what the operator vouched for', async () => {
    const { faults, unchecked } = await checkAudit(service.world)
    const faulty = new Set(faults.map(({ keyId }) => keyId))
    const names = Object.keys(made).filter((name) => faulty.has(made[name]?.keyId))
    expect(names.sort()).toEqual(['forged', 'reopened', 'swapped', 'unrevoked', 'widened'])
    expect(unchecked).toEqual([])
    const { wallet, keyId } = made.live as { wallet: Wallet; keyId: string }
    service.clock.now = Date.now()
    const headers = wallet.signHeaders({ action: 'list_audit', timestamp: service.clock.now })
    const audit = await answered<AuditExport>(await service.call('/audit', { headers }))
    const verdict = verifyAudit({ ...audit, format: 'latchkey-audit 2' })
    expect(verdict).toMatchObject({ ok: true, vouched: [keyId] })
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

  it('are sealed once: a key that lost its MAC gets no other, by a start or by the command', async () => {
    const { keyId = '' } = made.live ?? {}
    await rows(service.world.db, sql`UPDATE api_keys SET rights_mac = NULL WHERE id = ${keyId}`)
    const again = await startService('Postgres', { databaseUrl, env: { ENCRYPTION_KEY } })
    expect(await reasonOf('live')).toBe('tampered')
    await again.close()
    const { out } = await administer(['seal', 'apply', join(files, 'keys'), '--json'])
    expect(JSON.parse(out).refused).toContainEqual({
      keyId,
      problem: 'is in the audit: a MAC was taken away',
    })
    expect(await reasonOf('live')).toBe('tampered')
  })
})

const isUnsealed = ({ event }: { event: string }) => event === 'api_keys_unsealed'
