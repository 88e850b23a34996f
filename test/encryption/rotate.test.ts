import { createCipheriv, randomBytes } from 'node:crypto'
import { type SQL, sql } from 'drizzle-orm'
import { describe, expect, it } from 'vitest'
import { administer } from '../../src/cli/admin.ts'
import { fromHex, toHex } from '../../src/crypto/bytes.ts'
import { openEncryption } from '../../src/crypto/encryption.ts'
import { type EncryptionKeys, readEncryptionKeys } from '../../src/crypto/keys.ts'
import { signatureLabel, transactionLabel } from '../../src/crypto/labels.ts'
import { type Database, rows } from '../../src/db/database.ts'
import { type RotateServices, rotateEncryption } from '../../src/encryption/rotate.ts'
import { openNativeMac } from '../../src/node/crypto.ts'
import { collectingTerminal } from '../cli/latchkey.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, type Engine, type Service, secretsOf, startService } from '../support/service.ts'
import { issueCredential } from '../support/service-credentials.ts'
import { createKey, createOrder, fund, json, newWallet } from '../support/wallet.ts'

const GENEROUS = {
  RATE_LIMIT_PER_MINUTE: '1000000',
  RATE_LIMIT_PER_HOUR: '1000000',
  RATE_LIMIT_PER_DAY: '1000000',
  MAX_ACTIVE_KEYS_PER_WALLET: '1000',
}

/** A service with the old key, and the configuration of each step of a rotation. */
async function startRotation(engine: Engine) {
  const [old, young] = [randomBytes(32), randomBytes(32)].map((key) => key.toString('base64'))
  const before = await startService(engine, { env: { ...GENEROUS, ENCRYPTION_KEY: `${old}` } })
  const restart = (ENCRYPTION_KEY: string): Promise<Service> =>
    startService(engine, {
      databaseUrl: before.databaseUrl,
      env: { ...GENEROUS, ...secretsOf(before), ENCRYPTION_KEY },
    })
  return { before, restart, old: `${old}`, young: `${young}`, both: `new:${young},old:${old}` }
}

async function runRotation(databaseUrl: string, ENCRYPTION_KEY: string) {
  const { terminal, written } = collectingTerminal({
    env: { DATABASE_URL: databaseUrl, ENCRYPTION_KEY },
  })
  const args = ['encryption', 'rotate', '--json']
  const exitCode = await administer({ ...terminal, args }, () => Date.now())
  return { exitCode, ...written }
}

const execute = (service: Service, uuid: string, apiKey: string) =>
  service.call(`/orders/${uuid}/execute`, { method: 'POST', headers: { 'X-API-Key': apiKey } })
const list = (service: Service, credential: Record<string, string>) =>
  service.call('/orders', { headers: credential })

async function servicesWith(service: Service, keys: EncryptionKeys): Promise<RotateServices> {
  const encryption = await openEncryption(keys, (length) => Uint8Array.from(randomBytes(length)))
  return { db: service.world.db, mac: openNativeMac(keys), encryption }
}

/** Encrypts every box as version 0.1.0 did: with a version byte, and without the name of its key. */
async function writeFirstBoxes({ world }: Service, key: Buffer): Promise<void> {
  const encrypt = (secret: Uint8Array, label: string) => {
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(label))
    const ciphertext = [cipher.update(secret), cipher.final()]
    return Buffer.concat([Buffer.of(1), nonce, ...ciphertext, cipher.getAuthTag()])
  }
  for (const [table, id, column, labelOf] of [
    ['orders', 'uuid', 'signature_box', signatureLabel],
    ['transactions', 'txid', 'raw_box', transactionLabel],
  ] as const) {
    const [from, named, boxed] = [table, id, column].map((name) => sql.raw(name)) as [SQL, SQL, SQL]
    const found = await rows<{ id: string; box: string }>(
      world.db,
      sql`SELECT ${named} AS id, encode(${boxed}, 'hex') AS box FROM ${from}`,
    )
    for (const { id, box } of found) {
      const label = labelOf(id)
      const first = encrypt(await world.encryption.decrypt(fromHex(box), label), label)
      await rows(
        world.db,
        sql`UPDATE ${from} SET ${boxed} = decode(${toHex(first)}, 'hex') WHERE ${named} = ${id}`,
      )
    }
  }
}

/** Runs something between the first reading of keys and what is then written. */
function afterFirstRead(db: Database, change: () => Promise<void>): Database {
  let reads = 0
  const execute = async (statement: SQL) => {
    const result = await db.execute(statement)
    reads += 1
    if (reads === 1) await change()
    return result
  }
  return { execute } as unknown as Database
}

/** A wallet with a row of each kind that an encryption key protects. */
async function populate(service: Service) {
  const wallet = newWallet(service)
  await fund(service, wallet)
  const { apiKey, keyId } = await createKey(service, wallet)
  const open = [await createOrder(service, wallet), await createOrder(service, wallet)]
  const executed = await createOrder(service, wallet)
  await answered(await execute(service, executed, apiKey))
  const { session } = await answered<{ session: string }>(
    await service.call(
      '/sessions',
      json(wallet.sign({ action: 'create_session', ttlSeconds: 3600 })),
    ),
    201,
  )
  const { secret: credential } = await issueCredential(service)
  return { wallet, apiKey, keyId, open, executed, session, credential }
}

it('rotates under traffic, and the new key alone then suffices for everything', async () => {
  const { before, restart, old, young, both } = await startRotation('Postgres')
  const { wallet, apiKey, open, session, credential } = await populate(before)
  const many = Array.from({ length: 40 }, () => createOrder(before, wallet))
  const waiting = [...open, ...(await Promise.all(many))]
  await before.database.close()

  const during = await restart(both)
  let isRotating = true
  const made: { keys: string[]; revoked: string[]; orders: string[] } = {
    keys: [],
    revoked: [],
    orders: [],
  }
  const traffic = [
    async () => {
      const { apiKey, keyId } = await createKey(during, wallet)
      const remove = { action: 'delete_api_key', keyId }
      if (made.keys.length > made.revoked.length) {
        await answered(
          await during.call(`/api-keys/${keyId}`, {
            ...json(wallet.sign(remove)),
            method: 'DELETE',
          }),
        )
        made.revoked.push(apiKey)
      } else made.keys.push(apiKey)
    },
    async () => void made.orders.push(await createOrder(during, wallet)),
    async () => {
      const uuid = waiting.pop()
      if (uuid !== undefined) await answered(await execute(during, uuid, apiKey))
    },
    async () => void (await answered(await list(during, { 'X-API-Key': apiKey }))),
  ]
  const running = traffic.map(async (request) => {
    while (isRotating) await request()
  })
  const { exitCode, out, err } = await runRotation(during.databaseUrl, both)
  isRotating = false
  await Promise.all(running)
  expect({ exitCode, err }).toEqual({ exitCode: 0, err: '' })
  expect(JSON.parse(out)).toMatchObject({ key: 'new', removable: ['old'], unverified: 0 })
  expect(JSON.parse(out).rewritten).toBeGreaterThan(40)
  expect(made.orders.length).toBeGreaterThan(0)
  await during.database.close()

  const after = await restart(young)
  for (const secret of [apiKey, ...made.keys])
    await answered(await list(after, { 'X-API-Key': secret }))
  for (const secret of made.revoked)
    await refused(await list(after, { 'X-API-Key': secret }), 'apiKeyInactive')
  await answered(await list(after, { Authorization: `Bearer ${session}` }))
  const asked = json({ apiKey, scope: 'create' }, { 'X-Service-Credential': credential })
  await answered(await after.call('/keys/verify', asked))
  for (const uuid of [...waiting, ...made.orders].slice(0, 8))
    await answered(await execute(after, uuid, apiKey))
  const { encryption, db } = after.world
  for (const { txid, box } of await rows<{ txid: string; box: string }>(
    db,
    sql`SELECT txid, encode(raw_box, 'hex') AS box FROM transactions`,
  ))
    await encryption.decrypt(fromHex(box), transactionLabel(txid))
  for (const { uuid, box } of await rows<{ uuid: string; box: string }>(
    db,
    sql`SELECT uuid, encode(signature_box, 'hex') AS box FROM orders`,
  ))
    await encryption.decrypt(fromHex(box), signatureLabel(uuid))
  expect([...during.logged, ...after.logged].filter((line) => /tampered/.test(line))).toEqual([])
  await expect(restart(old)).rejects.toThrow('is not the one')
  await after.close()
}, 120_000)

describe.each(ENGINES)('A rotation on %s', (engine) => {
  it('takes a database of the release before through: its boxes name no key', async () => {
    const [old, young] = [randomBytes(32), randomBytes(32)]
    const service = await startService(engine, {
      env: { ENCRYPTION_KEY: old.toString('base64') },
    })
    const { db } = service.world
    await populate(service)
    await writeFirstBoxes(service, old)
    await rows(db, sql`DELETE FROM encryption_keys`)
    const keys = readEncryptionKeys(`new:${young.toString('base64')},old:${old.toString('base64')}`)
    const services = await servicesWith(service, keys)
    const rotated = await rotateEncryption(services, async () => {})
    expect(rotated).toMatchObject({ isDone: true, unverified: 0 })
    const alone = await servicesWith(service, [keys[0]])
    expect(await rotateEncryption(alone, async () => {})).toEqual({
      isDone: true,
      unverified: 0,
      rewritten: 0,
    })
    await service.close()
  })

  it('can be stopped at any table, and repeated', async () => {
    const { before, old, young } = await startRotation(engine)
    await populate(before)
    const services = await servicesWith(before, readEncryptionKeys(`n:${young},o:${old}`))
    let total = 0
    for (const stopAt of [
      'api_keys',
      'sessions',
      'service_credentials',
      'orders',
      'transactions',
    ]) {
      const stopped = rotateEncryption(services, async ({ table, rewritten }) => {
        total += rewritten
        if (table === stopAt) throw new Error('stopped')
      })
      await expect(stopped).rejects.toThrow('stopped')
    }
    expect(await rotateEncryption(services, async () => {})).toMatchObject({ rewritten: 0 })
    expect(total).toBe(7)
    await before.close()
  })

  it.each([
    ['a key', sql`UPDATE api_keys SET permissions = '{execute}'`],
    ['a session', sql`UPDATE sessions SET expires_at = expires_at + interval '1 day'`],
    ['a service credential', sql`UPDATE service_credentials SET rate_limit_per_minute = 1000000`],
    ['an order', sql`UPDATE orders SET recipient = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM'`],
    ['the status of an order', sql`UPDATE orders SET status = 'failed'`],
    [
      'the box of an order',
      sql`UPDATE orders SET signature_box = set_byte(signature_box, 30, 255 - get_byte(signature_box, 30))`,
    ],
    [
      'a transaction',
      sql`UPDATE transactions SET raw_box = set_byte(raw_box, 30, 255 - get_byte(raw_box, 30))`,
    ],
  ])('authenticates nothing that was edited: %s', async (_, edit) => {
    const { before, old, young } = await startRotation(engine)
    await populate(before)
    const secured = sql`SELECT (SELECT json_agg(k.rights_mac) FROM api_keys k) AS keys,
      (SELECT json_agg(s.mac) FROM sessions s) AS sessions,
      (SELECT json_agg(c.mac) FROM service_credentials c) AS credentials,
      (SELECT json_agg(json_build_array(o.signature_box, o.terms_mac, o.state_mac) ORDER BY uuid) FROM orders o) AS orders,
      (SELECT json_agg(t.raw_box) FROM transactions t) AS transactions`
    const services = await servicesWith(before, readEncryptionKeys(`n:${young},o:${old}`))
    await rows(services.db, edit)
    const [first] = await rows<Record<string, unknown>>(services.db, secured)
    const { unverified } = await rotateEncryption(services, async () => {})
    const [last] = await rows<Record<string, unknown>>(services.db, secured)
    expect(unverified).toBeGreaterThan(0)
    const unchanged = Object.keys(first ?? {}).filter(
      (name) => JSON.stringify(first?.[name]) === JSON.stringify(last?.[name]),
    )
    expect(unchanged).toHaveLength(1)
    await before.close()
  })

  it('writes nothing over a row that changed since it was read', async () => {
    const { before, old, young } = await startRotation(engine)
    const { wallet, keyId, apiKey } = await populate(before)
    const suspend = json(wallet.sign({ action: 'suspend_api_key', keyId }))
    const keys = readEncryptionKeys(`n:${young},o:${old}`)
    const services = await servicesWith(before, keys)
    const db = afterFirstRead(services.db, async () => {
      await answered(await before.call(`/api-keys/${keyId}/suspend`, suspend))
    })
    const skipped: number[] = []
    const rotated = await rotateEncryption({ ...services, db }, async (progress) => {
      if (progress.table === 'api_keys') skipped.push(progress.skipped)
    })
    expect(skipped[0]).toBe(1)
    expect(rotated).toMatchObject({ isDone: true, unverified: 0 })
    await refused(await list(before, { 'X-API-Key': apiKey }), 'apiKeyInactive')
    await before.close()
  })
})

it('does not disturb an execute that read its order before', async () => {
  const [old, young] = [randomBytes(32), randomBytes(32)].map((key) => key.toString('base64'))
  let whenQuoted = async () => {}
  const service = await startService('Postgres', {
    env: { ENCRYPTION_KEY: `old:${old},new:${young}` },
    change: (world) => ({
      ...world,
      chain: {
        ...world.chain,
        async quote(...route) {
          await whenQuoted()
          return world.chain.quote(...route)
        },
      },
    }),
  })
  const { open, apiKey } = await populate(service)
  const services = await servicesWith(service, readEncryptionKeys(`n:${young},o:${old}`))
  whenQuoted = async () => {
    whenQuoted = async () => {}
    expect(await rotateEncryption(services, async () => {})).toMatchObject({ isDone: true })
  }
  await answered(await execute(service, open[0] ?? '', apiKey))
  await service.close()
})

it('is not called done while a process still writes with the old key', async () => {
  const { before, both } = await startRotation('Postgres')
  const { wallet } = await populate(before)
  let isRotating = true
  const writing = (async () => {
    while (isRotating) await createOrder(before, wallet)
  })()
  const { exitCode, err } = await runRotation(before.databaseUrl, both)
  isRotating = false
  await writing
  expect(exitCode).toBe(1)
  expect(JSON.parse(err)).toMatchObject({ code: 'ROTATION_UNFINISHED' })
  await before.close()
}, 60_000)
