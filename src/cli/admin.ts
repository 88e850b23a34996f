#!/usr/bin/env node
import { existsSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { archiveFiles } from '../archive-file.ts'
import { HEAD_EVENT } from '../audit/heads.ts'
import { openEncryption } from '../crypto/encryption.ts'
import { type EncryptionKeys, readEncryptionKeys } from '../crypto/keys.ts'
import { messageOf } from '../db/database.ts'
import { readPlacements } from '../db/distribute.ts'
import { readDistribution } from '../db/distribution.ts'
import { openDatabase } from '../db/open.ts'
import { clockOf } from '../db/time.ts'
import { checkEncryptionKeys, forgetOtherKeys } from '../encryption/check.ts'
import { type RotateServices, rotateEncryption } from '../encryption/rotate.ts'
import { type Config, readConfig } from '../env.ts'
import type { SuspensionTarget } from '../keys/suspend.ts'
import { openNativeMac } from '../node/crypto.ts'
import { dataFolder, findDevnetEncryptionKey, operatorSocket } from '../node/folder.ts'
import { openHeads } from '../node/heads.ts'
import { withOperatorKeys } from '../node/operator-keys.ts'
import { isAlive, performThrough } from '../node/operator-socket.ts'
import { chooseEngine } from '../node/recover.ts'
import { openSender, resolveHost } from '../node/webhooks.ts'
import { type ActOutput, type Perform, performWith } from '../operator/acts.ts'
import type { OperatorServices } from '../operator/services.ts'
import { listUnsealed, type SealServices, sealKeys, type UnsealedKey } from '../provenance/seal.ts'
import type { Chain } from '../settlement/chain.ts'
import { openOperators } from '../settlement/operator.ts'
import { connectStacksNode } from '../settlement/stacks-node.ts'
import { type ActOf, outputOf } from './acts.ts'
import { addArchiveCommands } from './archives.ts'
import {
  type CliCommand,
  type CommandContext,
  type CommandResult,
  commaList,
  type Terminal,
  wholeNumber,
} from './command.ts'
import { CommandError, reasonOf, UsageError } from './errors.ts'
import { readJson, saveNew } from './files.ts'
import { keyValues, table } from './layout.ts'
import { addOperatorWebhookCommands } from './operator-webhooks.ts'
import { addOperatorCommands } from './operators.ts'
import { jsonText, type Line } from './output.ts'
import { openProcessTerminal } from './process-terminal.ts'
import { addHelpCommand, openProgram } from './program.ts'
import { addRouterCommands } from './router.ts'
import { explainError, type Failure, runProgram } from './run.ts'
import { addServiceCredentialCommands } from './service-credentials.ts'

/** Runs one command of the operator and returns its exit code. */
export function administer(terminal: Terminal, now: () => number): Promise<number> {
  return runProgram(createAdminProgram(now, terminal.out.columns), terminal, explainAny)
}

/** The whole command line of `latchkey-admin`. */
export function createAdminProgram(now: () => number, columns?: number): CliCommand {
  const program = openProgram('latchkey-admin', columns)
    .description(
      "Acts of a service's operator. It reads the configuration of the service (DATABASE_URL, ENCRYPTION_KEY, STACKS_NETWORK) and works on its database, or through the running service where that has OPERATOR_SOCKET or a folder of PGlite; each act is kept in the wallet's audit. The commands of `router` need the chain alone, and the key of the router's deployer.",
    )
    .option('--json', 'print one JSON document; an error is one too, on stderr')
    .example('latchkey-admin keys --preview ck_live_abcd...wxyz')
    .closing('Exit codes: 0 done, 1 faults found or not done, 2 the command line is wrong.')
  program
    .command('keys')
    .option('--preview <preview>', 'as a log or an owner shows it')
    .option('--key <key-id>', 'one key')
    .option('--wallet <address>', 'the keys of a wallet')
    .option('--after <key-id>', 'the page behind this key')
    .summary('list keys, newest first, 1000 a page, or look one up')
    .example('latchkey-admin keys --wallet ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM')
    .runs(onService(now, listKeys))
  addTarget(program.command('suspend'))
    .summary('refuse a key everything, or a wallet, which then gets no new keys either')
    .example('latchkey-admin suspend --key key_1a2b3c --reason "leaked on a forum"')
    .runs(onService(now, change('suspend', 'Suspended')))
  addTarget(program.command('resume'))
    .summary("take back an operator's suspension, and no owner's")
    .example('latchkey-admin resume --key key_1a2b3c --reason "a false alarm"')
    .runs(onService(now, change('resume', 'Resumed')))
  program
    .command('audit')
    .summary('the audits of all wallets')
    .description('The audits of all wallets.')
    .command('check')
    .option('--heads <file>', 'a log, or the AUDIT_HEADS_FILE, whose heads the audits must have')
    .summary('compare every key and order with what was signed and sealed')
    .example('latchkey-admin audit check --heads audit-heads.jsonl')
    .runs(onService(now, checkAudits))
  const ways = {
    onService: <Options>(act: ActOf<Options>) => onService(now, act),
    onOwner: <Options>(act: ActOf<Options>) => onOwner(now, act),
  }
  addArchiveCommands(program, ways)
  addViews(program, now)
  program
    .command('encryption')
    .summary('the encryption of what is stored')
    .description('The encryption of what is stored.')
    .command('rotate')
    .summary('rewrite everything with the first key of ENCRYPTION_KEY, while the service runs')
    .example('latchkey-admin encryption rotate')
    .runs(onDatabase(now, rotateKeys))
  program
    .command('shards')
    .summary('where the shards of each table are, and how large they are')
    .example('latchkey-admin shards')
    .runs(onDatabase(now, listShards))
  const seal = program
    .command('seal')
    .summary('keys of a release without MACs')
    .description('Keys of a release without MACs, which are refused until they are sealed.')
  seal
    .command('list')
    .option('--out <file>', 'a new file for seal apply')
    .summary('list them, from a copy of the database that can be trusted')
    .example('latchkey-admin seal list --out keys.json')
    .runs(onDatabase(now, listOldKeys))
  seal
    .command('apply')
    .argument('<file>', 'what seal list wrote')
    .summary('seal exactly these keys: their secrets and their state are vouched for')
    .example('latchkey-admin seal apply keys.json')
    .runs(onDatabase(now, applySeals(now)))
  addOperatorCommands(program, (act) => onService(now, act))
  addOperatorWebhookCommands(program, (act) => onService(now, act))
  addServiceCredentialCommands(program, (act) => onService(now, act))
  addRouterCommands(program, now)
  addHelpCommand(program)
  return program
}

function addTarget(command: CliCommand): CliCommand {
  return command
    .option('--key <key-id>', 'one key')
    .option('--wallet <address>', 'a wallet with all its keys')
    .option('--reason <text>', 'why; the owner can read it')
}

/** What the commands need that work on the database themselves. */
interface AdminServices extends OperatorServices, RotateServices, Pick<SealServices, 'keepHead'> {
  keys: EncryptionKeys
  terminal: Terminal
}

/** Performs acts through the service where it listens for its operator, else on its database. */
function onService<Options>(now: () => number, act: ActOf<Options>) {
  const direct = onDatabase<Options>(now, (services, options, _, context) =>
    act(performWith(services), options, context),
  )
  return async (context: CommandContext<Options>): Promise<CommandResult> => {
    const socket = operatorSocket(readConfig(withOperatorKeys(context.terminal.env)))
    if (socket === undefined || !(await isAlive(socket))) return direct(context)
    return act(performThrough(socket), context.options, context)
  }
}

/**
 * As `onService`, for what the tables' owner alone may do: on Postgres the command's own session, because that of the service may be of
 * another role.
 */
function onOwner<Options>(now: () => number, act: ActOf<Options>) {
  const direct = onDatabase<Options>(now, (services, options, _, context) =>
    act(performWith(services), options, context),
  )
  return async (context: CommandContext<Options>): Promise<CommandResult> =>
    readConfig(context.terminal.env).DATABASE_URL.startsWith('pglite:')
      ? onService(now, act)(context)
      : direct(context)
}

/** Opens the service's database for the time of a command. */
function onDatabase<Options>(
  now: () => number,
  act: (
    services: AdminServices,
    options: Options,
    args: readonly string[],
    context: CommandContext<Options>,
  ) => Promise<CommandResult>,
) {
  return async (context: CommandContext<Options>): Promise<CommandResult> => {
    const { terminal, options, args } = context
    const config = readConfig(withOperatorKeys(terminal.env))
    const chain = chainOf(config, now)
    const keys = readEncryptionKeys(encryptionKeyOf(config))
    const { db, close } = await openExisting(config.DATABASE_URL)
    try {
      await checkEncryptionKeys(db, keys)
      const distribution = await readDistribution(db)
      const databaseTime = clockOf(distribution, now)
      const services = {
        db,
        mac: openNativeMac(keys),
        encryption: await openEncryption(keys, (length) =>
          crypto.getRandomValues(new Uint8Array(length)),
        ),
        keys,
        keepHead: await openHeads(config.AUDIT_HEADS_FILE, () => {}, Date.now),
        config,
        log: () => {},
        webhookPorts: { resolve: resolveHost, send: openSender() },
        recover: chooseEngine().recover,
        archiveFiles,
        distribution,
        chain,
        databaseTime,
        operators: openOperators({
          db,
          databaseTime,
          chain: chain ?? connect(config, '', now),
          privateKeys: config.OPERATOR_PRIVATE_KEYS,
          network: config.STACKS_NETWORK,
          log: () => {},
          lowBalanceInMicroStx: config.LOW_BALANCE_IN_MICRO_STX,
        }),
        now,
        randomBytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)),
        terminal,
      }
      return await act(services, options, args, context)
    } finally {
      await close()
    }
  }
}

/** Undefined on a devnet whose chain the service starts: only the service knows its address. */
function chainOf(config: Config, now: () => number): Chain | undefined {
  const { STACKS_API_URL: apiUrl } = config
  return apiUrl === undefined ? undefined : connect(config, apiUrl, now)
}

function connect(config: Config, apiUrl: string, now: () => number): Chain {
  const { QUOTE_URL: quoteUrl = '', STACKS_API_KEY: apiKey } = config
  return connectStacksNode({
    network: config.STACKS_NETWORK,
    apiUrl,
    quoteUrl,
    fetch,
    timeoutMs: config.NODE_TIMEOUT_MS,
    now,
    ...(apiKey !== undefined && { apiHeaders: { 'x-api-key': apiKey } }),
  })
}

/** Opens the database of the service. PGlite would make an empty one in the wrong folder, which has no keys to suspend. */
function openExisting(url: string): ReturnType<typeof openDatabase> {
  const folder = url.startsWith('pglite:') ? dataFolder(url) : undefined
  if (folder === undefined || existsSync(folder)) return openDatabase(url)
  throw new CommandError('DATABASE_MISSING', `There is no database in the folder ${folder}`)
}

/** The key of the service. A new one would make every row of its database look edited. */
function encryptionKeyOf(config: Config): string {
  const folder = dataFolder(config.DATABASE_URL)
  const key = config.ENCRYPTION_KEY ?? findDevnetEncryptionKey(folder)
  if (key !== undefined) return key
  throw new CommandError(
    'ENCRYPTION_KEY_MISSING',
    `ENCRYPTION_KEY is not set, and the data folder ${folder} has no key either: set DATABASE_URL and ENCRYPTION_KEY as the service has them`,
  )
}

async function listKeys(
  perform: Perform,
  {
    preview,
    key,
    wallet,
    after,
  }: { preview?: string; key?: string; wallet?: string; after?: string },
): Promise<CommandResult> {
  const filter = { preview, keyId: key, walletAddress: wallet, after }
  const { keys, next } = await outputOf(perform, 'keys', filter)
  const rows = keys.map(({ permissions, ...one }) => ({
    ...one,
    permissions: permissions.join(',') || 'none',
  }))
  const lines = keys.length === 0 ? ['No keys.'] : table(rows)
  return { json: keys, lines: next === undefined ? lines : [...lines, `More: --after ${next}`] }
}

async function listShards({ db }: AdminServices): Promise<CommandResult> {
  const placements = await readPlacements(db)
  const ofNode = Map.groupBy(placements, ({ node }) => node)
  const totals = [...ofNode].map(([node, all]) => ({
    node,
    table: 'all',
    shards: Math.max(...all.map(({ shards }) => shards)),
    bytes: all.reduce((sum, { bytes }) => sum + bytes, 0),
  }))
  return { json: placements, lines: table([...placements, ...totals].map((one) => ({ ...one }))) }
}

async function checkAudits(
  perform: Perform,
  { heads }: { heads?: string },
): Promise<CommandResult> {
  const lines = heads === undefined ? undefined : await headLines(heads)
  const check = await outputOf(perform, 'checkAudit', { heads: lines })
  const { faults, faultCount, unchecked, ...counts } = check
  const rows = faults.map(({ walletAddress, sequence, keyId, orderUuid, fault }) => ({
    wallet: walletAddress,
    event: sequence,
    key: keyId,
    order: orderUuid,
    fault,
  }))
  return {
    json: check,
    lines: [
      ...keyValues({ ...counts, faults: faultCount, unchecked: unchecked.length }),
      ...(rows.length === 0 ? [] : table(rows)),
      ...(faultCount === faults.length ? [] : [`and ${faultCount - faults.length} more faults`]),
      ...unchecked.map(
        ({ walletAddress, reason }) => `${walletAddress} was not checked: ${reason}`,
      ),
    ],
    exitCode: faultCount + unchecked.length === 0 ? 0 : 1,
  }
}

/** Reads a file line by line, and keeps those that may hold a head: a log is longer than what fits into memory. */
async function headLines(path: string): Promise<string[]> {
  const kept: string[] = []
  try {
    for await (const line of (await open(path)).readLines())
      if (line.includes(HEAD_EVENT) || !line.trimEnd().endsWith('}')) kept.push(line)
    return kept
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${reasonOf(error)}`)
  }
}

const SEAL_FORMAT = 'latchkey-unsealed 1'

async function listOldKeys(
  services: SealServices,
  { out }: { out?: string },
): Promise<CommandResult> {
  const make = async () => ({ format: SEAL_FORMAT, keys: await listUnsealed(services) })
  const listed = out === undefined ? await make() : await saveNew(out, make, jsonText)
  const { keys } = listed
  const rows = keys.map(({ keyId, walletAddress, name, keyPreview, revokedAt, problem }) => ({
    key: keyId,
    wallet: walletAddress,
    name,
    preview: keyPreview,
    state: revokedAt === null ? 'live' : 'revoked',
    problem: problem ?? '',
  }))
  return { json: listed, lines: keys.length === 0 ? ['No keys without MACs.'] : table(rows) }
}

function applySeals(now: () => number) {
  return async (
    services: SealServices,
    _: object,
    [path = '']: readonly string[],
  ): Promise<CommandResult> => {
    const { format, keys } = readJson(path) as { format?: unknown; keys?: UnsealedKey[] }
    if (format !== SEAL_FORMAT || !Array.isArray(keys))
      throw new UsageError(`${path} is not what seal list wrote`)
    const vouched = keys.filter(({ problem }) => problem === null)
    const { sealed, refused } = await sealKeys(services, vouched, now())
    return {
      json: { sealed, refused },
      lines: [
        ...keyValues({ sealed: sealed.length, refused: refused.length }),
        ...(refused.length === 0 ? [] : table(refused)),
      ],
      exitCode: refused.length === 0 ? 0 : 1,
    }
  }
}

async function rotateKeys(services: AdminServices): Promise<CommandResult> {
  const [key, ...others] = services.keys
  const { err } = services.terminal
  const { isDone, ...counts } = await rotateEncryption(services, async (progress) => {
    const { table, rows, rewritten } = progress
    await err.showProgress(`${table}: ${rows} rows, ${rewritten} rewritten`)
  })
  if (!isDone)
    throw new CommandError(
      'ROTATION_UNFINISHED',
      `Rows are still being written with another key than ${key.id}: have every process of the service run with ${key.id} first in ENCRYPTION_KEY, and repeat this`,
      { details: counts },
    )
  await forgetOtherKeys(services.db, key)
  const left = others.map(({ id }) => id)
  const removable =
    left.length === 0
      ? `Everything is written with the key ${key.id}.`
      : `Everything is written with the key ${key.id}. ENCRYPTION_KEY needs ${left.join(', ')} no longer.`
  return {
    json: { key: key.id, removable: left, ...counts },
    lines: [...keyValues({ ...counts }), removable],
  }
}

interface TargetOptions {
  key?: string
  wallet?: string
  reason?: string
}

function change(act: 'suspend' | 'resume', done: string) {
  return async (perform: Perform, options: TargetOptions): Promise<CommandResult> => {
    const { wallet, reason = '' } = options
    const target = targetOf(options)
    if (reason.trim() === '') throw new UsageError('It needs a --reason, which the owner can read')
    const keyIds = await outputOf(perform, act, { target, reason })
    const ofWallet = wallet === undefined ? '' : `the wallet ${wallet}, and of its keys `
    return { json: { keyIds }, lines: [`${done}: ${ofWallet}${keyIds.join(', ') || 'no key'}`] }
  }
}

/** Adds the commands that change nothing. */
function addViews(program: CliCommand, now: () => number): void {
  program
    .command('stats')
    .summary('how many keys, requests, orders and transactions there are')
    .example('latchkey-admin stats')
    .runs(onService(now, showStatistics))
  program
    .command('balances')
    .option('--token <contracts>', 'also of these tokens, separated by commas', commaList)
    .summary('what operator accounts and routers hold, and how many transactions are pending')
    .example('latchkey-admin balances')
    .runs(onService(now, showBalances))
  program
    .command('stuck')
    .option('--older <seconds>', 'by default STUCK_AFTER_SECONDS', wholeNumber(0, 31_536_000))
    .summary('transactions that the chain has not mined for too long')
    .example('latchkey-admin stuck --older 120')
    .runs(onService(now, showStuck))
  program
    .command('top')
    .option('--limit <n>', 'keys and wallets to show', wholeNumber(1, 1_000), 10)
    .option('--interval <seconds>', 'pause between two looks', wholeNumber(1, 3_600), 2)
    .option('--looks <n>', 'then end; by default 1, and on a terminal no end', wholeNumber(1, 1e9))
    .summary('the busiest keys and wallets, by the counters that admit their requests')
    .example('latchkey-admin top --limit 20')
    .runs(onService(now, showTop))
}

type Counts = Readonly<Record<string, number>>

async function showStatistics(perform: Perform): Promise<CommandResult> {
  const statistics = await outputOf(perform, 'statistics', {})
  const rows: [string, number][] = []
  for (const [group, counts] of Object.entries(statistics) as [string, number | Counts][])
    if (typeof counts === 'number') rows.push([group, counts])
    else for (const [name, count] of Object.entries(counts)) rows.push([`${group} ${name}`, count])
  return { json: statistics, lines: keyValues(Object.fromEntries(rows)) }
}

async function showBalances(
  perform: Perform,
  { token: tokens = [] }: { token?: string[] },
): Promise<CommandResult> {
  const balances = await outputOf(perform, 'balances', { tokens })
  const rows = balances.map(({ account, role, microStx, pending, tokens: held }) => ({
    role,
    account,
    microStx,
    pending: pending ?? '-',
    ...held,
  }))
  return { json: balances, lines: table(rows) }
}

/** Exits with 1 when there are some: for a monitor. */
async function showStuck(perform: Perform, { older }: { older?: number }): Promise<CommandResult> {
  const stuck = await outputOf(perform, 'stuck', { olderThanSeconds: older })
  const rows = stuck.map(({ orderUuid, ...one }) => ({ ...one, order: orderUuid ?? '-' }))
  return {
    json: stuck,
    lines: stuck.length === 0 ? ['No stuck transactions.'] : table(rows),
    exitCode: stuck.length === 0 ? 0 : 1,
  }
}

async function showTop(
  perform: Perform,
  {
    limit,
    interval,
    looks,
    json,
  }: { limit: number; interval: number; looks?: number; json?: boolean },
  { terminal: { out } }: CommandContext<object>,
): Promise<CommandResult> {
  const last = looks ?? (out.isTerminal && json !== true ? Number.POSITIVE_INFINITY : 1)
  for (let look = 1; ; look++) {
    const top = await outputOf(perform, 'top', { limit })
    const result = { json: top, lines: linesOfTop(top) }
    if (look >= last) return result
    await out.clear()
    if (json === true) await out.printJson(top)
    else await out.print(result.lines)
    await pause(interval * 1_000)
  }
}

function linesOfTop({ at, keys, wallets }: ActOutput<'top'>): Line[] {
  const time = new Date(at).toISOString()
  if (keys.length === 0) return [`${time}  No key was used today.`]
  const ofKeys = keys.map(({ keyId, keyPreview, name, minute, hour, day }) => ({
    minute,
    hour,
    day,
    key: keyId,
    preview: keyPreview,
    name,
  }))
  const ofWallets = wallets.map(({ walletAddress, keys: used, minute, hour, day }) => ({
    minute,
    hour,
    day,
    keys: used,
    wallet: walletAddress,
  }))
  return [time, '', ...table(ofKeys), '', ...table(ofWallets)]
}

function targetOf({ key, wallet }: TargetOptions): SuspensionTarget {
  if (key !== undefined && wallet === undefined) return { keyId: key }
  if (wallet !== undefined && key === undefined) return { walletAddress: wallet }
  throw new UsageError('It needs either --key or --wallet')
}

/** Of a configuration or a database, an operator gets the reason and no stack trace. */
function explainAny(error: unknown): Failure | undefined {
  const known = explainError(error)
  if (known !== undefined || !(error instanceof Error)) return known
  const message = messageOf(error)
  return { json: { code: 'FAILED', message }, lines: message.split('\n'), exitCode: 1 }
}

if (import.meta.main) process.exitCode = await administer(openProcessTerminal(), () => Date.now())
