import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll } from 'vitest'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const ENTRY = join(ROOT, 'src/node.ts')

const started: ChildProcess[] = []
const folders: string[] = []
afterAll(async () => {
  for (const { pid } of started) killGroup(pid)
  for (const folder of folders) await rm(folder, { recursive: true, force: true, maxRetries: 5 })
})

/** The entry as a process. It ends with the tests of the file, if not sooner. */
export interface Entry {
  child: ChildProcess
  /** The lines of its stdout so far. */
  stdout: string[]
  stderr(): string
  /** Waits for an event of the log. */
  event(name: string): Promise<Record<string, unknown>>
  /** Waits until it listens; answers its address. */
  url(): Promise<string>
  ended: Promise<{ code: number | null; signal: NodeJS.Signals | null }>
}

/** Starts the entry with this environment and no other, in an empty folder or the given one. */
export function startEntry(env: Record<string, string>, cwd = emptyFolder()): Entry {
  return follow(process.execPath, [ENTRY], env, cwd)
}

/** Starts it as a newcomer does. */
export function npmStart(env: Record<string, string>, cwd = ROOT): Entry {
  return follow('npm', ['start'], env, cwd)
}

/** Starts a program that logs as the entry does, as another user where one is given. */
export function follow(
  command: string,
  args: string[],
  env: Record<string, string>,
  cwd: string,
  identity: { uid?: number | undefined; gid?: number | undefined } = {},
): Entry {
  const child = spawn(command, args, {
    ...(identity as { uid?: number; gid?: number }),
    cwd,
    env: { PATH: process.env.PATH, PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const stdout: string[] = []
  const awaited = new Map<string, (fields: Record<string, unknown>) => void>()
  let stderr = ''
  createInterface(child.stdout).on('line', (line) => {
    stdout.push(line)
    const fields = parsed(line)
    awaited.get(String(fields?.event))?.(fields ?? {})
  })
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) =>
    child.once('close', (code, signal) => resolve({ code, signal })),
  )
  started.push(child)
  async function event(name: string): Promise<Record<string, unknown>> {
    const seen = stdout.map(parsed).find((fields) => fields?.event === name)
    if (seen !== undefined) return seen
    return Promise.race([
      new Promise<Record<string, unknown>>((resolve) => awaited.set(name, resolve)),
      ended.then(() => {
        throw new Error(`ended before the event ${name}:\n${stdout.join('\n')}\n${stderr}`)
      }),
    ])
  }
  return {
    child,
    stdout,
    stderr: () => stderr,
    event,
    url: async () => `http://127.0.0.1:${(await event('listening')).port}`,
    ended,
  }
}

/** An empty folder that goes with the tests of the file. */
export function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-entry-'))
  folders.push(folder)
  return folder
}

/** npm's child too. */
function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

function parsed(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>
  } catch {
    return undefined
  }
}
