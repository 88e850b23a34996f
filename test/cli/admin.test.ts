import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { administer } from '../../src/cli/admin.ts'
import { rows } from '../../src/db/database.ts'
import { answered, refused } from '../support/assertions.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, json, newWallet } from '../support/wallet.ts'
import { collectingTerminal, temporaryFolder } from './latchkey.ts'

async function administerWith(
  env: Record<string, string>,
  args: readonly string[],
  now = Date.now(),
) {
  const { terminal, written } = collectingTerminal({ env })
  const exitCode = await administer({ ...terminal, args }, () => now)
  return { exitCode, ...written }
}

describe('latchkey-admin', () => {
  let service: Service
  beforeAll(async () => {
    service = await startService('Postgres')
  })
  afterAll(() => service.close())

  async function run(...args: string[]) {
    const { ENCRYPTION_KEY } = service.world.config
    const env = { DATABASE_URL: service.databaseUrl, ENCRYPTION_KEY: ENCRYPTION_KEY ?? '' }
    return administerWith(env, args, service.clock.now)
  }
  const use = (apiKey: string) => service.call('/orders', { headers: { 'X-API-Key': apiKey } })

  it('does nothing with another encryption key than the database was written with', async () => {
    const { keyId } = await createKey(service, newWallet(service))
    const env = {
      DATABASE_URL: service.databaseUrl,
      ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    }
    for (const args of [
      ['suspend', '--key', keyId, '--reason', 'x'],
      ['audit', 'check'],
      ['encryption', 'rotate'],
    ]) {
      const { exitCode, err } = await administerWith(env, args)
      expect([exitCode, err]).toEqual([
        1,
        expect.stringContaining('is not the one that this database'),
      ])
    }
  })

  it('suspends and resumes a key, and its owner reads why but cannot undo it', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    expect((await run('suspend', '--key', keyId, '--reason', 'leaked on a forum')).exitCode).toBe(0)
    const { details } = await refused(await use(apiKey), 'apiKeyInactive')
    expect(details).toEqual({ reason: 'suspended' })
    const resume = () =>
      service.call(
        `/api-keys/${keyId}/resume`,
        json(wallet.sign({ action: 'resume_api_key', keyId })),
      )
    await refused(await resume(), 'keyNotLive')
    const [event] = await rows<{ body: string }>(
      service.world.db,
      sql`SELECT body FROM audit_events WHERE key_id = ${keyId} ORDER BY sequence DESC LIMIT 1`,
    )
    expect(JSON.parse(event?.body ?? '')).toMatchObject({
      event: 'suspend_api_key',
      actor: 'operator',
      details: { reason: 'leaked on a forum' },
    })
    expect((await run('resume', '--key', keyId, '--reason', 'a false alarm')).exitCode).toBe(0)
    await answered(await use(apiKey))
  })

  it('suspends a wallet: its keys, and those that it would make', async () => {
    const wallet = newWallet(service)
    const keys = [await createKey(service, wallet), await createKey(service, wallet)]
    await run('suspend', '--wallet', wallet.address, '--reason', 'court order')
    for (const { apiKey } of keys) await refused(await use(apiKey), 'apiKeyInactive')
    const grant = () =>
      service.call(
        '/api-keys',
        json(wallet.sign({ action: 'create_api_key', keyName: 'c', permissions: [] })),
      )
    await refused(await grant(), 'walletSuspended')
    await run('resume', '--wallet', wallet.address, '--reason', 'lifted')
    for (const { apiKey } of keys) await answered(await use(apiKey))
    service.clock.now += 1
    await answered(await grant(), 201)
  })

  it('issues, lists and revokes a service credential, and the service holds it to its terms at once', async () => {
    const { apiKey } = await createKey(service, newWallet(service), { permissions: ['read'] })
    const ask = (secret: string, scope = 'read') =>
      service.call('/keys/verify', json({ apiKey, scope }, { 'X-Service-Credential': secret }))
    const words = ['service-credentials', 'create', '--name', 'market data', '--scopes', 'read']
    const made = await run(...words, '--rate-limit', '2', '--json')
    expect(made.exitCode, made.err).toBe(0)
    const { serviceCredential, credentialId } = JSON.parse(made.out)
    expect(serviceCredential).toMatch(/^ck_service_[0-9A-Za-z]{49}$/)
    await answered(await ask(serviceCredential))
    await refused(await ask(serviceCredential, 'cancel'), 'serviceScopeDenied')
    await refused(await ask(serviceCredential), 'rateLimited')
    const listed = await run('service-credentials', 'list', '--json')
    expect(JSON.parse(listed.out)).toMatchObject([
      { id: credentialId, name: 'market data', scopes: ['read'], rateLimit: 2, totalRequests: 3 },
    ])
    expect(listed.out).not.toContain(serviceCredential)
    const revoke = () => run('service-credentials', 'revoke', credentialId, '--reason', 'lost')
    expect(await revoke()).toMatchObject({ exitCode: 0, out: `${credentialId} is revoked\n` })
    await refused(await ask(serviceCredential), 'serviceCredentialInvalid')
    expect((await revoke()).out).toBe(`${credentialId} was revoked before\n`)

    const file = join(temporaryFolder(), 'credential.txt')
    const saved = await run(...words, '--save', file)
    expect([saved.exitCode, readFileSync(file, 'utf8')]).toEqual([
      0,
      expect.stringMatching(/^ck_service_\w{49}\n$/),
    ])
    expect(saved.out).not.toContain(readFileSync(file, 'utf8').trim())
    for (const [args, exitCode] of [
      [['create', '--name', 'x', '--scopes', 'transfer'], 1],
      [['create', '--name', 'x'], 2],
      [['create', '--scopes', 'read'], 2],
      [['revoke', credentialId], 2],
      [['revoke', 'svc_none', '--reason', 'x'], 1],
    ] as const)
      expect((await run('service-credentials', ...args)).exitCode, args.join(' ')).toBe(exitCode)
    expect(await run('audit', 'check')).toMatchObject({ exitCode: 0 })
  })

  it('leaves alone what an owner suspended', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    const body = json(wallet.sign({ action: 'suspend_api_key', keyId }))
    await answered(await service.call(`/api-keys/${keyId}/suspend`, body))
    await run('resume', '--key', keyId, '--reason', 'asked by phone')
    await refused(await use(apiKey), 'apiKeyInactive')
  })

  it('takes back its own suspension when both had suspended a key, in whatever order', async () => {
    for (const order of [
      ['owner', 'operator'],
      ['operator', 'owner'],
    ]) {
      const wallet = newWallet(service)
      const { apiKey, keyId } = await createKey(service, wallet)
      const byOwner = (verb: 'suspend' | 'resume') =>
        service.call(
          `/api-keys/${keyId}/${verb}`,
          json(wallet.sign({ action: `${verb}_api_key`, keyId })),
        )
      for (const one of order)
        if (one === 'owner') await answered(await byOwner('suspend'))
        else await run('suspend', '--key', keyId, '--reason', 'a court order')
      await refused(await byOwner('resume'), 'keyNotLive')
      expect((await run('resume', '--key', keyId, '--reason', 'lifted')).out).toContain(keyId)
      const again = await run('resume', '--key', keyId, '--reason', 'lifted once more')
      expect(again.out).toBe('Resumed: no key\n')
      const { details } = await refused(await use(apiKey), 'apiKeyInactive')
      expect(details).toEqual({ reason: 'suspended' })
      service.clock.now += 1
      await answered(await byOwner('resume'))
      await answered(await use(apiKey))
    }
    expect(await run('audit', 'check')).toMatchObject({ exitCode: 0 })
  })

  it('looks a key up by its preview, and finds edited rows', async () => {
    const expiresAt = service.clock.now + 86_400_000
    const { apiKey, keyId } = await createKey(service, newWallet(service), { expiresAt })
    const preview = `${apiKey.slice(0, 12)}...${apiKey.slice(-4)}`
    const found = await run('keys', '--preview', preview, '--json')
    expect(JSON.parse(found.out)).toMatchObject([
      {
        keyId,
        keyPreview: preview,
        expiresAt: new Date(expiresAt).toISOString(),
        revokedAt: null,
      },
    ])
    expect(await run('audit', 'check')).toMatchObject({ exitCode: 0 })
    await rows(service.world.db, sql`UPDATE api_keys SET permissions = '{}' WHERE id = ${keyId}`)
    const { exitCode, out } = await run('audit', 'check')
    expect([exitCode, out]).toEqual([1, expect.stringContaining(keyId)])
  })

  it('counts what there is, and shows the busiest keys', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    for (let n = 0; n < 3; n++) await use(apiKey)
    const [statistics, top] = [await run('stats', '--json'), await run('top', '--json')]
    expect(JSON.parse(statistics.out)).toMatchObject({ requests: { today: expect.any(Number) } })
    expect(JSON.parse(top.out).keys).toContainEqual(
      expect.objectContaining({ keyId, minute: 3, hour: 3, day: 3 }),
    )
    // A window that has passed counts nothing, although its number is still in the row.
    service.clock.now += 3_600_000
    const later = JSON.parse((await run('top', '--json')).out).keys
    const found = later.find((key: { keyId: string }) => key.keyId === keyId)
    expect(found === undefined || (found.minute === 0 && found.hour === 0)).toBe(true)
  })

  it('finds a transaction that is not mined, with what holds it up', async () => {
    const [operator] = service.world.operators.all
    const db = service.world.db
    await operator?.reconcile()
    await rows(
      db,
      sql`INSERT INTO transactions (txid, kind, operator, nonce, fee_in_micro_stx, raw_box, created_at)
        SELECT 'stuck', 'filler', address, chain_nonce + 2, 3000, decode('00', 'hex'), to_timestamp(${service.clock.now / 1000 - 900}) FROM operators`,
    )
    const { exitCode, out } = await run('stuck', '--json')
    expect([exitCode, JSON.parse(out)]).toEqual([
      1,
      [expect.objectContaining({ txid: 'stuck', kind: 'filler', behind: 2, ageSeconds: 900 })],
    ])
    expect((await run('stuck', '--older', '1000')).exitCode).toBe(0)
    await rows(db, sql`DELETE FROM transactions WHERE txid = 'stuck'`)
  })

  it('says that balances need the chain', async () => {
    expect(await run('balances')).toMatchObject({
      exitCode: 1,
      err: expect.stringContaining('STACKS_API_URL'),
    })
  })

  it('says so when there is no such key or wallet', async () => {
    for (const target of [
      ['--key', 'key_1'],
      ['--wallet', 'ST1NOBODY'],
    ])
      expect(await run('suspend', ...target, '--reason', 'x')).toMatchObject({
        exitCode: 1,
        out: '',
        err: expect.stringMatching(/no such key|no wallet/),
      })
  })

  it.each([
    ['suspend', '--key', 'key_1'],
    ['suspend', '--reason', 'x'],
    ['suspend', '--key', 'a', '--wallet', 'b', '--reason', 'x'],
    ['nothing'],
    ['keys', '--colour', 'red'],
  ])('refuses %s %s %s', async (...args) => {
    expect((await run(...args)).exitCode).toBe(2)
    const asJson = await run(...args, '--json')
    expect(JSON.parse(asJson.err)).toMatchObject({ code: 'USAGE' })
  })

  it('shows its commands, and suggests the nearest', async () => {
    const { exitCode, out } = await run()
    expect([exitCode, out]).toEqual([0, expect.stringContaining('audit check')])
    expect((await run('help')).out).toBe(out)
    expect((await run('audit')).out).toContain('audit check')
    expect((await run('help', 'suspend')).out).toContain('--reason <text>')
    expect((await run('suspned')).err).toContain('Did you mean suspend?')
  })

  it('names the faults of the configuration, without its values', async () => {
    const { exitCode, err } = await administerWith({ DATABASE_URL: 'mysql://a:hunter2@b' }, [
      'keys',
    ])
    expect(exitCode).toBe(1)
    expect(err).toContain('DATABASE_URL')
    expect(err).not.toContain('hunter2')
  })
})

describe('latchkey-admin without the key of the service', () => {
  const folder = temporaryFolder()

  it.each([
    ['keys'],
    ['suspend', '--key', 'key_1', '--reason', 'x'],
    ['audit', 'check'],
  ])('refuses %s, and makes neither a key nor a database', async (...args) => {
    const data = join(folder, 'data')
    const { exitCode, out, err } = await administerWith({ DATABASE_URL: `pglite:${data}` }, args)
    expect([exitCode, out]).toEqual([1, ''])
    expect(err).toContain('ENCRYPTION_KEY is not set')
    expect(err).toContain(data)
    expect(existsSync(data)).toBe(false)
  })

  it('refuses a folder that has no database, and makes none', async () => {
    const data = join(folder, 'typo')
    const env = {
      DATABASE_URL: `pglite:${data}`,
      ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    }
    const { exitCode, err } = await administerWith(env, ['keys'])
    expect([exitCode, err]).toEqual([1, `There is no database in the folder ${data}.\n`])
    expect(existsSync(data)).toBe(false)
  })
})
