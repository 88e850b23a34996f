import { mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { sha256, toHex } from '../../src/crypto/bytes.ts'
import { rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { shardSql } from '../../src/db/shard.ts'
import { type CheckServices, checkAudit } from '../../src/provenance/check.ts'
import { signMessage } from '../../src/stacks/sign.ts'
import { answered } from '../support/assertions.ts'
import { ENGINES, type Service, startService } from '../support/service.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'
import { asOwner, editedBody, rewriteChain, type StoredEvent } from './rewrite.ts'

const HEADS_FILE = join(mkdtempSync(join(tmpdir(), 'latchkey-heads-')), 'heads.jsonl')

async function* linesOf(text: string): AsyncIterable<string> {
  yield* text.split('\n')
}

describe.each(ENGINES)('The audit check on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine, {
      env: { AUDIT_HEADS_FILE: `${HEADS_FILE}.${engine}` },
    })
  })
  afterAll(() => service.close())

  const of = async ({ address }: Wallet, services: CheckServices = service.world) => {
    const { faults, unchecked } = await checkAudit(services)
    return {
      faults: faults.filter(({ walletAddress }) => walletAddress === address),
      unchecked: unchecked.filter(({ walletAddress }) => walletAddress === address),
    }
  }
  /** Replaces the message that granted a key by another one of its owner, in its row and in its event. */
  async function signAnew(wallet: Wallet, keyId: string, change: (message: string) => string) {
    const { db } = service.world
    const [granted] = await rows<{ id: string; message: string }>(
      db,
      sql`SELECT id::text AS id, message FROM signed_actions
        WHERE id = (SELECT grant_id FROM api_keys WHERE id = ${keyId})`,
    )
    const message = change(granted?.message ?? '')
    expect(message).not.toBe(granted?.message)
    const signature = signMessage({ message, privateKey: wallet.privateKey })
    await asOwner(db, [
      sql`UPDATE signed_actions SET message = ${message}, signature = ${signature},
        message_hash = ${sha256(message)} WHERE id = ${granted?.id}::bigint`,
    ])
    const messageHash = toHex(sha256(message))
    await rewriteChain(db, wallet.address, ([one]) => [editedBody(one, { messageHash })])
  }
  const keptHeads = () => readFileSync(`${HEADS_FILE}.${engine}`, 'utf8')

  it('finds an edited order, one that is open again, and counts those without MACs', async () => {
    const wallet = newWallet(service)
    const uuids = []
    for (let orders = 0; orders < 4; orders += 1) uuids.push(await createOrder(service, wallet))
    const before = await checkAudit(service.world)
    expect(before.orders).toBeGreaterThanOrEqual(4)
    const [edited = '', unsealed = '', reopened = ''] = uuids
    const row = await rows<{ mac: string }>(
      service.world.db,
      sql`SELECT encode(state_mac, 'hex') AS mac FROM orders WHERE uuid = ${reopened}`,
    )
    const cancel = wallet.sign({ action: 'cancel_order', uuid: reopened })
    await answered(
      await service.call(`/orders/${reopened}/cancel`, { ...json(cancel), method: 'PATCH' }),
    )
    for (const [uuid, assignment] of [
      [edited, sql`recipient = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM'`],
      [unsealed, sql`terms_mac = NULL, state_mac = NULL`],
      [reopened, sql`status = 'open', state_mac = decode(${row[0]?.mac ?? ''}, 'hex')`],
    ] as const)
      await rows(service.world.db, sql`UPDATE orders SET ${assignment} WHERE uuid = ${uuid}`)
    const after = await checkAudit(service.world)
    expect(after.unsealedOrders).toBe(before.unsealedOrders + 1)
    expect(after.faults.filter(({ walletAddress }) => walletAddress === wallet.address)).toEqual([
      {
        walletAddress: wallet.address,
        orderUuid: edited,
        fault: 'its row was edited: its MACs do not fit',
      },
      {
        walletAddress: wallet.address,
        orderUuid: reopened,
        fault: 'is open, and its events say that it has ended',
      },
    ])
  })

  it.each<[string, string]>([
    ['no JSON', '{'],
    ['null', 'null'],
    ['null members', '{"actor":null,"at":null,"details":null,"event":null,"v":1}'],
    ['lists in lists', `{"details":${'['.repeat(50_000)}${']'.repeat(50_000)}}`],
    ['members of every object', '{"__proto__":{"at":1},"event":"constructor"}'],
  ])('goes on after a body of %s', async (_, body) => {
    const [wallet, next] = [newWallet(service), newWallet(service)]
    for (const one of [wallet, next]) await createKey(service, one)
    await rewriteChain(service.world.db, wallet.address, (events) => [
      ...events,
      { body, keyId: null, actionId: null },
    ])
    expect((await of(wallet)).faults).not.toEqual([])
    expect(await of(next)).toEqual({ faults: [], unchecked: [] })
  })

  it('replays a grant of an earlier release that named the token __proto__, as it was granted', async () => {
    const wallet = newWallet(service)
    const token = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.token'
    const granted = { [token]: { perDay: '5' } }
    const { keyId } = await createKey(service, wallet, { maxAmountIn: granted })
    await signAnew(wallet, keyId, (message) =>
      message.replace('{"ST1P', '{"__proto__":{"perDay":"9"},"ST1P'),
    )
    expect(await of(wallet)).toEqual({ faults: [], unchecked: [] })
  })

  it('names the wallets that it could not check, and checks the others', async () => {
    const [wallet, next] = [newWallet(service), newWallet(service)]
    const { keyId } = await createKey(service, wallet, { permissions: ['create'] })
    await createKey(service, next)
    const nested = `${'['.repeat(50_000)}${']'.repeat(50_000)}`
    await signAnew(wallet, keyId, (message) => message.replace('["create"]', nested))
    const { unchecked } = await of(wallet)
    expect(unchecked).toEqual([{ walletAddress: wallet.address, reason: expect.any(String) }])
    expect(await of(next)).toEqual({ faults: [], unchecked: [] })
  })

  it('compares the chains with the heads that were kept outside the database', async () => {
    const wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet)
    const { world, clock } = service
    clock.now += 1
    const headers = { 'X-API-Key': (await createKey(service, wallet)).apiKey }
    await answered(await service.call('/api-keys/self', { method: 'DELETE', headers }))
    expect(statSync(`${HEADS_FILE}.${engine}`).mode & 0o777).toBe(0o600)
    expect(keptHeads().match(new RegExp(wallet.address, 'g'))).toHaveLength(3)
    const heads = () => linesOf(`${keptHeads()}{"torn`)
    const intact = await checkAudit(world, { heads: heads() })
    expect(intact).toMatchObject({ unreadableLines: 1 })
    expect(intact.heads).toBeGreaterThan(2)
    const ofWallet = (faults: { walletAddress: string; fault: string }[]) =>
      faults.filter(({ walletAddress }) => walletAddress === wallet.address)
    expect(ofWallet(intact.faults)).toEqual([])
    // A revocation that no owner signed leaves nothing else that it can be missed by.
    await rewriteChain(world.db, wallet.address, (events) => events.slice(0, 2))
    const row = sql`UPDATE api_keys SET revoked_at = NULL WHERE wallet_address = ${wallet.address} AND id <> ${keyId}`
    await rows(world.db, row)
    const cut = await checkAudit(world, { heads: heads() })
    expect(ofWallet(cut.faults)).toContainEqual({
      walletAddress: wallet.address,
      sequence: 3,
      fault: 'is gone, and a kept head names it',
    })
    await rewriteChain(world.db, wallet.address, ([one, two]) => [
      editedBody(two, {}),
      one as StoredEvent,
    ])
    const rewritten = await checkAudit(world, { heads: linesOf(service.logged.join('\n')) })
    expect(ofWallet(rewritten.faults)).toContainEqual({
      walletAddress: wallet.address,
      sequence: 1,
      fault: 'is another event than the kept head names',
    })
  })

  it('holds no transaction while it computes', async () => {
    if (engine !== 'Postgres') return
    const wallet = newWallet(service)
    await createKey(service, wallet)
    const { db, close } = await openDatabase(service.databaseUrl, { maxConnections: 1 })
    await rows(db, sql`SET idle_in_transaction_session_timeout = 1`)
    expect((await of(wallet, { ...service.world, db })).unchecked).toEqual([])
    await close()
  })

  it('bounds what it reports of a wallet, and counts the rest', async () => {
    const [wallet, next] = [newWallet(service), newWallet(service)]
    await createKey(service, wallet)
    await createKey(service, next)
    await rows(
      service.world.db,
      sql`INSERT INTO audit_events (wallet_address, shard, sequence, body, hash)
        SELECT ${wallet.address}, ${shardSql(wallet.address)}, n, '{}', decode(repeat('00', 32), 'hex') FROM generate_series(2, 50001) AS n`,
    )
    const { faultCount, faults } = await checkAudit(service.world)
    expect(faultCount).toBeGreaterThanOrEqual(100_000)
    expect(faults.filter(({ walletAddress }) => walletAddress === wallet.address)).toHaveLength(100)
    expect(await of(next)).toEqual({ faults: [], unchecked: [] })
  }, 120_000)
})

it('a heads file that cannot be written stops the start', async () => {
  const path = join(mkdtempSync(join(tmpdir(), 'latchkey-heads-')), 'file')
  writeFileSync(path, '')
  const started = startService('PGlite', { env: { AUDIT_HEADS_FILE: join(path, 'heads') } })
  await expect(started).rejects.toThrow('ENOTDIR')
})
