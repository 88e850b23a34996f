import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { databaseAt, writeMigrations } from '../support/old-database.ts'
import {
  type Chain,
  fundedOperator,
  type ServiceProcess,
  sharedEnv,
  startProcess,
} from '../support/process.ts'
import {
  buildReleaseBefore,
  hasReleaseBefore,
  LAST_MIGRATION_BEFORE,
} from '../support/release-before.ts'
import { createKey, fund, json, newWallet } from '../support/wallet.ts'
import { bundleOf, startWorkerd } from '../worker/workerd.ts'

const ROOT = join(import.meta.dirname, '../..')
const START_MS = 240_000
const WALLETS = 20
const KEYS = 10

/** A process or a worker of either release. */
type Door = Pick<ServiceProcess, 'call' | 'clock'>

/** Its service is built from the history, which a shallow clone does not have. */
describe.skipIf(!hasReleaseBefore())('a release beside the one before, on one database,', () => {
  let folder: string
  let before: ServiceProcess
  let after: ServiceProcess
  let admin: postgres.Sql
  let env: Record<string, string>
  /** An order of the release before, from before the migration. */
  let early: { uuid: string; headers: Record<string, string> }
  /** What the process of the release before responded while the database was migrated. */
  const during: Record<string, number> = {}
  const stop: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    const chain: Chain = { devnetUrl: inject('devnetUrl') }
    const { databaseUrl, client } = await databaseAt(LAST_MIGRATION_BEFORE)
    admin = client
    env = {
      ...sharedEnv(databaseUrl, chain),
      ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      MAX_ACTIVE_KEYS_PER_WALLET: String(KEYS),
      SLIPPAGE_BPS: '100',
    }
    // Where its own sources would be, beside its own migrations.
    folder = mkdtempSync(join(tmpdir(), 'latchkey-before-'))
    await buildReleaseBefore(folder)
    const entry = join(folder, 'src/db/node.js')
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    writeMigrations(join(folder, 'drizzle'), LAST_MIGRATION_BEFORE)
    const own = async () => ({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
    before = await startProcess(await own(), undefined, entry)

    const wallet = newWallet(before)
    const { apiKey } = await createKey(before, wallet)
    await fund({ call: before.call } as Parameters<typeof fund>[0], wallet)
    const order = wallet.order()
    const headers = { 'X-API-Key': apiKey }
    expect((await before.call('/orders/new', json(order, headers))).status).toBe(201)
    early = { uuid: order.uuid, headers }
    let isStarting = true
    const load = Array.from({ length: 8 }, async (_, lane) => {
      while (isStarting) {
        const response =
          lane % 2 === 0
            ? await before.call('/me', { headers: { 'X-API-Key': apiKey } })
            : await before.call('/orders/new', json(wallet.order(), { 'X-API-Key': apiKey }))
        const { code } = (await response.json()) as { code?: string }
        const what = `${lane % 2 === 0 ? 'read' : 'create'} ${response.status} ${code ?? ''}`.trim()
        during[what] = (during[what] ?? 0) + 1
      }
    })
    after = await startProcess(await own())
    isStarting = false
    await Promise.all(load)
    stop.push(
      () => before.stop(),
      () => after.stop(),
      () => admin.end(),
    )
  }, START_MS)
  afterAll(async () => {
    await Promise.all(stop.map((one) => one()))
    rmSync(folder, { recursive: true, force: true })
  })

  const use = async (door: Door, apiKey: string) =>
    (
      await door.call(`/orders/${randomUUID()}/execute`, {
        method: 'POST',
        headers: { 'X-API-Key': apiKey },
      })
    ).status

  it('migrates it under load: every request of the process before got its response, or 503 UNAVAILABLE', () => {
    const known = ['read 200', 'create 201', 'create 503 UNAVAILABLE', 'read 503 UNAVAILABLE']
    expect(Object.keys(during).filter((what) => !known.includes(what))).toEqual([])
    expect(during['read 200']).toBeGreaterThan(0)
    expect(during['create 201']).toBeGreaterThan(0)
  })

  async function isExactAcross(one: Door, other: Door) {
    const { apiKey } = await createKey(after, newWallet(after), { rateLimit: 24 })
    const statuses = await Promise.all(
      Array.from({ length: 120 }, (_, at) => use(at % 2 === 0 ? one : other, apiKey)),
    )
    const passed = statuses.filter((status) => status === 404).length
    // A minute may have begun meanwhile.
    expect([24, 48]).toContain(passed)
  }

  async function keepsTheLimitOfKeys(one: Door, other: Door) {
    for (let made = 0; made < WALLETS; made++) {
      const wallet = newWallet(after)
      const statuses = await Promise.all(
        Array.from({ length: 2 * KEYS }, async (_, at) => {
          const create = { action: 'create_api_key', keyName: `bot ${at}`, permissions: [] }
          const door = at % 2 === 0 ? one : other
          return (await door.call('/api-keys', json(wallet.sign(create)))).status
        }),
      )
      expect(statuses.filter((status) => status === 201)).toHaveLength(KEYS)
      const [row] = await admin`SELECT count(*)::int AS keys FROM api_keys
        WHERE wallet_address = ${wallet.address}`
      expect(row?.keys).toBe(KEYS)
    }
  }

  async function refusesWhatTheOlderMustNotDo(older: Door) {
    const wallet = newWallet(after)
    await fund({ call: after.call } as Parameters<typeof fund>[0], wallet)
    const { apiKey } = await createKey(older, wallet)
    const headers = { 'X-API-Key': apiKey }
    const created = await older.call('/orders/new', json(wallet.order(), headers))
    expect([created.status, await created.json()]).toMatchObject([503, { code: 'UNAVAILABLE' }])
    const order = wallet.order()
    expect((await after.call('/orders/new', json(order, headers))).status).toBe(201)
    const execute = { method: 'POST', headers }
    const executed = await older.call(`/orders/${order.uuid}/execute`, execute)
    // It would count the key's requests where no other process reads them.
    expect([executed.status, await executed.json()]).toMatchObject([503, { code: 'UNAVAILABLE' }])
    const shown = await after.call(`/orders/${order.uuid}`)
    expect(await shown.json()).toMatchObject({ data: { status: 'open' } })
    expect((await after.call(`/orders/${order.uuid}/execute`, execute)).status).toBe(200)
  }

  it("a key's limit is exact across both", () => isExactAcross(before, after))
  it('no wallet has more keys than its limit', () => keepsTheLimitOfKeys(before, after))
  it('the older one answers 503 to every request with a key, and a key that it made works with this release', () =>
    refusesWhatTheOlderMustNotDo(before))

  it('the older one sends nothing for an order of its own either, once the database is migrated', async () => {
    const { uuid, headers } = early
    const executed = await before.call(`/orders/${uuid}/execute`, { method: 'POST', headers })
    expect([executed.status, await executed.json()]).toMatchObject([503, { code: 'UNAVAILABLE' }])
    expect(await admin`SELECT status FROM orders WHERE uuid = ${uuid}`).toEqual([
      { status: 'open' },
    ])
    expect(await admin`SELECT FROM transactions WHERE order_uuid = ${uuid}`).toHaveLength(0)
  })

  it('the same holds for a worker of the release before', { timeout: START_MS }, async () => {
    const limit = { simple: { limit: 1_000_000, period: 60 as const } }
    const worker = await startWorkerd(
      await bundleOf(inject('runFolder'), join(folder, 'worker.js')),
      {
        hyperdrives: { HYPERDRIVE: env.DATABASE_URL ?? '' },
        ratelimits: {
          KEYLESS_LIMIT: { namespace_id: '1001', ...limit },
          FAILED_KEYS_LIMIT: { namespace_id: '1002', ...limit },
        },
        bindings: {
          ...env,
          OPERATOR_PRIVATE_KEY: await fundedOperator({ devnetUrl: inject('devnetUrl') }),
        },
      },
    )
    stop.push(() => worker.stop())
    const door: Door = {
      clock: after.clock,
      call: (path, init) => {
        const headers = new Headers(init?.headers)
        headers.set('CF-Connecting-IP', '127.0.0.1')
        return worker.fetch(`/api/v1${path}`, { ...init, headers })
      },
    }
    await isExactAcross(door, after)
    await keepsTheLimitOfKeys(door, after)
    await refusesWhatTheOlderMustNotDo(door)
  })
})
