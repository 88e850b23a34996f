import { fstatSync, type Stats, statSync, writeSync } from 'node:fs'
import { devNull } from 'node:os'
import { createInterface } from 'node:readline'
import type { Terminal } from './command.ts'
import { type Output, OutputError, openOutput, wantsColours } from './output.ts'

type StandardStream = typeof process.stdout | typeof process.stderr

/** The terminal of this process. Each stream is judged by itself: one of them may be a file. */
export function openProcessTerminal(): Terminal {
  const { argv, env, stdin, stdout, stderr } = process
  const writeErr = writerOf(stderr)
  const err = openStream(stderr, (text) => writeErr(text).catch(() => {}))
  return {
    args: argv.slice(2),
    env,
    out: openStream(stdout, writerOf(stdout)),
    err,
    ask: stdin.isTTY && stderr.isTTY ? (question) => ask(question, writeErr) : undefined,
  }
}

function openStream(stream: StandardStream, write: (text: string) => Promise<void>): Output {
  const isTTY = stream.isTTY === true
  return openOutput({
    write,
    isTerminal: isTTY && process.env.TERM !== 'dumb',
    hasColours: wantsColours(isTTY, process.env),
    isDiscarded: isNullDevice(stream.fd),
    columns: stream.columns,
  })
}

/** Without a listener, a stream that fails ends the process with a stack trace; the callback gets the same error. */
function writerOf(stream: StandardStream): (text: string) => Promise<void> {
  stream.on('error', () => {})
  if (statsOf(stream.fd)?.isFile() === true) return async (text) => writeWhole(stream.fd, text)
  return (text) =>
    new Promise((resolve, reject) => {
      stream.write(text, (error) => (error == null ? resolve() : reject(new OutputError(error))))
    })
}

/** On a disk that becomes full, a write may be cut short without an error, which Node's stream does not notice. */
function writeWhole(fd: number, text: string): void {
  try {
    for (let rest = Buffer.from(text); rest.length > 0; ) rest = rest.subarray(writeSync(fd, rest))
  } catch (error) {
    throw new OutputError(error)
  }
}

/** A stream that was closed at the start is one too: Node opens the null device in its place. */
function isNullDevice(fd: number): boolean {
  const stats = statsOf(fd)
  return stats?.isCharacterDevice() === true && stats.rdev === statSync(devNull).rdev
}

/** Undefined where the platform has none, as for a console of Windows. */
function statsOf(fd: number): Stats | undefined {
  try {
    return fstatSync(fd)
  } catch {
    return undefined
  }
}

/** Resolves to the empty line at the end of input. Ctrl-C ends the process, for the terminal stays in its own mode. */
async function ask(question: string, write: (text: string) => Promise<void>): Promise<string> {
  await write(question)
  return new Promise((resolve) => {
    const lines = createInterface({ input: process.stdin })
    lines.once('line', (line) => {
      resolve(line)
      lines.close()
    })
    lines.once('close', () => resolve(''))
  })
}
