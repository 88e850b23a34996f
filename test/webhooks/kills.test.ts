import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import postgres, { type Sql } from 'postgres'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { fundedOperator, type ServiceProcess, sharedEnv, startProcess } from '../support/process.ts'
import { plainDatabase } from '../support/service.ts'
import { createKey, newWallet, type Wallet } from '../support/wallet.ts'
import { createWebhook } from './own.ts'

const FAULT_POINT = fileURLToPath(new URL('../support/fault-point.ts', import.meta.url))
const ROUNDS = Number(process.env.WEBHOOK_KILL_ROUNDS ?? 1)
const POINTS = ['told', 'take', 'deliver', 'made'].flatMap((step) =>
  ['before', 'sent', 'after'].map((moment) => `${moment}:${step}`),
)
/** Changes that each process is asked for before it is expected to have died. */
const MOST_CHANGES = 12

describe('deliveries of processes that are killed', { timeout: 900_000 }, () => {
  let databaseUrl: string
  let client: Sql
  let env: Record<string, string>
  let survivor: ServiceProcess
  let wallet: Wallet
  let secret: string
  /** Bodies by webhook-id, each as often as it arrived. */
  const received = new Map<string, string[]>()
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const chunk of request) body += chunk
    const headers = request.headers as Record<string, string>
    new StandardWebhook(secret).verify(body, headers)
    const id = headers['webhook-id'] ?? ''
    received.set(id, [...(received.get(id) ?? []), body])
    response.writeHead(204).end()
  })

  beforeAll(async () => {
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    databaseUrl = await plainDatabase()
    const chain = { devnetUrl: inject('devnetUrl') }
    env = {
      ...sharedEnv(databaseUrl, chain),
      MAX_ACTIVE_KEYS_PER_WALLET: '10000',
      // Leases are three times as long.
      WEBHOOK_TIMEOUT_MS: '500',
    }
    const own = async () => ({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
    env = await own()
    survivor = await startProcess({ ...env, WEBHOOKS: 'off' })
    client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
    wallet = newWallet(survivor)
    const { port } = server.address() as AddressInfo
    const url = `http://127.0.0.1:${port}/hook`
    const maker = await startProcess({ ...env })
    const made = await createWebhook({ ...maker, clock: { now: 0 } }, wallet, { url })
    secret = made.secret
    await maker.stop()
  })
  afterAll(async () => {
    await survivor?.stop()
    await client?.end()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  it('are recorded once for each change and for none that was undone, and each arrives at least once under one webhook-id', async () => {
    const unreached: string[] = []
    let kills = 0
    for (let round = 0; round < ROUNDS; round++)
      for (const point of POINTS) {
        const victim = await startProcess({ ...env, FAULT_POINT: point }, FAULT_POINT)
        // Changes of the survivor are there for the victim to deliver, its own for it to die in.
        for (let change = 0; change < MOST_CHANGES && victim.ended() === undefined; change++) {
          await createKey(survivor, wallet)
          await createKey(victim, wallet).catch(() => {})
          await new Promise((resolve) => setTimeout(resolve, 200))
        }
        if (victim.ended() === undefined) unreached.push(point)
        else kills += 1
        await victim.kill()
      }
    const processes = await Promise.all([startProcess(env), startProcess(env)])
    await expect
      .poll(
        async () =>
          (await client`SELECT count(*)::int AS n FROM deliveries WHERE due_at IS NOT NULL`)[0]?.n,
        { timeout: 60_000, interval: 250 },
      )
      .toBe(0)
    await Promise.all(processes.map((one) => one.stop()))

    // Every change and no other one has its notice, once, and every notice its delivery.
    const [counted] = await client`SELECT
      (SELECT count(*)::int FROM audit_events WHERE body::json ->> 'event' = 'create_api_key') AS changes,
      (SELECT count(*)::int FROM api_keys) AS keys,
      (SELECT count(*)::int FROM notices WHERE type = 'key.created') AS notices,
      (SELECT count(DISTINCT data -> 'auditHead' ->> 'sequence')::int FROM notices) AS distinct,
      (SELECT count(*)::int FROM deliveries WHERE state = 'delivered') AS delivered,
      (SELECT count(*)::int FROM deliveries) AS deliveries`
    const ids = await client`SELECT id FROM notices`
    const arrivals = [...received.values()].map(({ length }) => length)
    const figures = {
      kills,
      ...counted,
      arrived: received.size,
      requests: arrivals.reduce((sum, one) => sum + one, 0),
      duplicated: arrivals.filter((times) => times > 1).length,
    }
    console.info(JSON.stringify(figures))
    const changes = counted?.changes as number
    expect(changes).toBeGreaterThanOrEqual(POINTS.length * ROUNDS)
    expect(counted).toEqual({
      ...{ changes, keys: changes, notices: changes, distinct: changes },
      ...{ delivered: changes, deliveries: changes },
    })
    expect([...received.keys()].sort()).toEqual(ids.map(({ id }) => id as string).sort())
    for (const bodies of received.values()) expect(new Set(bodies).size).toBe(1)
    expect(unreached).toEqual([])
    expect(kills).toBe(POINTS.length * ROUNDS)
  })

  it('are claimed once by however many processes that look at the same time', async () => {
    const before = received.size
    const requests = () => [...received.values()].reduce((sum, { length }) => sum + length, 0)
    const sent = requests()
    const CHANGES = 60
    for (let change = 0; change < CHANGES; change++) await createKey(survivor, wallet)
    const processes = await Promise.all([1, 2, 3, 4].map(() => startProcess(env)))
    await expect.poll(() => received.size, { timeout: 60_000 }).toBe(before + CHANGES)
    await Promise.all(processes.map((one) => one.stop()))
    const [left] = await client`SELECT count(*)::int AS n FROM deliveries WHERE due_at IS NOT NULL`
    expect(left?.n).toBe(0)
    expect(requests() - sent).toBe(CHANGES)
  })
})
