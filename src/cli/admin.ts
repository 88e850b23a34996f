#!/usr/bin/env node
import { parseArgs } from 'node:util'
import { messageOf } from '../db/database.ts'
import { openDatabase } from '../db/open.ts'
import { readConfig } from '../env.ts'
import { lookUpKeys } from '../keys/find.ts'
import { resumeByOperator, type SuspensionTarget, suspendByOperator } from '../keys/suspend.ts'
import { dataFolder, devnetEncryptionKey } from '../node/folder.ts'
import { openNativeMac } from '../node/mac.ts'
import { chooseEngine } from '../node/recover.ts'
import { checkAudit } from '../provenance/check.ts'
import { keyValues, table, UsageError } from './terminal.ts'

const HELP = `latchkey-admin: what the operator of a service may do to keys. It reads the service's own configuration
(DATABASE_URL, ENCRYPTION_KEY, STACKS_NETWORK) and talks to its database; each act is kept in the wallet's audit.

  keys [--preview P] [--key KEY_ID] [--wallet ADDRESS]      list keys, or look one up
  suspend (--key KEY_ID | --wallet ADDRESS) --reason TEXT   refuse it everything; a wallet gets no new keys either
  resume (--key KEY_ID | --wallet ADDRESS) --reason TEXT    take back an operator's suspension, and no owner's
  audit check                                               hold every key against what its owner signed

With --json: one JSON document. Exit codes: 0 done, 1 faults found or not done, 2 the command line is wrong.
`

interface Admin {
  args: string[]
  env: Record<string, string | undefined>
  out(text: string): void
  err(text: string): void
  now(): number
}

/** Runs one command of the operator; answers its exit code. */
export async function administer({ args, env, out, err, now }: Admin): Promise<number> {
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        preview: { type: 'string' },
        key: { type: 'string' },
        wallet: { type: 'string' },
        reason: { type: 'string' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
    })
    const command = positionals.join(' ')
    if (values.help === true || command === '' || command === 'help') {
      out(HELP)
      return 0
    }
    const run = COMMANDS[command]
    if (run === undefined) throw new UsageError(`There is no command ${command}`)
    const config = readConfig(env)
    const { db, close } = await openDatabase(config.DATABASE_URL)
    try {
      const encryptionKey =
        config.ENCRYPTION_KEY ?? devnetEncryptionKey(dataFolder(config.DATABASE_URL))
      const mac = openNativeMac(Buffer.from(encryptionKey, 'base64'))
      const world = { db, mac, config, recover: chooseEngine().recover }
      const { json, text, exitCode = 0 } = await run(world, values, now())
      out(values.json === true ? `${JSON.stringify(json, null, 2)}\n` : text)
      return exitCode
    } finally {
      await close()
    }
  } catch (error) {
    if (!(error instanceof Error)) throw error
    const isUsage = error instanceof UsageError || isBadOption(error)
    err(isUsage ? `${error.message}; see latchkey-admin help\n` : `${messageOf(error)}\n`)
    return isUsage ? 2 : 1
  }
}

function isBadOption(error: Error): boolean {
  return 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')
}

type AdminWorld = Parameters<typeof checkAudit>[0]
interface Options {
  preview?: string | undefined
  key?: string | undefined
  wallet?: string | undefined
  reason?: string | undefined
}
interface Done {
  json: unknown
  text: string
  exitCode?: number
}

const COMMANDS: Record<
  string,
  (world: AdminWorld, options: Options, now: number) => Promise<Done>
> = {
  async keys(world, { preview, key, wallet }) {
    const found = await lookUpKeys(world, { preview, keyId: key, walletAddress: wallet })
    const text = found.map(({ permissions, ...one }) => ({
      ...one,
      permissions: permissions.join(',') || 'none',
    }))
    return { json: found, text: found.length === 0 ? 'No keys.\n' : table(text) }
  },
  suspend: (world, options, now) => act(suspendByOperator, 'Suspended', world, options, now),
  resume: (world, options, now) => act(resumeByOperator, 'Resumed', world, options, now),
  async 'audit check'(world) {
    const check = await checkAudit(world)
    const { faults, ...counts } = check
    return {
      json: check,
      text:
        keyValues({ ...counts, faults: faults.length }) +
        (faults.length === 0
          ? ''
          : table(
              faults.map((fault) => ({
                wallet: fault.walletAddress,
                event: fault.sequence ?? '-',
                key: fault.keyId ?? '-',
                fault: fault.fault,
              })),
            )),
      exitCode: faults.length === 0 ? 0 : 1,
    }
  },
}

const NOT_DONE = {
  keyNotFound: 'There is no such key.\n',
  invalidRequest: 'That is no wallet of this network.\n',
}

async function act(
  verb: typeof suspendByOperator,
  done: string,
  world: AdminWorld,
  options: Options,
  now: number,
): Promise<Done> {
  const { reason = '' } = options
  if (reason.trim() === '') throw new UsageError('It needs a --reason, which the owner can read')
  const result = await verb(world, targetOf(options), reason, now)
  if (!result.ok)
    return { json: { error: result.reason }, text: NOT_DONE[result.reason], exitCode: 1 }
  const keyIds = result.value
  const wallet =
    options.wallet === undefined ? '' : `the wallet ${options.wallet}, and of its keys `
  return { json: { keyIds }, text: `${done}: ${wallet}${keyIds.join(', ') || 'no key'}\n` }
}

function targetOf({ key, wallet }: Options): SuspensionTarget {
  if (key !== undefined && wallet === undefined) return { keyId: key }
  if (wallet !== undefined && key === undefined) return { walletAddress: wallet }
  throw new UsageError('It needs either --key or --wallet')
}

if (import.meta.main)
  process.exitCode = await administer({
    args: process.argv.slice(2),
    env: process.env,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    now: () => Date.now(),
  })
