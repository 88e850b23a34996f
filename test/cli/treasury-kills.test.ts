import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { archiveFiles } from '../../src/archive-file.ts'
import { administer } from '../../src/cli/admin.ts'
import { rows } from '../../src/db/database.ts'
import { performWith } from '../../src/operator/acts.ts'
import { addressOf } from '../../src/stacks/sign.ts'
import { emptyFolder, follow, ROOT } from '../node/entry.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from '../settlement/chain.ts'
import { collectingTerminal } from './latchkey.ts'

const FAULT_POINT = fileURLToPath(new URL('../support/fault-point.ts', import.meta.url))
const ADMIN = join(ROOT, 'src/cli/admin.ts')
const CALLERS = 24
const LEVEL = 1_000_000

const TOP_UP_POINTS = [
  ...['before:held', 'after:held', 'after:account', 'after:nonces', 'after:fee'],
  ...['before:stored', 'sent:stored', 'after:stored', 'before:told', 'after:told'],
  ...['before:submit', 'sent:submit', 'after:submit', 'before:accepted', 'after:accepted'],
  ...['before:released', 'after:released'],
]
/** Of an account that is in use, and of one that is retired already. */
const RETIRE_POINTS = ['before:operator', 'after:operator', 'before:told', 'after:told']
const RETURN_POINTS = [
  ...['after:account', 'after:nonces', 'after:fee', 'before:stored', 'sent:stored', 'after:stored'],
  ...['before:told', 'after:told', 'before:submit', 'sent:submit', 'after:submit'],
  ...['before:accepted', 'after:accepted'],
]

describe('a command that moves funds', { timeout: 600_000 }, () => {
  let chain: OwnChain
  const opened: Settling[] = []
  beforeAll(async () => {
    chain = await startOwnChain()
  })
  afterAll(async () => {
    for (const service of opened) await service.close()
    await chain.stop()
  })

  async function start(keys: readonly string[]) {
    const treasuryKey = await chain.newOperator()
    const treasury = addressOf(treasuryKey, 'devnet')
    const env = {
      OPERATOR_PRIVATE_KEYS: keys.join(','),
      TREASURY_ADDRESS: treasury,
      STACKS_API_URL: chain.url,
    }
    const service = await startSettling(chain, { engine: 'Postgres', maxConnections: CALLERS, env })
    opened.push(service)
    const { ENCRYPTION_KEY = '', STACKS_NETWORK } = service.world.config
    const ownEnv = { ...env, DATABASE_URL: service.databaseUrl, ENCRYPTION_KEY, STACKS_NETWORK }
    /** Runs the command as a process of its own. */
    const spawn = async (args: readonly string[], more: Record<string, string>) => {
      const node = ['--import', FAULT_POINT, ADMIN, ...args, '--json']
      const entry = follow(process.execPath, node, { ...ownEnv, ...more }, emptyFolder())
      const { signal } = await entry.ended
      return { signal, out: entry.stdout.join('\n'), err: entry.stderr() }
    }
    const run = async (args: readonly string[]) => {
      const { terminal, written } = collectingTerminal({ env: ownEnv })
      const exitCode = await administer({ ...terminal, args: [...args, '--json'] }, Date.now)
      return { exitCode, ...written }
    }
    return {
      service,
      treasury,
      treasuryKey,
      run,
      spawn,
      addresses: keys.map((key) => addressOf(key, 'devnet')),
    }
  }
  const balanceOf = async ({ world }: Settling, address: string) =>
    Number((await world.chain.account(address))?.balance)
  const perform = ({ world }: Settling) => performWith({ ...world, archiveFiles })
  const noncesOf = async (address: string) =>
    (await chain.transactionsOf(address)).map(({ nonce }) => nonce).sort((a, b) => a - b)

  /** Some time later: what is stored is sent and followed, and balances are looked up again. */
  async function settle(service: Settling): Promise<void> {
    for (let passes = 0; passes < 4; passes++) await service.pass(20_000)
    await service.pass(200_000)
    for (const operator of service.world.operators.all) await operator.reconcile()
  }

  it('killed at any step of a top-up, has each account topped up once by the run after it', async () => {
    const keys = Array.from({ length: 2 }, () => `${randomBytes(32).toString('hex')}01`)
    const { service, treasury, treasuryKey, run, spawn, addresses } = await start(keys)
    const file = join(emptyFolder(), 'treasury.key')
    writeFileSync(file, treasuryKey, { mode: 0o600 })
    const unreached: string[] = []
    let level = 0
    for (const point of TOP_UP_POINTS) {
      const goal = ['--below', String(level + 1), '--up-to', String(level + LEVEL)]
      const topUp = ['treasury', 'top-up', '--key-file', file, ...goal]
      level += LEVEL
      const killed = await spawn(topUp, { FAULT_POINT: point })
      if (killed.signal !== 'SIGKILL') unreached.push(`${point}: ${killed.err}`)
      // Its lease ends; nothing else of it is left.
      await rows(service.world.db, sql`DELETE FROM leases WHERE name LIKE 'treasury:%'`)
      for (let again = 0; again < 2; again++)
        expect(await run(topUp), point).toMatchObject({ exitCode: 0, err: '' })
      await settle(service)
      expect(JSON.parse((await run(topUp)).out), point).toMatchObject({ sent: [], underWay: 0 })
      for (const address of addresses)
        expect([point, await balanceOf(service, address)]).toEqual([point, level])
    }
    expect(unreached).toEqual([])
    const sent = await noncesOf(treasury)
    expect(sent).toEqual(Array.from({ length: 2 * TOP_UP_POINTS.length }, (_, nonce) => nonce))
    const { value } = (await perform(service)('checkAudit', {})) as { value: object }
    expect(value).toMatchObject({ faultCount: 0 })
  })

  it('killed at any step of a retirement, returns the funds once by the run after it', async () => {
    const points = [
      ...RETIRE_POINTS.map((point) => ({ point, isRetired: false })),
      ...RETURN_POINTS.map((point) => ({ point, isRetired: true })),
    ]
    const keys = await Promise.all(points.map(() => chain.newOperator()))
    const { service, treasury, run, spawn, addresses } = await start(keys)
    const had = await balanceOf(service, treasury)
    const unreached: string[] = []
    let returned = 0
    for (const [at, { point, isRetired }] of points.entries()) {
      const address = addresses[at] ?? ''
      const before = await balanceOf(service, address)
      const away = performWith({ ...service.world, chain: undefined, archiveFiles })
      if (isRetired)
        expect(await away('retireOperator', { address })).toMatchObject({
          value: { kept: 'chain' },
        })
      const killed = await spawn(['operators', 'retire', address], { FAULT_POINT: point })
      if (killed.signal !== 'SIGKILL') unreached.push(`${point}: ${killed.out}${killed.err}`)
      await run(['operators', 'retire', address])
      await settle(service)
      const last = await run(['operators', 'retire', address])
      expect(JSON.parse(last.out), point).toMatchObject({ kept: 'empty', pending: 0 })
      expect([point, await noncesOf(address)]).toEqual([point, [0]])
      const [{ fee } = { fee: '0' }] = await chain.transactionsOf(address)
      returned += before - Number(fee) - (await balanceOf(service, address))
      const events = await rows<{ body: string }>(
        service.world.db,
        sql`SELECT body FROM audit_events WHERE wallet_address = ${address} ORDER BY sequence`,
      )
      expect(events.map(({ body }) => JSON.parse(body).event)).toEqual([
        'retire_operator',
        'return_operator_funds',
      ])
    }
    expect(unreached).toEqual([])
    expect(await balanceOf(service, treasury)).toBe(had + returned)
  })

  it(`run by ${CALLERS} callers and by two processes at once that estimate other fees, returns the funds once`, async () => {
    const keys = await Promise.all([chain.newOperator(), chain.newOperator()])
    const { service, spawn, addresses } = await start(keys)
    const [first = '', second = ''] = addresses
    await chain.feeRate({ estimate: 1_000 })
    await chain.blockTime(null)
    const { world } = service
    // The fee is the ceiling, so each signs another transaction with the same nonce.
    const ofCaller = (at: number) =>
      performWith({
        ...world,
        config: { ...world.config, MAX_FEE_IN_MICRO_STX: 3_000 + at },
        archiveFiles,
      })
    await chain.plan({ on: '/extended/v3/principals/', do: 'delay', ms: 1_000 })
    const all = await Promise.all(
      Array.from({ length: CALLERS }, (_, at) =>
        ofCaller(at)('retireOperator', { address: first }),
      ),
    )
    expect(all.filter((one) => one.ok && one.value.returned !== null)).toHaveLength(1)
    const processes = await Promise.all(
      [4_000, 4_001].map((fee) =>
        spawn(['operators', 'retire', second], { MAX_FEE_IN_MICRO_STX: String(fee) }),
      ),
    )
    const returns = processes.map(({ out }) => JSON.parse(out).returned)
    expect(returns.filter((one) => one !== null)).toHaveLength(1)
    await chain.clear()
    for (const address of addresses) {
      const stored = await rows<{ nonce: number }>(
        world.db,
        sql`SELECT nonce::int AS nonce FROM transactions WHERE operator = ${address}`,
      )
      expect(stored).toEqual([{ nonce: 0 }])
      const [row] = await rows<{ next: number }>(
        world.db,
        sql`SELECT next_nonce::int AS next FROM operators WHERE address = ${address}`,
      )
      expect(row).toEqual({ next: 1 })
    }
    await chain.mine()
    await chain.blockTime(0)
    await settle(service)
    for (const address of addresses) expect(await noncesOf(address)).toEqual([0])
  })
})
