#!/usr/bin/env node
import { existsSync } from 'node:fs'
import { messageOf } from '../db/database.ts'
import { openDatabase } from '../db/open.ts'
import { type Config, readConfig } from '../env.ts'
import { lookUpKeys } from '../keys/find.ts'
import { resumeByOperator, type SuspensionTarget, suspendByOperator } from '../keys/suspend.ts'
import { dataFolder, findDevnetEncryptionKey } from '../node/folder.ts'
import { openNativeMac } from '../node/mac.ts'
import { chooseEngine } from '../node/recover.ts'
import { type CheckServices, checkAudit } from '../provenance/check.ts'
import type { CliCommand, CommandContext, CommandResult, Terminal } from './command.ts'
import { CommandError, UsageError } from './errors.ts'
import { keyValues, table } from './layout.ts'
import { openProcessTerminal } from './process-terminal.ts'
import { addHelpCommand, openProgram } from './program.ts'
import { addRouterCommands } from './router.ts'
import { explainError, type Failure, runProgram } from './run.ts'

/** Runs one command of the operator and returns its exit code. */
export function administer(terminal: Terminal, now: () => number): Promise<number> {
  return runProgram(createAdminProgram(now, terminal.out.columns), terminal, explainAny)
}

/** The whole command line of `latchkey-admin`. */
export function createAdminProgram(now: () => number, columns?: number): CliCommand {
  const program = openProgram('latchkey-admin', columns)
    .description(
      "Acts of a service's operator. It reads the configuration of the service (DATABASE_URL, ENCRYPTION_KEY, STACKS_NETWORK) and works on its database; each act is kept in the wallet's audit. The commands of `router` need the chain alone, and the key of the router's deployer.",
    )
    .option('--json', 'print one JSON document; an error is one too, on stderr')
    .example('latchkey-admin keys --preview ck_live_abcd...wxyz')
    .closing('Exit codes: 0 done, 1 faults found or not done, 2 the command line is wrong.')
  program
    .command('keys')
    .option('--preview <preview>', 'as a log or an owner shows it')
    .option('--key <key-id>', 'one key')
    .option('--wallet <address>', 'the keys of a wallet')
    .summary('list keys, or look one up')
    .example('latchkey-admin keys --wallet ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM')
    .runs(onDatabase(listKeys))
  addTarget(program.command('suspend'))
    .summary('refuse a key everything, or a wallet, which then gets no new keys either')
    .example('latchkey-admin suspend --key key_1a2b3c --reason "leaked on a forum"')
    .runs(onDatabase(change(suspendByOperator, 'Suspended', now)))
  addTarget(program.command('resume'))
    .summary("take back an operator's suspension, and no owner's")
    .example('latchkey-admin resume --key key_1a2b3c --reason "a false alarm"')
    .runs(onDatabase(change(resumeByOperator, 'Resumed', now)))
  program
    .command('audit')
    .summary('the audits of all wallets')
    .description('The audits of all wallets.')
    .command('check')
    .summary('compare every key with what its owner signed')
    .example('latchkey-admin audit check')
    .runs(onDatabase(checkAudits))
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

/** Opens the service's database for the time of a command. */
function onDatabase<Options>(
  act: (services: CheckServices, options: Options) => Promise<CommandResult>,
) {
  return async ({ terminal, options }: CommandContext<Options>): Promise<CommandResult> => {
    const config = readConfig(terminal.env)
    const mac = openNativeMac(Buffer.from(encryptionKeyOf(config), 'base64'))
    const { db, close } = await openExisting(config.DATABASE_URL)
    try {
      return await act({ db, mac, config, recover: chooseEngine().recover }, options)
    } finally {
      await close()
    }
  }
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
  services: CheckServices,
  { preview, key, wallet }: { preview?: string; key?: string; wallet?: string },
): Promise<CommandResult> {
  const found = await lookUpKeys(services, { preview, keyId: key, walletAddress: wallet })
  const rows = found.map(({ permissions, ...one }) => ({
    ...one,
    permissions: permissions.join(',') || 'none',
  }))
  return { json: found, lines: found.length === 0 ? ['No keys.'] : table(rows) }
}

async function checkAudits(services: CheckServices): Promise<CommandResult> {
  const check = await checkAudit(services)
  const { faults, ...counts } = check
  const rows = faults.map(({ walletAddress, sequence, keyId, fault }) => ({
    wallet: walletAddress,
    event: sequence,
    key: keyId,
    fault,
  }))
  return {
    json: check,
    lines: [
      ...keyValues({ ...counts, faults: faults.length }),
      ...(rows.length === 0 ? [] : table(rows)),
    ],
    exitCode: faults.length === 0 ? 0 : 1,
  }
}

interface TargetOptions {
  key?: string
  wallet?: string
  reason?: string
}

const REFUSALS = {
  keyNotFound: { code: 'KEY_NOT_FOUND', message: 'There is no such key' },
  invalidRequest: { code: 'INVALID_REQUEST', message: 'That is no wallet of this network' },
} as const

function change(verb: typeof suspendByOperator, done: string, now: () => number) {
  return async (services: CheckServices, options: TargetOptions): Promise<CommandResult> => {
    const { wallet, reason = '' } = options
    const target = targetOf(options)
    if (reason.trim() === '') throw new UsageError('It needs a --reason, which the owner can read')
    const result = await verb(services, target, reason, now())
    if (!result.ok) {
      const { code, message } = REFUSALS[result.reason]
      throw new CommandError(code, message)
    }
    const keyIds = result.value
    const ofWallet = wallet === undefined ? '' : `the wallet ${wallet}, and of its keys `
    return { json: { keyIds }, lines: [`${done}: ${ofWallet}${keyIds.join(', ') || 'no key'}`] }
  }
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
