import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { Option } from 'commander'
import { type RotationState, type RotationStore, rotateSecret } from '../../client/index.ts'
import { type CliCommand, type CommandResult, wholeNumber } from '../command.ts'
import { openClient, type ServiceContext } from '../connect.ts'
import { requireSettable, setVariable } from '../env-file.ts'
import { CommandError, UsageError } from '../errors.ts'
import { readJson, replaceFile } from '../files.ts'
import { keyValues } from '../layout.ts'

interface RotateOptions {
  write: string
  variable: string
  reload?: string
  graceSeconds: number
  waitSeconds: number
  everyDays?: number
  renewDays?: number
}

const DAY_SECONDS = 86_400
const DAY_MS = DAY_SECONDS * 1_000

export function addRotateCommand(program: CliCommand): void {
  program
    .command('rotate')
    .argument('<key-id>', 'as keys list shows it')
    .requiredOption('--write <file>', "the bot's .env file: its variable gets the new secret")
    .option('--variable <name>', 'the variable', 'LATCHKEY_API_KEY')
    .option('--reload <command>', 'a shell command that makes the bot read the file again')
    .addOption(
      new Option('--grace-seconds <number>', 'how long the old secret works at most')
        .argParser(wholeNumber(1, 7 * DAY_SECONDS))
        .default(DAY_SECONDS),
    )
    .addOption(
      new Option(
        '--wait-seconds <number>',
        'how long to wait until the bot has used the new secret and left the old one; 0: not at all',
      )
        .argParser(wholeNumber(0, DAY_SECONDS))
        .default(120),
    )
    .addOption(
      new Option(
        '--every-days <number>',
        'do nothing while the last rotation into this file is younger',
      ).argParser(wholeNumber(1, 3_650)),
    )
    .addOption(
      new Option(
        '--renew-days <number>',
        "put off the key's end to so many days from now, where it has one",
      ).argParser(wholeNumber(1, 3_650)),
    )
    .summary("replace a key's secret in a bot's .env, and end the old one once it is out of use")
    .description(
      'Replaces the secret of a key in a file, has its reader reload it, and ends the old secret once the new one was used and the old one is silent. Made for cron: a run that was ended at any point is finished by the next one. What it needs for that, a pending secret too, is in FILE.rotation.',
    )
    .example('latchkey rotate key_1a2b3c --write .env --reload "systemctl reload bot"')
    .example('latchkey rotate key_1a2b3c --write .env --every-days 30 --renew-days 90')
    .runs(rotate)
}

async function rotate(context: ServiceContext<RotateOptions>): Promise<CommandResult> {
  const { options, args, note } = context
  const { write: file, variable, reload, graceSeconds, waitSeconds } = options
  const [keyId = ''] = args
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(variable))
    throw new UsageError('--variable is letters, digits and _')
  requireSettable(file, variable)
  const client = await openClient(context)
  const store = openStore(`${file}.rotation`, keyId)
  const state = await store.read()
  const nextAt = nextRotation(state, options.everyDays)
  if (nextAt !== undefined && nextAt > Date.now()) {
    const next = new Date(nextAt).toISOString()
    return { json: { keyId, rotated: false, next }, lines: [`Nothing to do before ${next}.`] }
  }
  if (state?.pending !== undefined) await note('Going on with a rotation that was not finished.')
  const { previousUntil } = await rotateSecret({
    client,
    keyId,
    store,
    graceSeconds,
    waitMs: waitSeconds * 1_000,
    handOver: async (apiKey) => {
      setVariable(file, variable, apiKey)
      await note(`${variable} in ${file} has the new secret.`)
      if (reload !== undefined) await run(reload)
      if (waitSeconds > 0) await note('Waiting until it is used and the old one is silent.')
    },
  })
  const expiresAt = await renew(context, client, keyId)
  const outcome = {
    keyId,
    rotated: true,
    savedTo: file,
    ...(previousUntil !== undefined && { previousUntil }),
    ...(expiresAt !== undefined && { expiresAt }),
  }
  const old = previousUntil === undefined ? 'ended' : `works until ${previousUntil}`
  return { json: outcome, lines: keyValues({ ...outcome, oldSecret: old }) }
}

function nextRotation(state: RotationState | undefined, everyDays?: number): number | undefined {
  if (everyDays === undefined || state?.rotatedAt === undefined) return undefined
  return state.pending === undefined ? state.rotatedAt + everyDays * DAY_MS : undefined
}

async function renew(
  { options: { renewDays } }: ServiceContext<RotateOptions>,
  client: Awaited<ReturnType<typeof openClient>>,
  keyId: string,
): Promise<string | undefined> {
  if (renewDays === undefined) return undefined
  const { expiresAt } = await client.keys.get(keyId)
  const end = Date.now() + renewDays * DAY_MS
  if (expiresAt === undefined || Date.parse(expiresAt) >= end) return expiresAt
  return (await client.keys.update(keyId, { expiresAt: new Date(end) })).expiresAt
}

/** The state of a key's rotation in a file. */
function openStore(
  path: string,
  keyId: string,
): RotationStore & { read(): RotationState | undefined } {
  return {
    read() {
      if (!existsSync(path)) return undefined
      const { keyId: of, ...state } = (readJson(path) ?? {}) as RotationState & { keyId?: unknown }
      if (of !== keyId)
        throw new UsageError(`${path} is of another key: name another file, or remove it`)
      return state
    },
    write: (state) => replaceFile(path, `${JSON.stringify({ keyId, ...state })}\n`),
  }
}

/** Runs a command of the caller's; what it prints goes to standard error. */
function run(command: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string) =>
      reject(
        new CommandError(
          'RELOAD_FAILED',
          `The command of --reload ${reason}. The file has the new secret, and both secrets work: the next run reloads again.`,
        ),
      )
    spawn(command, { shell: true, stdio: ['ignore', 2, 2] })
      .once('error', ({ message }) => fail(`could not be started: ${message}`))
      .once('close', (code, signal) => {
        if (code === 0) resolve()
        else fail(`ended with ${signal ?? `exit code ${code}`}`)
      })
  })
}
