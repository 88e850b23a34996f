import { closeSync, lstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { findSecrets, LatchkeyError, SERVICE_PREFIX } from '../../client/index.ts'
import type { CliCommand, CommandResult } from '../command.ts'
import { addConfirmation, type ConfirmOptions, confirm } from '../confirm.ts'
import { clientWith, type ServiceContext } from '../connect.ts'
import { reasonOf, UsageError } from '../errors.ts'
import { table } from '../layout.ts'

const CHUNK_BYTES = 1_048_576
/** What is kept of a chunk for a secret that goes on in the next one; in UTF-16 it is twice as long. */
const OVERLAP = 512
/** Git's own files are compressed; its history is read from `git log -p`. */
const SKIPPED = '.git'
const STANDARD_INPUT = '-'

/** A secret in a file. */
interface Find {
  file: string
  line: number
  /** How keys begin that look like it. */
  prefix: string
  secret: string
}

interface ScanOptions extends ConfirmOptions {
  prefix: string
  revoke?: boolean
}

export function addScanCommand(program: CliCommand): void {
  addConfirmation(program.command('scan'))
    .argument('<paths...>', 'files and folders; - for standard input')
    .option('--prefix <text>', "how the service's keys begin", 'ck_live_')
    .option('--revoke', 'revoke each key that is found, with its own secret')
    .summary('find API keys and service credentials in files, by their checksum')
    .description(
      `Finds API keys and service credentials in files, by their checksum; exit code 1 where there is one. Folders named ${SKIPPED} and links are passed over; pipe git log -p to it for a history.`,
    )
    .example('latchkey scan .')
    .example('latchkey scan -')
    .example('latchkey scan --revoke --yes ./leaked')
    .runs(scan)
}

async function scan(context: ServiceContext<ScanOptions>): Promise<CommandResult> {
  const { prefix, revoke = false } = context.options
  if (!/^[a-z0-9_]{1,32}$/i.test(prefix)) throw new UsageError('--prefix is letters, digits and _')
  const prefixes = [...new Set([prefix, SERVICE_PREFIX])]
  const finds = context.args.flatMap((path) => [...search(path, prefixes)])
  const secrets = [...new Set(finds.map(({ secret }) => secret))]
  const outcomes = revoke && secrets.length > 0 ? await revokeAll(context, secrets) : undefined
  const found = finds.map(({ file, line, prefix, secret }) => ({
    file,
    line,
    key: `${secret.slice(0, prefix.length + 4)}...${secret.slice(-4)}`,
    ...(outcomes !== undefined && { outcome: outcomes.get(secret) }),
  }))
  const lines =
    found.length === 0
      ? ['No API key found']
      : [
          ...table(found),
          '',
          revoke
            ? `${secrets.length} keys found.`
            : `${secrets.length} keys found. Revoke them: latchkey scan --revoke does, or their owner.`,
        ]
  const isClean = [...(outcomes?.values() ?? secrets)].every((one) => one === REVOKED)
  return { json: { found }, lines, exitCode: isClean ? 0 : 1 }
}

const REVOKED = 'revoked'

/** What became of each secret's key. */
async function revokeAll(
  context: ServiceContext<ScanOptions>,
  secrets: readonly string[],
): Promise<Map<string, string>> {
  await confirm(
    context,
    'revokes for ever every key that was found',
    async () => `This revokes ${secrets.length} API keys, at once and for ever.`,
  )
  const outcomes = new Map<string, string>()
  for (const apiKey of secrets) {
    // Only the operator revokes a service credential.
    if (apiKey.startsWith(SERVICE_PREFIX)) {
      outcomes.set(apiKey, 'ask the operator')
      continue
    }
    try {
      await clientWith(context, { apiKey }).keys.deleteSelf()
      outcomes.set(apiKey, REVOKED)
    } catch (error) {
      // Once a key was revoked, the rest is told beside it, also that the service went away.
      const isTold =
        error instanceof LatchkeyError && (error.status !== undefined || outcomes.size > 0)
      if (!isTold) throw error
      outcomes.set(apiKey, error.code)
    }
  }
  return outcomes
}

function* search(path: string, prefixes: readonly string[]): Generator<Find> {
  if (path === STANDARD_INPUT) return yield* searchFile(path, 0, prefixes)
  let entry: ReturnType<typeof lstatSync>
  try {
    entry = lstatSync(path)
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${reasonOf(error)}`)
  }
  if (entry.isDirectory()) {
    for (const name of readNames(path))
      if (name !== SKIPPED) yield* search(join(path, name), prefixes)
  } else if (entry.isFile()) yield* searchFile(path, undefined, prefixes)
}

function readNames(path: string): string[] {
  try {
    return readdirSync(path).sort()
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${reasonOf(error)}`)
  }
}

/** Reads a file of any size and kind in pieces. In UTF-16 every second byte of a secret is zero. */
function* searchFile(
  path: string,
  standardInput: 0 | undefined,
  prefixes: readonly string[],
): Generator<Find> {
  let file: number | undefined
  try {
    file = standardInput ?? openSync(path, 'r')
    const chunk = Buffer.allocUnsafe(CHUNK_BYTES)
    let rest = ''
    let linesBefore = 1
    for (;;) {
      const length = readChunk(file, chunk)
      const text = rest + chunk.toString('latin1', 0, length).replaceAll('\0', '')
      const isLast = length === 0
      const end = isLast ? text.length : Math.max(0, text.length - OVERLAP)
      for (const prefix of prefixes)
        for (const { secret, at } of findSecrets(prefix, text))
          if (at < end) yield { file: path, line: linesBefore + linesIn(text, at), prefix, secret }
      if (isLast) return
      linesBefore += linesIn(text, end)
      rest = text.slice(end)
    }
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${reasonOf(error)}`)
  } finally {
    if (file !== undefined && standardInput === undefined) closeSync(file)
  }
}

/** A pipe that has nothing yet says so with an error. */
function readChunk(file: number, chunk: Buffer): number {
  for (;;) {
    try {
      return readSync(file, chunk)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EOF') return 0
      if (code !== 'EAGAIN') throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
    }
  }
}

function linesIn(text: string, end: number): number {
  let lines = 0
  for (let at = text.indexOf('\n'); at >= 0 && at < end; at = text.indexOf('\n', at + 1)) lines++
  return lines
}
