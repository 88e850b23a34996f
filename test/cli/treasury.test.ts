import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { archiveFiles } from '../../src/archive-file.ts'
import { administer } from '../../src/cli/admin.ts'
import { toHex } from '../../src/crypto/bytes.ts'
import { rows } from '../../src/db/database.ts'
import { withOperatorKeys } from '../../src/node/operator-keys.ts'
import { performWith } from '../../src/operator/acts.ts'
import { signTransfer } from '../../src/settlement/transfer.ts'
import { addressOf } from '../../src/stacks/sign.ts'
import { emptyFolder, startEntry } from '../node/entry.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from '../settlement/chain.ts'
import { collectingTerminal } from './latchkey.ts'

const CALLERS = 24
const BELOW = 2_000_000
const UP_TO = 5_000_000
const GOAL = ['--below', String(BELOW), '--up-to', String(UP_TO)]

const newKey = () => `${randomBytes(32).toString('hex')}01`

async function administerWith(env: Record<string, string>, args: readonly string[]) {
  const { terminal, written } = collectingTerminal({ env })
  const exitCode = await administer({ ...terminal, args: [...args, '--json'] }, Date.now)
  const text = written.out || written.err
  return { exitCode, json: JSON.parse(text) as Record<string, unknown> & { sent?: unknown[] } }
}

describe('the treasury', { timeout: 300_000 }, () => {
  let chain: OwnChain
  const opened: Settling[] = []
  beforeAll(async () => {
    chain = await startOwnChain()
  })
  afterEach(async () => {
    await chain.blockTime(0)
    await chain.clear()
    for (const service of opened.splice(0)) await service.close()
  })
  afterAll(() => chain.stop())

  /** A service whose operators have nothing, and a treasury with the faucet's STX. */
  async function start(operators: number, limits: Record<string, string> = {}) {
    const treasuryKey = await chain.newOperator()
    const treasury = addressOf(treasuryKey, 'devnet')
    const keys = Array.from({ length: operators }, newKey)
    const env = {
      OPERATOR_PRIVATE_KEYS: keys.join(','),
      TREASURY_ADDRESS: treasury,
      STACKS_API_URL: chain.url,
      ...limits,
    }
    const service = await startSettling(chain, { engine: 'Postgres', maxConnections: CALLERS, env })
    opened.push(service)
    const file = join(emptyFolder(), 'treasury.key')
    writeFileSync(file, treasuryKey, { mode: 0o600 })
    const ownEnv = {
      ...env,
      DATABASE_URL: service.databaseUrl,
      ENCRYPTION_KEY: service.world.config.ENCRYPTION_KEY ?? '',
    }
    const topUp = (...more: string[]) =>
      administerWith(ownEnv, ['treasury', 'top-up', '--key-file', file, ...GOAL, ...more])
    const balanceOf = async (address: string) =>
      Number((await service.world.chain.account(address))?.balance)
    const addresses = keys.map((key) => addressOf(key, 'devnet'))
    return { service, treasury, treasuryKey, topUp, addresses, balanceOf, ownEnv }
  }
  const transfers = (service: Settling) =>
    rows<{ recipient: string; amount: number; nonce: number; status: string }>(
      service.world.db,
      sql`SELECT recipient, amount_in_micro_stx::float8 AS amount, nonce::int, status FROM transactions
        WHERE kind = 'transfer' ORDER BY nonce`,
    )
  /** Some time later: what was mined is followed, and balances are looked up again. */
  async function settle(service: Settling) {
    for (let passes = 0; passes < 4; passes++) await service.pass(20_000)
  }

  it('fills up what is below the level, once, shows it before, and keeps an event of each', async () => {
    const { service, topUp, addresses, balanceOf } = await start(3)
    const dry = await topUp('--dry-run')
    expect(dry).toMatchObject({ exitCode: 0, json: { dryRun: true, left: 0 } })
    expect(dry.json.planned).toHaveLength(3)
    expect(await transfers(service)).toEqual([])
    expect((await topUp()).json.sent).toHaveLength(3)
    for (const address of addresses) expect(await balanceOf(address)).toBe(UP_TO)
    // The nodes' balances may lag: what was sent a moment ago still counts.
    expect((await topUp()).json.sent).toEqual([])
    await settle(service)
    expect((await topUp()).json.sent).toEqual([])
    expect((await transfers(service)).map(({ status }) => status)).toEqual([
      'mined',
      'mined',
      'mined',
    ])
    const events = await rows<{ body: string }>(
      service.world.db,
      sql`SELECT body FROM audit_events WHERE wallet_address = ${addresses[0]}`,
    )
    expect(events.map(({ body }) => JSON.parse(body))).toMatchObject([
      { event: 'fund_operator', actor: 'operator', details: { amountInMicroStx: String(UP_TO) } },
    ])
    const check = await performWith({ ...service.world, archiveFiles })('checkAudit', {})
    expect(check).toMatchObject({ ok: true, value: { faultCount: 0 } })
  })

  it('does not send again what a killed run had stored, and the reconciler sends that', async () => {
    const { service, topUp, addresses, balanceOf, treasury, treasuryKey } = await start(2)
    const perform = performWith({ ...service.world, archiveFiles })
    const run = '00000000000000aa'
    const goal = { treasury, belowInMicroStx: BELOW, upToInMicroStx: UP_TO }
    const plan = await perform('planTopUps', { ...goal, run })
    if (!plan.ok) throw new Error(plan.reason)
    const { nonce, feeInMicroStx } = plan.value
    const transfer = { recipient: addresses[0] ?? '', amountInMicroStx: UP_TO }
    const fields = { privateKey: treasuryKey, nonce, feeInMicroStx, network: 'devnet' } as const
    const { raw } = await signTransfer(transfer, fields)
    // The node never gets it, as if the process had been killed before it was sent.
    await chain.plan({ on: '/v2/transactions', do: 'hang-up-before', times: 1 })
    expect(await perform('sendTopUp', { ...goal, run, transaction: toHex(raw) })).toMatchObject({
      value: { sent: 'unknown' },
    })
    // The killed run still holds its lease.
    expect((await topUp()).json).toMatchObject({ code: 'TREASURY_BUSY' })
    expect(await balanceOf(addresses[0] ?? '')).toBe(0)
    await perform('endTopUps', { treasury, run })
    expect((await topUp()).json.sent).toMatchObject([{ recipient: addresses[1] }])
    expect(await transfers(service)).toHaveLength(2)
    await settle(service)
    for (const address of addresses) expect(await balanceOf(address)).toBe(UP_TO)
    // A run that lost its lease stores nothing more.
    const late = await signTransfer(
      { ...transfer, recipient: addresses[1] ?? '' },
      { ...fields, nonce: nonce + 2 },
    )
    await perform('planTopUps', { ...goal, run: '00000000000000bb' })
    expect(
      await perform('sendTopUp', { ...goal, run, transaction: toHex(late.raw) }),
    ).toMatchObject({ ok: false, reason: 'treasuryBusy' })
  })

  it('is used by one run at a time, and stores one transfer for a need, however many commands there are', async () => {
    const { service, topUp, addresses, treasury, treasuryKey } = await start(3)
    await chain.blockTime(null)
    const runs = await Promise.all(Array.from({ length: 6 }, () => topUp()))
    const done = runs.filter(({ json }) => Array.isArray(json.sent))
    for (const { json } of runs.filter((one) => !done.includes(one)))
      expect(json.code).toBe('TREASURY_BUSY')
    expect(done.flatMap(({ json }) => json.sent ?? [])).toHaveLength(3)
    expect(await transfers(service)).toHaveLength(3)

    // The statement itself, with the lease of one run, from 24 connections, for one need and the same nonce or the next ones.
    const perform = performWith({ ...service.world, archiveFiles })
    await rows(service.world.db, sql`DELETE FROM leases WHERE name LIKE 'treasury:%'`)
    const goal = { treasury, belowInMicroStx: 10 * UP_TO, upToInMicroStx: 20 * UP_TO }
    await chain.mine()
    await settle(service)
    await service.pass(200_000)
    for (const operator of service.world.operators.all) await operator.reconcile()
    const run = '00000000000000cc'
    const plan = await perform('planTopUps', { ...goal, run })
    if (!plan.ok) throw new Error(plan.reason)
    const raws = await Promise.all(
      Array.from({ length: CALLERS }, async (_, at) => {
        const nonce = plan.value.nonce + (at % 3)
        const { feeInMicroStx } = plan.value
        const transfer = { recipient: addresses[0] ?? '', amountInMicroStx: UP_TO + at }
        return signTransfer(transfer, {
          privateKey: treasuryKey,
          nonce,
          feeInMicroStx,
          network: 'devnet',
        })
      }),
    )
    const answers = await Promise.all(
      raws.map(({ raw }) => perform('sendTopUp', { ...goal, run, transaction: toHex(raw) })),
    )
    expect(answers.filter(({ ok }) => ok)).toHaveLength(1)
    expect(await transfers(service)).toHaveLength(4)
    const refusals = new Set(answers.flatMap((one) => (one.ok ? [] : [one.reason])))
    for (const reason of refusals)
      expect(['treasuryNonceTaken', 'topUpNotNeeded']).toContain(reason)
  })

  it('keeps the limits of a run and of a day, and says what it left', async () => {
    const { service, topUp } = await start(5, {
      TREASURY_MAX_PER_RUN_IN_MICRO_STX: String(2 * UP_TO),
      TREASURY_MAX_PER_DAY_IN_MICRO_STX: String(3 * UP_TO),
    })
    const first = await topUp()
    expect(first.json).toMatchObject({ left: 3 })
    expect([first.exitCode, first.json.sent]).toEqual([1, expect.objectContaining({ length: 2 })])
    const second = await topUp()
    expect([second.exitCode, second.json.sent]).toEqual([1, expect.objectContaining({ length: 1 })])
    expect((await topUp()).json).toMatchObject({
      sent: [],
      left: 2,
      sentTodayInMicroStx: 3 * UP_TO,
    })
    service.clock.now += 86_400_001
    expect(await transfers(service)).toHaveLength(3)
  })

  it('sends with no other key than that of TREASURY_ADDRESS, and nothing but transfers to operators', async () => {
    const { service, treasury, treasuryKey, ownEnv } = await start(1)
    const file = join(emptyFolder(), 'other.key')
    writeFileSync(file, newKey(), { mode: 0o600 })
    const other = await administerWith(ownEnv, ['treasury', 'top-up', '--key-file', file])
    expect(other).toMatchObject({ exitCode: 1, json: { code: 'INVALID_REQUEST' } })
    const perform = performWith({ ...service.world, archiveFiles })
    const run = '00000000000000dd'
    const goal = { treasury, belowInMicroStx: BELOW, upToInMicroStx: UP_TO }
    const plan = await perform('planTopUps', { ...goal, run })
    if (!plan.ok) throw new Error(plan.reason)
    const { nonce, feeInMicroStx } = plan.value
    const fields = { privateKey: treasuryKey, nonce, feeInMicroStx, network: 'devnet' } as const
    const stranger = addressOf(newKey(), 'devnet')
    const { raw } = await signTransfer({ recipient: stranger, amountInMicroStx: 5 }, fields)
    expect(await perform('sendTopUp', { ...goal, run, transaction: toHex(raw) })).toMatchObject({
      reason: 'topUpNotNeeded',
    })
    const forged = new Uint8Array(raw)
    forged[60] = (forged[60] ?? 0) ^ 1
    for (const bytes of [forged, raw.subarray(0, 50), new Uint8Array([...raw, 0])])
      expect(await perform('sendTopUp', { ...goal, run, transaction: toHex(bytes) })).toMatchObject(
        { reason: 'invalidRequest' },
      )
    expect(await transfers(service)).toEqual([])
  })

  it('funds the operators of a service with PGlite through its socket, and gets back what a retired one has', async () => {
    const treasuryKey = await chain.newOperator()
    const keyFile = join(emptyFolder(), 'treasury.key')
    writeFileSync(keyFile, treasuryKey, { mode: 0o600 })
    const folder = join(emptyFolder(), 'data')
    const keysFile = join(emptyFolder(), 'operator-keys')
    const env = {
      DATABASE_URL: `pglite:${folder}`,
      STACKS_API_URL: chain.url,
      TREASURY_ADDRESS: addressOf(treasuryKey, 'devnet'),
      OPERATOR_KEYS_FILE: keysFile,
    }
    await administerWith({}, ['operators', 'new-keys', '--count', '2', '--out', keysFile])
    expect(statSync(keysFile).mode & 0o777).toBe(0o600)
    expect(readFileSync(keysFile, 'utf8')).toMatch(/^([0-9a-f]{66} # ST[0-9A-Z]+\n){2}$/)
    const entry = startEntry(env)
    await entry.url()
    const admin = (...args: string[]) => administerWith(env, args)
    const list = async () =>
      (await admin('operators', 'list')).json as unknown as {
        address: string
        use: string
        balance: number
      }[]
    const sent = await admin('treasury', 'top-up', '--key-file', keyFile, ...GOAL)
    expect(sent.json.sent).toHaveLength(2)
    let operators = await list()
    while (operators.filter(({ use }) => use === 'active').length < 2) operators = await list()
    const [first] = operators.filter(({ use }) => use === 'active')
    const retired = await admin('operators', 'retire', first?.address ?? '')
    expect(retired.json).toMatchObject({
      isNew: true,
      pending: 0,
      returned: { recipient: env.TREASURY_ADDRESS },
    })
    expect((await list()).find(({ address }) => address === first?.address)).toMatchObject({
      use: 'retired',
    })
    expect((await admin('operators', 'resume', first?.address ?? '')).json).toMatchObject({
      isNew: true,
    })
    entry.child.kill('SIGTERM')
    await entry.ended
  })
})

describe('OPERATOR_KEYS_FILE', () => {
  it('is read line by line, with comments, in place of OPERATOR_PRIVATE_KEYS, and named where it cannot be', () => {
    const file = join(emptyFolder(), 'keys')
    writeFileSync(file, '# of 2026\n aa01 # the first\r\n\nbb02#x\n')
    expect(withOperatorKeys({ OPERATOR_KEYS_FILE: file }).OPERATOR_PRIVATE_KEYS).toBe('aa01,bb02')
    expect(withOperatorKeys({ PORT: '1' })).toEqual({ PORT: '1' })
    const faults: [Record<string, string>, string][] = [
      [{ OPERATOR_KEYS_FILE: file, OPERATOR_PRIVATE_KEYS: 'aa' }, 'set one of them'],
      [{ OPERATOR_KEYS_FILE: join(file, 'none') }, 'cannot be read'],
    ]
    for (const [env, fault] of faults) expect(() => withOperatorKeys(env)).toThrow(fault)
    writeFileSync(file, '# nothing\n')
    expect(() => withOperatorKeys({ OPERATOR_KEYS_FILE: file })).toThrow('has no key')
    chmodSync(file, 0o600)
  })
})
