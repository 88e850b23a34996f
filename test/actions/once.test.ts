import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { verifyMessage } from '../../src/stacks/signature.ts'
import { startService } from '../http/documented.ts'
import { stored } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

const TIMES = 20

describe.each(ENGINES)(`A message sent ${TIMES} times at once on %s`, (engine) => {
  let service: Service
  let wallet: Wallet
  beforeAll(async () => {
    service = await startService(engine, { maxConnections: TIMES + 4 })
    wallet = newWallet(service)
  })
  afterAll(() => service.close())

  /** The codes of all answers but one, which is the success. */
  async function othersOf(send: (time: number) => Promise<Response>): Promise<string[]> {
    const answers = await Promise.all(Array.from({ length: TIMES }, (_, time) => send(time)))
    expect(answers.filter((answer) => answer.ok)).toHaveLength(1)
    const refusals = answers.filter((answer) => !answer.ok)
    return Promise.all(
      refusals.map(async (answer) => ((await answer.json()) as { code: string }).code),
    )
  }
  const spent = (message: string) =>
    rows(service.world.db, sql`SELECT FROM signed_actions WHERE message = ${message}`)
  const allReplayed = Array(TIMES - 1).fill('MESSAGE_REPLAYED')
  /** Forms of one signature that all prove the same. */
  const spell = (rsv: string, time: number) =>
    [rsv, `0x${rsv}`, rsv.toUpperCase(), rsv.slice(-2) + rsv.slice(0, -2)][time % 4]

  it('makes exactly one key, however its signature is written', async () => {
    const body = wallet.sign({ action: 'create_api_key', keyName: 'once', permissions: [] })
    expect(
      await othersOf((time) =>
        service.call('/api-keys', json({ ...body, signature: spell(body.signature, time) })),
      ),
    ).toEqual(allReplayed)
    expect(await spent(body.message)).toHaveLength(1)
    const keys = (await stored(service)).filter((row) => row.includes('"name": "once"'))
    expect(keys).toHaveLength(1)
  })

  it('revokes once', async () => {
    const { keyId } = await createKey(service, wallet)
    const body = wallet.sign({ action: 'delete_api_key', keyId })
    const revoke = () => service.call(`/api-keys/${keyId}`, { ...json(body), method: 'DELETE' })
    expect(await othersOf(revoke)).toEqual(allReplayed)
    expect(await spent(body.message)).toHaveLength(1)
  })

  it('cancels once', async () => {
    const uuid = await createOrder(service, wallet)
    const body = wallet.sign({ action: 'cancel_order', uuid })
    const cancel = () => service.call(`/orders/${uuid}/cancel`, { ...json(body), method: 'PATCH' })
    expect(await othersOf(cancel)).toEqual(allReplayed)
    expect(await spent(body.message)).toHaveLength(1)
  })

  it('executes once', async () => {
    await fund(service, wallet)
    const uuid = await createOrder(service, wallet)
    const body = wallet.sign({ action: 'execute_order', uuid })
    const codes = await othersOf(() => service.call(`/orders/${uuid}/execute`, json(body)))
    expect(codes).toEqual(allReplayed)
    expect(await spent(body.message)).toHaveLength(1)
  })

  it('is kept with all that proves what its wallet wanted', async () => {
    const signer = newWallet(service)
    const { keyId } = await createKey(service, signer)
    const uuid = await createOrder(service, signer)
    for (const [path, method, members] of [
      [`/orders/${uuid}/cancel`, 'PATCH', { action: 'cancel_order', uuid }],
      [`/api-keys/${keyId}`, 'DELETE', { action: 'delete_api_key', keyId }],
    ] as const)
      expect((await service.call(path, { ...json(signer.sign(members)), method })).ok).toBe(true)
    const kept = await rows<Record<string, string>>(
      service.world.db,
      sql`SELECT action, message, signature, public_key AS "publicKey", wallet_address AS "walletAddress"
        FROM signed_actions WHERE wallet_address = ${signer.address} ORDER BY id`,
    )
    expect(kept.map(({ action }) => action)).toEqual([
      'create_api_key',
      'cancel_order',
      'delete_api_key',
    ])
    for (const { action, ...proof } of kept) {
      expect(verifyMessage({ ...proof, network: 'devnet' } as never).ok).toBe(true)
      expect(JSON.parse(proof.message ?? '').action).toBe(action)
    }
    const [grant] = await rows<{ message: string }>(
      service.world.db,
      sql`SELECT message FROM api_keys JOIN signed_actions a ON grant_id = a.id WHERE api_keys.id = ${keyId}`,
    )
    expect(grant?.message).toBe(kept[0]?.message)
  })

  it('works for two wallets that sign the same text', async () => {
    const members = { action: 'create_api_key', keyName: 'same text', permissions: [] }
    const [one, other] = [newWallet(service).sign(members), newWallet(service).sign(members)]
    expect(one.message).toBe(other.message)
    expect((await service.call('/api-keys', json(one))).status).toBe(201)
    expect((await service.call('/api-keys', json(other))).status).toBe(201)
  })

  it('is not used up by a refusal', async () => {
    const { keyId } = await createKey(service, wallet, { keyName: 'in the way' })
    const body = wallet.sign({
      action: 'create_api_key',
      keyName: 'in the way',
      permissions: [],
      timestamp: service.clock.now - 1,
    })
    expect((await service.call('/api-keys', json(body))).status).toBe(409)
    const revocation = json(wallet.sign({ action: 'delete_api_key', keyId }))
    await service.call(`/api-keys/${keyId}`, { ...revocation, method: 'DELETE' })
    expect((await service.call('/api-keys', json(body))).status).toBe(201)
  })
})
