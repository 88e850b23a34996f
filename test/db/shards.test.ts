import { readFileSync, writeFileSync } from 'node:fs'
import postgres, { type Sql } from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { watchKeys } from '../../src/alerts/watch.ts'
import { archiveFiles } from '../../src/archive-file.ts'
import { toHex } from '../../src/crypto/bytes.ts'
import { DISTRIBUTED_TABLES, REFERENCE_TABLES } from '../../src/db/distribution.ts'
import { walletShard } from '../../src/db/shard.ts'
import type { KeyHash } from '../../src/keys/secret.ts'
import { performWith } from '../../src/operator/acts.ts'
import { openOrderFeed } from '../../src/orders/feed.ts'
import { competingTransactions } from '../../src/settlement/outbox.ts'
import { reconcile } from '../../src/settlement/reconcile.ts'
import {
  recordFiller,
  recordNonceLost,
  recordReorganised,
  recordReplacement,
} from '../../src/settlement/record.ts'
import { signTransfer } from '../../src/settlement/transfer.ts'
import { forgetNonces } from '../../src/signed-requests/nonces.ts'
import { addressOf } from '../../src/stacks/sign.ts'
import { useEverything } from '../http/everything.ts'
import { answered, refused } from '../support/assertions.ts'
import { AS_TEXT, type Mutability, openMutability } from '../support/mutability.ts'
import { partitionedDatabase } from '../support/partitioned.ts'
import { fundedOperator } from '../support/process.ts'
import { oldSecret, unknownSecret } from '../support/secrets.ts'
import { type Service, startService } from '../support/service.ts'
import { callSigned, createSigningKey, SIGNED_ENV } from '../support/signed.ts'
import { createKey, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

/** As much of a plan as is looked at (EXPLAIN, FORMAT JSON). */
interface Node {
  'Relation Name'?: string
  Plans?: Node[]
}

/** What reads all shards on purpose, and what that costs. */
const ALL_SHARDS: readonly [statement: RegExp, name: string, cost: string][] = [
  [
    /encode\(key_hash, 'hex'\) AS hash, shard FROM api_keys/,
    'the shard of a secret without one',
    'two probes of an index on each shard, once for a key and process; no key of this release',
  ],
  [
    /AS "previousBox" FROM api_keys WHERE id = \$1$/,
    'the key of a signed request, by its id',
    'a probe of an index on each shard, once for a key and process',
  ],
  [
    /^DELETE FROM request_nonces WHERE/,
    'nonces of signed requests that are over',
    'a range of an index on each shard, twice a minute and process',
  ],
  [
    /FROM sessions WHERE secret_hash = \S+ 'hex'\)$/,
    'a session of a release before shards',
    'a probe of an index on each shard; there are none an hour after the upgrade',
  ],
  [
    /^select .* from "orders" where "orders"."uuid" = \$1 order by/,
    '`GET /orders/{uuid}` without an owner',
    'a probe of an index on each shard',
  ],
  [
    /^select .* from "orders" (where \("orders"\."(status|sequence)"|order by|where orders)/,
    '`GET /orders` without an owner',
    'a page of an index on each shard',
  ],
  [
    /SELECT DISTINCT shard FROM \( ?SELECT shard FROM orders/,
    'reconciler: which shards have overdue orders',
    'a page of a partial index on each shard, once a pass',
  ],
  [
    /SELECT DISTINCT shard FROM \( ?SELECT shard FROM transactions/,
    'reconciler: which shards have due transactions',
    'a page of a partial index on each shard, once a pass',
  ],
  [
    /^SELECT nonce::float8 AS nonce FROM transactions/,
    'reconciler: nonces that no transaction uses',
    'up to 25 probes of an index on each shard, once a look-up of an operator',
  ],
  [
    /sum\(fee_in_micro_stx/,
    'what pending transactions of an operator pay',
    'up to 25 probes of an index on each shard, once a look-up of an operator or its balance',
  ],
  [
    /burning AS \(.* AND disclosed_at IS NULL AND/,
    'reconciler: a burn that an owner asked for, of an intent that no node had',
    'the burns of a day on each shard, which have a budget of all wallets together',
  ],
  [
    /^SELECT FROM transactions WHERE operator = \$1 AND nonce/,
    'reconciler: a filler for a nonce',
    'a probe of an index on each shard, once for a nonce that no transaction uses',
  ],
  [
    /AS "isDisclosed" FROM orders WHERE burn_requested_at/,
    'reconciler: which orders wait for a burn',
    'a partial index on each shard, once a pass',
  ],
  [
    /SELECT DISTINCT shard FROM \( ?SELECT shard FROM key_watches/,
    'which shards have keys that are due to be looked at',
    'a page of an index on each shard, each second and process',
  ],
  [
    /FROM key_findings WHERE acted_at IS NULL ORDER BY/,
    'what alerts have found and no process has acted on',
    'a page of a partial index on each shard, each second and process',
  ],
  [
    /^DELETE FROM key_(usage|sightings|findings|rates) WHERE|min\(hour\)/,
    'statistics that are too old',
    'once an hour and process',
  ],
  [
    /FROM api_keys WHERE rights_mac IS NULL LIMIT 1|rights_mac IS NOT NULL ORDER BY id LIMIT|AS box FROM orders ORDER BY uuid LIMIT/,
    'checks when a process starts',
    'up to 20 rows of each shard',
  ],
]

const PAGE = new URL('../../docs/scale.md', import.meta.url)
const HEADING = '### Statements and the shards that they read'
const WALLETS = 24
const REST = 'everything else'

describe('on tables that are distributed by the shard of their wallet', () => {
  let service: Service
  let client: Sql
  /** What each step sent, by what it is. */
  const found = new Map<string, Map<string, Set<string>>>()
  const strays: string[] = []
  /** Changes of rows with functions that Citus refuses there. */
  const refusedThere: string[] = []
  let mutability: Mutability
  const planned = new Set<string>()

  beforeAll(async () => {
    service = await startService('Postgres', {
      databaseUrl: await partitionedDatabase(),
      takesPartitionsForServers: true,
      env: SIGNED_ENV,
    })
    client = postgres(service.databaseUrl, {
      max: 1,
      onnotice: () => {},
      types: { times: AS_TEXT },
    })
    mutability = await openMutability(service.databaseUrl)
    await tellStory()
  }, 240_000)
  afterAll(async () => {
    await Promise.all([client?.end(), mutability?.close()])
    await service?.close()
  })

  /** Runs a step and plans each statement of it, with the parameters that it had. */
  async function step(name: string, work: () => Promise<unknown>): Promise<void> {
    const from = service.statements.length
    await work()
    for (let at = from; at < service.statements.length; at++) await plan(name, at)
  }

  async function plan(name: string, at: number): Promise<void> {
    const text = (service.statements[at] ?? '')
      .replaceAll(/^\s*--.*$/gm, '') // In one line, a comment would take the rest of the statement.
      .replace(/\s+/g, ' ')
      .trim()
    const given = service.parameters[at] ?? []
    if (!/^(select|insert|update|delete|with)\b/i.test(text)) return
    const [row] = await client.unsafe(`EXPLAIN (FORMAT JSON) ${text}`, given as never[])
    const relations = relationsOf((row?.['QUERY PLAN'] as [{ Plan: Node }])[0].Plan)
    for (const fault of await mutability.faultsOf(text, given))
      refusedThere.push(`${name}: ${fault}: ${text}`)
    const partitions = new Set(relations.flatMap((one) => /_(\d+)$/.exec(one)?.[1] ?? []))
    planned.add(text)
    const meant = ALL_SHARDS.find(([statement]) => statement.test(text))
    if (partitions.size > 1 && meant === undefined) strays.push(`${name}: ${text}`)
    if (!insertsNameShard(text)) strays.push(`${name}, inserts without a shard: ${text}`)
    const shape = meant === undefined ? shapeOf(text, relations) : meant[1]
    const shards =
      partitions.size > 1 ? 'all' : partitions.size === 1 || writes(text) ? '1' : 'none'
    const shapes = found.get(name) ?? new Map<string, Set<string>>()
    shapes.set(shape, new Set([...(shapes.get(shape) ?? []), shards]))
    found.set(name, shapes)
  }

  async function tellStory(): Promise<void> {
    const { world } = service
    for (let at = 0; at < service.statements.length; at++) await plan('start of a process', at)
    const wallet = newWallet(service)
    await fund(service, wallet)
    let keys: { apiKey: string; keyId: string }[] = []
    await step('create a key: message, audit', async () => {
      keys = await createKeys(wallet)
    })
    const [{ apiKey = '', keyId = '' } = {}] = keys
    const headers = { 'X-API-Key': apiKey }
    const use = (key: string) => service.call('/me', { headers: { 'X-API-Key': key } })
    await step('gate', async () => {
      for (let round = 0; round < 4; round++)
        await Promise.all([...keys, { apiKey: unknownSecret() }].map((one) => use(one.apiKey)))
      await refused(await service.call('/me', { headers, ip: '192.0.2.1' }), 'ipNotAllowed')
    })
    const order = async (given: Wallet = wallet, key: object = headers, members: object = {}) => {
      const made = given.order(members)
      await answered(await service.call('/orders/new', json(made, { ...key })), 201)
      return made.uuid
    }
    let uuids: string[] = []
    await step('create an order', async () => {
      uuids = [await order(), await order(wallet, {}), await order(), await order(), await order()]
      await Promise.all(keys.slice(1).map(() => order(newWallet(service), {})))
    })
    const [executed = '', cancelled = '', ended = '', signed = ''] = uuids
    const act = (uuid: string, verb: string, init: RequestInit) =>
      service.call(`/orders/${uuid}/${verb}`, init)
    await step('execute an order: claim, record', async () => {
      await answered(await act(executed, 'execute', { method: 'POST', headers }))
      const body = json(wallet.sign({ action: 'execute_order', uuid: signed }))
      await answered(await act(signed, 'execute', body))
    })
    await step('cancel an order', async () => {
      await answered(await act(cancelled, 'cancel', { method: 'PATCH', headers }))
      const action = { action: 'cancel_order', uuid: ended, onChain: true }
      const body = { ...json(wallet.sign(action)), method: 'PATCH' }
      await answered(await act(ended, 'cancel', body))
    })
    await step('follow events', () => follow(wallet, [executed, cancelled, ended]))
    await step('reconciler: follow, expire, burn', async () => {
      await order(wallet, {}, { validTo: new Date(service.clock.now + 1_000).toISOString() })
      for (let pass = 0; pass < 8; pass++) {
        service.clock.now += 20_000
        await reconcile(world)
      }
    })
    await step('reconciler: replaced, reorganised and lost transactions', async () => {
      const [operator = ''] = world.operators.all.map(({ address }) => address)
      const stored = {
        txid: 'none',
        operator,
        orderUuid: signed,
        shard: walletShard(wallet.address),
      }
      const transaction = { txid: 'another', nonce: 0, feeInMicroStx: 1, raw: new Uint8Array(1) }
      const encrypted = { transaction, rawBox: new Uint8Array(1) }
      await recordReplacement(world, stored, encrypted, { kind: 'swap', reason: null })
      await recordReorganised(world, stored)
      await recordNonceLost(world, { ...stored, nonce: 0 })
      await recordFiller(world, operator, encrypted)
      await competingTransactions(world.db, { ...stored, nonce: 0 })
    })
    await step('operators and treasury', () => useTreasury(service))
    await step('signed requests', async () => {
      const { signer } = await createSigningKey(service, newWallet(service))
      for (let round = 0; round < 2; round++)
        await answered(await callSigned(service, signer, '/me'))
      await forgetNonces(world.db, service.clock.now)
    })
    await step('usage', async () => {
      await world.usage.flush(world.db)
      const about = wallet.signHeaders({ action: 'get_api_key', keyId })
      await answered(await service.call(`/api-keys/${keyId}/usage`, { headers: about }))
    })
    await step('heartbeats and alerts', () => useRules(service))
    await step('public reads', async () => {
      await answered(await service.call(`/orders/${executed}`))
      await answered(await service.call('/orders?limit=2'))
      await answered(await service.call('/orders?status=open&limit=2'))
      await answered(await service.call(`/orders?owner=${wallet.address}`))
    })
    await step('secrets of the release before', async () => {
      await refused(await use(oldSecret()), 'apiKeyInvalid')
      const bearer = { Authorization: `Bearer ${oldSecret('cs_')}` }
      await refused(await service.call('/audit', { headers: bearer }), 'sessionInvalid')
    })
    await step(REST, () => useEverything(service))
  }

  /** Keys of several wallets; the first one has every limit. */
  async function createKeys(wallet: Wallet) {
    const { inputToken } = wallet.order()
    const first = await createKey(service, wallet, {
      maxAmountIn: { [inputToken]: { perDay: '1000000000' } },
      ipAllowlist: ['127.0.0.1'],
      maxOpenOrders: 10,
    })
    const others = Array.from({ length: WALLETS }, () => createKey(service, newWallet(service)))
    return [first, ...(await Promise.all(others))]
  }

  /** Follows orders until each had an event, as streams do. */
  async function follow({ address }: Wallet, uuids: readonly string[]): Promise<void> {
    const shard = walletShard(address)
    const { db, log, now, distribution } = service.world
    const pause = () => new Promise<void>((resolve) => setImmediate(resolve))
    const feed = openOrderFeed(db, log, { now, pause, distribution })
    await Promise.all(
      uuids.map(async (uuid) => {
        const presented = { hash: '00'.repeat(32) as KeyHash, shard }
        await new Promise<void>((resolve) =>
          feed.subscribe({ uuid, shard, presented: undefined, after: 0, ...ENDING(resolve) }),
        )
        await new Promise<void>((resolve) =>
          feed.subscribe({ uuid, shard, presented, after: 0, ...ENDING(resolve) }),
        )
      }),
    )
    feed.close()
  }

  it('nothing of the story failed', () => {
    const failed = /"level":"error"|usage_lost|events_not_read/
    expect(service.logged.filter((line) => failed.test(line))).toEqual([])
  })

  it('each statement reads one shard, but for those that are meant to read all', () => {
    expect(strays).toEqual([])
    expect(planned.size).toBeGreaterThan(55)
  })

  it('no change of rows has a function where Citus refuses it, because each node would run it', () => {
    expect(refusedThere).toEqual([])
  })

  it('docs/scale.md lists the statements as they are', () => {
    const shown = new Set<string>()
    const lines = [...found].flatMap(([name, shapes]) =>
      [...shapes].flatMap(([shape, shards]) => {
        if (name === REST && shown.has(shape)) return []
        shown.add(shape)
        return [`| ${name} | ${shape} | ${[...shards].sort().join(', ')} |`]
      }),
    )
    const costs = ALL_SHARDS.map(([, name, cost]) => `| ${name} | ${cost} |`)
    const expected = [
      '| in | statement | shards |',
      '|---|---|---|',
      ...lines.sort(),
      '',
      'Those that read all shards:',
      '',
      '| statement | cost |',
      '|---|---|',
      ...costs,
    ].join('\n')
    const page = readFileSync(PAGE, 'utf8')
    const at = page.indexOf(HEADING) + HEADING.length
    const end = page.indexOf('\n## ', at)
    if (process.env.WRITE_DOCS === '1')
      writeFileSync(PAGE, `${page.slice(0, at)}\n\n${expected}\n${page.slice(end)}`)
    else expect(page.slice(at, end).trim()).toBe(expected)
  })
})

/** Keys that fall silent, are used from new addresses, too often and for too much, and end soon. */
async function useRules(service: Service): Promise<void> {
  const { world, clock } = service
  const wallet = newWallet(service)
  const { inputToken } = wallet.order()
  const notify = { action: 'notify' }
  const keys = await Promise.all(
    ['cancel', 'suspend'].map((then) =>
      createKey(service, wallet, {
        heartbeat: { seconds: 10, then },
        maxAmountIn: { [inputToken]: { perDay: '1000000000' } },
        expiresAt: clock.now + 10_000_000,
        alerts: {
          newAddress: notify,
          newNetwork: notify,
          errorRate: { percent: 1, requests: 10, action: 'suspend' },
          requestsPerMinute: { above: 1, action: 'notify' },
          spendPerHour: { above: { [inputToken]: '1' }, action: 'notify' },
          expiring: notify,
        },
      }),
    ),
  )
  for (const ip of ['127.0.0.1', '192.0.2.1'])
    for (const { apiKey } of keys) {
      const headers = { 'X-API-Key': apiKey }
      await answered(await service.call('/heartbeat', { method: 'POST', headers, ip }))
      await service.call('/orders/new', { ...json(wallet.order(), headers), ip })
      clock.now += 1
    }
  await world.usage.flush(world.db)
  await watchKeys(world)
  clock.now += 20_000
  await watchKeys(world)
}

/** What an operator does with accounts: fund one, retire it, take that back. */
async function useTreasury(service: Service): Promise<void> {
  const perform = performWith({ ...service.world, archiveFiles })
  const [address = ''] = service.world.operators.all.map((one) => one.address)
  const privateKey = await fundedOperator({ devnetUrl: inject('devnetUrl') })
  const goal = {
    treasury: addressOf(privateKey, 'devnet'),
    belowInMicroStx: 5_000_000_000,
    upToInMicroStx: 5_000_000_001,
  }
  const run = '00000000000000aa'
  const plan = await perform('planTopUps', { ...goal, run })
  if (!plan.ok) throw new Error(plan.reason)
  const { nonce, feeInMicroStx } = plan.value
  const fields = { privateKey, nonce, feeInMicroStx, network: 'devnet' } as const
  const { raw } = await signTransfer({ recipient: address, amountInMicroStx: 1_000 }, fields)
  const sent = await perform('sendTopUp', { ...goal, run, transaction: toHex(raw) })
  expect(sent).toMatchObject({ ok: true })
  await perform('endTopUps', { treasury: goal.treasury, run })
  await perform('operators', {})
  expect(await perform('retireOperator', { address })).toMatchObject({ ok: true })
  expect(await perform('resumeOperator', { address })).toMatchObject({ ok: true })
}

const ENDING = (done: () => void) => ({ next: done, heartbeat() {}, close: done })

function relationsOf({ Plans = [], 'Relation Name': name }: Node): string[] {
  return [...(name === undefined ? [] : [name]), ...Plans.flatMap(relationsOf)]
}

const TABLES = [...DISTRIBUTED_TABLES, ...REFERENCE_TABLES]
const WRITES = new RegExp(`(INSERT INTO|UPDATE|DELETE FROM) (${TABLES.join('|')})\\b`, 'g')

function writes(text: string): boolean {
  return [...text.matchAll(WRITES)].some(([, , table]) => isDistributed(table))
}

function isDistributed(table = ''): boolean {
  return (DISTRIBUTED_TABLES as readonly string[]).includes(table)
}

/** A row without a shard has no place. */
function insertsNameShard(text: string): boolean {
  return [...text.matchAll(/INSERT INTO (\w+)(?: AS \w+)? \(([^)]*)\)/g)].every(
    ([, table, columns = '']) => !isDistributed(table) || /\bshard\b/.test(columns),
  )
}

/** A statement by what it writes and reads: `update key_counters; read api_keys`. */
function shapeOf(text: string, relations: readonly string[]): string {
  const written = [...text.matchAll(WRITES)].map(
    ([, verb = '', table = '']) => `${verb.split(' ')[0]?.toLowerCase()} ${table}`,
  )
  const names = new Set(written.map((one) => one.split(' ')[1]))
  const read = relations.map((one) => one.replace(/_\d+$/, '')).filter((one) => !names.has(one))
  const reads = read.length === 0 ? [] : [`read ${[...new Set(read)].sort().join(', ')}`]
  const parts = [...new Set(written), ...reads]
  return parts.length === 0 ? 'no table' : parts.join('; ')
}
