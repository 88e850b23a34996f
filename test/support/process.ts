import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { addressOf } from '../../src/stacks/sign.ts'
import { type Client, connectTo } from './http.ts'

const ENTRY = fileURLToPath(new URL('../../src/node.ts', import.meta.url))
const CLOCK = fileURLToPath(new URL('clock.ts', import.meta.url))

/** Limits that no load reaches. */
export const GENEROUS = {
  IP_RATE_LIMIT_PER_MINUTE: '1000000',
  MAX_SETTLING_PER_WALLET: '1000',
  MAX_FAILED_PER_WALLET_AND_DAY: '10000',
  MAX_BURNS_PER_WALLET_AND_DAY: '10000',
  MAX_REQUESTED_BURNS_PER_DAY: '10000',
  RATE_LIMIT_PER_MINUTE: '1000000',
  RATE_LIMIT_PER_HOUR: '10000000',
  RATE_LIMIT_PER_DAY: '100000000',
}

/** The service as a process of its own, as `npm start` runs it. */
export interface ServiceProcess extends Client {
  pid: number
  port: number
  /** `fetch` against it; `path` is under /api/v1. */
  call(path: string, init?: RequestInit): Promise<Response>
  /** What its clock says, as far as the test knows: by itself, or where it was put. */
  clock: { readonly now: number }
  /** Stops its clock at a time; undefined lets it go again. */
  setClock(now: number | undefined): Promise<void>
  /** Collects its garbage, and answers the bytes of what lives. */
  collect(): Promise<number>
  /** Ends it in the middle of whatever it does. */
  kill(): Promise<void>
  stop(): Promise<void>
  /** How it ended; undefined while it lives. */
  ended(): string | undefined
  output(): string
}

export interface Chain {
  devnetUrl: string
}

/** What the processes of one service share. Each of them has an operator of its own. */
export function sharedEnv(
  databaseUrl: string,
  { devnetUrl }: Chain,
  limits: Record<string, string> = GENEROUS,
): Record<string, string> {
  return {
    PORT: '0',
    DATABASE_URL: databaseUrl,
    STACKS_API_URL: devnetUrl,
    QUOTE_URL: `${devnetUrl}/quote`,
    ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    IP_RATE_LIMIT_PER_MINUTE: '1000000',
    ...limits,
  }
}

/** A new operator with funds. */
export async function fundedOperator({ devnetUrl }: Chain): Promise<string> {
  const privateKey = `${randomBytes(32).toString('hex')}01`
  const response = await fetch(`${devnetUrl}/faucet`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ address: addressOf(privateKey, 'devnet') }),
  })
  if (!response.ok) throw new Error(`the operator has no funds: ${await response.text()}`)
  return privateKey
}

export async function startProcess(
  env: Record<string, string>,
  /** A module that is loaded ahead of the entry. */
  preload?: string,
  /** The entry of another release. */
  entry = ENTRY,
): Promise<ServiceProcess> {
  const imports = [CLOCK, ...(preload === undefined ? [] : [preload])]
  const options = imports.flatMap((module) => ['--import', module])
  const child = spawn(process.execPath, [...options, entry], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const lines: string[] = []
  const keep = (line: string) => {
    lines.push(line)
    if (lines.length > 200) lines.shift()
  }
  let ended: string | undefined
  const exit = once(child, 'exit').then(([code, signal]) => {
    ended = String(signal ?? code)
  })
  createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', keep)
  const listening = new Promise<number>((resolve) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      keep(line)
      if (line.includes('"listening"')) resolve(JSON.parse(line).port)
    })
  })
  const output = () => lines.join('\n')
  const failed = exit.then(() => {
    throw new Error(`The service did not start:\n${output()}`, { cause: ended })
  })
  const port = await Promise.race([listening, failed])
  failed.catch(() => {})

  const origin = `http://127.0.0.1:${port}`
  const client = connectTo(origin)
  let standing: number | undefined
  const end = async (signal: 'SIGKILL' | 'SIGTERM') => {
    client.close()
    if (ended === undefined) child.kill(signal)
    await exit
  }
  return {
    ...client,
    pid: child.pid as number,
    port,
    call: (path, init) => fetch(`${origin}/api/v1${path}`, init),
    clock: {
      get now() {
        return standing ?? Date.now()
      },
    },
    async setClock(now) {
      standing = now
      child.send({ now: now ?? null })
      await once(child, 'message')
    },
    async collect() {
      child.send({ collects: true })
      const [{ liveBytes }] = await once(child, 'message')
      return liveBytes
    },
    kill: () => end('SIGKILL'),
    stop: () => end('SIGTERM'),
    ended: () => ended,
    output,
  }
}
