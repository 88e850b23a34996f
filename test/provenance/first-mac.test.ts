import { randomBytes } from 'node:crypto'
import type postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bodyText, chainHash, FIRST_HASH } from '../../src/audit/event.ts'
import { sha256, toBase62, toHex } from '../../src/crypto/bytes.ts'
import { readEncryptionKeys } from '../../src/crypto/keys.ts'
import { openMac } from '../../src/crypto/mac.ts'
import { INPUT_TOKEN, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import { hashSecret } from '../../src/keys/secret.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { answered, refused } from '../support/assertions.ts'
import { databaseAt } from '../support/old-database.ts'
import { oldSecret } from '../support/secrets.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

const ENCRYPTION_KEY = randomBytes(32).toString('base64')

/** What the first release with MACs selected, word for word. Its MAC was of `JSON.stringify` of this array. */
const FIRST_RIGHTS = `json_build_array('key 1', id, encode(key_hash, 'hex'), encode(previous_key_hash, 'hex'),
  (extract(epoch FROM previous_until) * 1000)::bigint, wallet_address, name, permissions,
  (extract(epoch FROM expires_at) * 1000)::bigint, (extract(epoch FROM suspended_at) * 1000)::bigint, suspended_by,
  (extract(epoch FROM revoked_at) * 1000)::bigint, rate_limit_per_minute, ip_allowlist::text[], tokens, recipients,
  max_amount_in, own_orders_only, grant_id, (extract(epoch FROM created_at) * 1000)::bigint)`

interface OldKey {
  apiKey: string
  keyId: string
  wallet: Wallet
}

/** A database of the release that computed the first MACs, with keys and their audit, opened by this release. */
describe('A key whose MAC an earlier release computed', () => {
  let service: Service
  let client: postgres.Sql
  const clock = { now: Date.now() }
  const mac = openMac(readEncryptionKeys(ENCRYPTION_KEY))
  const keys: Record<string, OldKey> = {}

  beforeAll(async () => {
    const old = await databaseAt(4)
    client = old.client
    keys.plain = await oldKey({})
    keys.limited = await oldKey({
      rateLimit: 50,
      expiresAt: '2999-01-01T00:00:00+01:00',
      ipAllowlist: ['127.0.0.1', '2001:DB8::/32'],
      tokens: [INPUT_TOKEN, OUTPUT_TOKEN],
      recipients: [newWallet({ clock }).address],
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '50', perOrder: '5' } },
      ownOrdersOnly: true,
      label: 'prod',
      justification: 'ticket 4711',
    })
    service = await startService('Postgres', {
      databaseUrl: old.databaseUrl,
      env: { ENCRYPTION_KEY },
    })
  })
  afterAll(async () => {
    await Promise.all([service.close(), client.end()])
  })

  async function oldKey(limits: Record<string, unknown>): Promise<OldKey> {
    const wallet = newWallet({ clock })
    const members = { action: 'create_api_key', keyName: 'bot', permissions: ['create'], ...limits }
    const { message, signature } = wallet.sign(members)
    const hash = sha256(message)
    const [grant] = await client`INSERT INTO signed_actions
        (wallet_address, action, message, message_hash, signature, public_key, accepted_at)
      VALUES (${wallet.address}, 'create_api_key', ${message}, ${hash}, ${signature}, '', now()) RETURNING id`
    const apiKey = oldSecret()
    const keyHash = hashSecret(apiKey)
    const keyId = `key_${toBase62(randomBytes(12), 17)}`
    const { ipAllowlist, tokens, recipients, maxAmountIn, ...rest } = limits
    const list = (texts: unknown) =>
      texts === undefined ? null : `{${(texts as string[]).join(',')}}`
    await client`INSERT INTO api_keys (id, key_hash, key_preview, wallet_address, name, permissions, grant_id, created_at,
        expires_at, rate_limit_per_minute, ip_allowlist, tokens, recipients, max_amount_in, own_orders_only, label,
        justification)
      VALUES (${keyId}, ${Buffer.from(keyHash, 'hex')}, 'ck_live_0000...0000', ${wallet.address}, 'bot', '{create}',
        ${grant?.id}, ${new Date(clock.now).toISOString()}, ${(rest.expiresAt as string) ?? null}, ${(rest.rateLimit as number) ?? null},
        ${list(ipAllowlist)}::text::cidr[], ${list(tokens)}::text::text[], ${list(recipients)}::text::text[],
        ${maxAmountIn === undefined ? null : JSON.stringify(maxAmountIn)}::text::jsonb, ${rest.ownOrdersOnly === true},
        ${(rest.label as string) ?? null}, ${(rest.justification as string) ?? null})`
    const body = bodyText({
      v: 1,
      event: 'create_api_key',
      walletAddress: wallet.address,
      keyId,
      actor: 'owner',
      at: clock.now,
      messageHash: toHex(hash),
      details: { keyHash },
    })
    await client`INSERT INTO audit_events (wallet_address, sequence, key_id, action_id, body, hash)
      VALUES (${wallet.address}, 1, ${keyId}, ${grant?.id}, ${body}, ${Buffer.from(chainHash(FIRST_HASH, body), 'hex')})`
    await authenticate(keyId)
    return { apiKey, keyId, wallet }
  }

  /** As the earlier release did it. */
  async function authenticate(keyId: string): Promise<void> {
    const [row] = await client.unsafe(
      `SELECT ${FIRST_RIGHTS} AS rights FROM api_keys WHERE id = '${keyId}'`,
    )
    const rightsMac = Buffer.from(mac(JSON.stringify(row?.rights)), 'hex')
    await client`UPDATE api_keys SET rights_mac = ${rightsMac} WHERE id = ${keyId}`
  }

  const keyOf = (name: string) => keys[name] as OldKey
  const use = (name: string) =>
    service.call('/orders', { headers: { 'X-API-Key': keyOf(name).apiKey } })
  const faultsOf = async (name: string) => {
    const { faults } = await checkAudit(service.world)
    return faults.filter(({ keyId }) => keyId === keyOf(name).keyId)
  }

  it.each(['plain', 'limited'])('is admitted, and passes the audit check: %s', async (name) => {
    await answered(await use(name))
    expect(await faultsOf(name)).toEqual([])
  })

  it.each(['plain', 'limited'])('gets the same MAC from this release: %s', async (name) => {
    const { wallet, keyId } = keyOf(name)
    const change = wallet.sign({ action: 'update_api_key', keyId, rateLimit: 20 })
    const init = { ...json(change), method: 'PATCH' }
    await answered(await service.call(`/api-keys/${keyId}`, init))
    const rightsMac = async () =>
      (await client`SELECT encode(rights_mac, 'hex') AS mac FROM api_keys WHERE id = ${keyId}`)[0]
        ?.mac
    const ours = await rightsMac()
    await authenticate(keyId)
    expect(await rightsMac()).toBe(ours)
    await answered(await use(name))
    expect(await faultsOf(name)).toEqual([])
  })

  it('is refused, and found, once a limit of a later release was added to its row', async () => {
    const { keyId } = keyOf('plain')
    await client`UPDATE api_keys SET max_open_orders = 1 WHERE id = ${keyId}`
    expect((await refused(await use('plain'), 'apiKeyInactive')).details).toEqual({
      reason: 'tampered',
    })
    expect(await faultsOf('plain')).not.toEqual([])
    await client`UPDATE api_keys SET max_open_orders = NULL WHERE id = ${keyId}`
    await answered(await use('plain'))
  })

  it('gets another text with a limit of a later release, which the earlier one refuses, until the limit is lifted', async () => {
    const { wallet, keyId } = keyOf('plain')
    const rightsMac = async () =>
      (await client`SELECT encode(rights_mac, 'hex') AS mac FROM api_keys WHERE id = ${keyId}`)[0]
        ?.mac
    const firstMac = async () => {
      const [row] = await client.unsafe(
        `SELECT ${FIRST_RIGHTS} AS rights FROM api_keys WHERE id = '${keyId}'`,
      )
      return mac(JSON.stringify(row?.rights))
    }
    for (const maxOpenOrders of [5, null]) {
      service.clock.now += 1
      const change = wallet.sign({ action: 'update_api_key', keyId, maxOpenOrders })
      await answered(await service.call(`/api-keys/${keyId}`, { ...json(change), method: 'PATCH' }))
      await answered(await use('plain'))
      expect(await faultsOf('plain')).toEqual([])
      expect((await rightsMac()) === (await firstMac())).toBe(maxOpenOrders === null)
    }
  })

  it('cannot lose a limit of a later release with the MAC that an earlier one would compute', async () => {
    const { apiKey, keyId } = await createKey(service, keyOf('plain').wallet, { maxOpenOrders: 5 })
    const use = () => service.call('/orders', { headers: { 'X-API-Key': apiKey } })
    await answered(await use())
    await client`UPDATE api_keys SET max_open_orders = NULL WHERE id = ${keyId}`
    expect((await refused(await use(), 'apiKeyInactive')).details).toEqual({ reason: 'tampered' })
    await client`UPDATE api_keys SET max_open_orders = 5 WHERE id = ${keyId}`
    await answered(await use())
    await authenticate(keyId)
    expect((await refused(await use(), 'apiKeyInactive')).details).toEqual({ reason: 'tampered' })
  })

  it.each([
    ['permissions', "'{create,execute}'"],
    ['rate_limit_per_minute', '1000'],
    ['ip_allowlist', 'NULL'],
    ['max_amount_in', `'{"${INPUT_TOKEN}":{"perDay":"51"}}'`],
    ['own_orders_only', 'false'],
    ['expires_at', "'2999-01-02'"],
  ])('is refused, and found, once its %s was edited', async (column, value) => {
    const { keyId } = keyOf('limited')
    const [before] = await client.unsafe(
      `SELECT ${column}::text AS value FROM api_keys WHERE id = '${keyId}'`,
    )
    await client.unsafe(`UPDATE api_keys SET ${column} = ${value} WHERE id = '${keyId}'`)
    const { details } = await refused(await use('limited'), 'apiKeyInactive')
    expect(details).toEqual({ reason: 'tampered' })
    expect((await faultsOf('limited')).map(({ fault }) => fault)).toContain(
      'its row was edited: its MAC does not fit',
    )
    const type = await client`SELECT format_type(atttypid, atttypmod) AS name FROM pg_attribute
      WHERE attrelid = 'api_keys'::regclass AND attname = ${column}`
    await client.unsafe(
      `UPDATE api_keys SET ${column} = $1::text::${type[0]?.name} WHERE id = '${keyId}'`,
      [before?.value],
    )
    await answered(await use('limited'))
  })
})
