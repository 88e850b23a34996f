import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { access, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { convertV4MiniflareOptions, Miniflare, type V4MiniflareOptions } from 'miniflare'
import type { Trace } from './entry.ts'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const CONFIG = join(ROOT, 'wrangler.toml')
const run = promisify(execFile)

/** Whatever wrangler might ask or tell somebody far away, it does not. */
export const OFFLINE = {
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  WRANGLER_HIDE_BANNER: 'true',
  WRANGLER_LOG_PATH: join(ROOT, 'node_modules/.cache/wrangler/logs'),
  NO_COLOR: '1',
}

/** Runs wrangler in the repository, offline. */
export function wrangler(
  given: readonly string[],
  env: Record<string, string> = {},
): Promise<{ stdout: string; stderr: string }> {
  return run(process.execPath, [join(ROOT, 'node_modules/wrangler/bin/wrangler.js'), ...given], {
    cwd: ROOT,
    env: { ...process.env, ...OFFLINE, ...env },
  })
}

/** A worker in a workerd of its own: a process, and in it one isolate. */
export interface Workerd {
  fetch(url: string, init?: RequestInit): Promise<Response>
  /** Lets the cron tick at a time, and waits for what it starts. Answers how that ended. */
  tick(now: number): Promise<string>
  /** CPU time that the process has used, in milliseconds. Linux only. */
  cpuMs(): number
  /** Memory that the process has, in bytes. Linux only. */
  rssBytes(): number
  /** Where the worker itself listens, if `unsafeDirectSockets` asked for that. */
  directPort: number
  stop(): Promise<void>
}

/** The gate objects, as wrangler.toml declares them. */
export const GATE_OBJECTS = { GATE: { className: 'GateObject', useSQLite: true } }

/** What miniflare's types take from packages that are not installed. */
interface Cron {
  scheduled(event: { scheduledTime: Date; cron: string }): Promise<{ outcome: string }>
}

/** Starts a bundle, with the compatibility date and flags of wrangler.toml. */
export async function startWorkerd(
  bundle: string,
  options: Partial<V4MiniflareOptions> = {},
): Promise<Workerd> {
  const toml = await readFile(join(ROOT, 'wrangler.toml'), 'utf8')
  const files = await readdir(bundle)
  const isOf = (type: string) => (file: string) => file.endsWith(type)
  const modules = [...files.filter(isOf('.js')), ...files.filter(isOf('.wasm'))].map((file) => ({
    type: file.endsWith('.js') ? 'ESModule' : 'CompiledWasm',
    path: join(bundle, file),
  }))
  const before = workerds()
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      name: 'latchkey',
      modulesRoot: bundle,
      modules,
      compatibilityDate: /^compatibility_date = "(.+)"$/m.exec(toml)?.[1] ?? '',
      compatibilityFlags: ['nodejs_compat'],
      cf: { colo: 'TST' },
      ...options,
    } as V4MiniflareOptions),
  )
  const address = await miniflare.ready
  const direct =
    options.unsafeDirectSockets === undefined ? address : await miniflare.unsafeGetDirectURL()
  const pid = workerds().find((one) => !before.includes(one))
  return {
    fetch: (url, init) => fetch(new URL(url, address), init),
    async tick(now) {
      const worker = (await miniflare.getWorker()) as unknown as Cron
      const { outcome } = await worker.scheduled({
        scheduledTime: new Date(now),
        cron: '* * * * *',
      })
      return outcome
    },
    cpuMs: () => (pid === undefined ? Number.NaN : cpuMsOf(pid)),
    rssBytes: () => (pid === undefined ? Number.NaN : rssBytesOf(pid)),
    directPort: Number(direct.port),
    stop: () => miniflare.dispose(),
  }
}

/** Starts the service as test/worker/entry.ts has it, with the bindings that wrangler.toml declares. */
export async function startWorker(
  folder: string,
  databaseUrl: string,
  variables: Record<string, string>,
  options: Partial<V4MiniflareOptions> = {},
) {
  const limit = Number(variables.IP_RATE_LIMIT_PER_MINUTE ?? 300)
  const simple = { limit, period: 60 as const }
  const workerd = await startWorkerd(await bundleOf(folder, 'test/worker/entry.ts'), {
    hyperdrives: { HYPERDRIVE: databaseUrl },
    durableObjects: GATE_OBJECTS,
    ratelimits: {
      KEYLESS_LIMIT: { namespace_id: '1001', simple },
      FAILED_KEYS_LIMIT: { namespace_id: '1002', simple },
    },
    bindings: variables,
    unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
    ...options,
  })
  return {
    ...workerd,
    /** Ends a gate object in the middle of whatever it does. */
    async killGateObject(name: string): Promise<void> {
      await workerd.fetch('/', { headers: { 'x-test-kill': name } })
    },
    /** A request from an address at a time, and what it did besides its answer. */
    async call(
      url: string,
      init: RequestInit & { ip?: string | undefined; now: number },
    ): Promise<{ response: Response; trace: Trace }> {
      const { ip = '127.0.0.1', now, ...request } = init
      const headers = new Headers(request.headers)
      headers.set('CF-Connecting-IP', ip)
      headers.set('x-test-now', String(now))
      const answer = await workerd.fetch(url, { ...request, headers })
      const answered = new Headers(answer.headers)
      const [status, split] = ['x-test-status', 'x-test-trace'].map((name) => {
        const value = Number(answered.get(name))
        answered.delete(name)
        return value
      }) as [number, number]
      const bytes = await answer.arrayBuffer()
      const trace = JSON.parse(new TextDecoder().decode(bytes.slice(0, split))) as Trace
      const body = status === 204 ? null : bytes.slice(split)
      return { response: new Response(body, { status, headers: answered }), trace }
    },
  }
}

/** Bundles an entry as wrangler would deploy it: once a run, by whoever needs it first. Answers the bundle's folder. */
export async function bundleOf(folder: string, entry: string): Promise<string> {
  const bundle = join(folder, `bundle ${basename(entry, '.ts')}`)
  const done = `${bundle}.done`
  const isFirst = await mkdir(bundle).then(
    () => true,
    () => false,
  )
  if (isFirst)
    await wrangler(['deploy', entry, '--config', CONFIG, '--dry-run', '--outdir', bundle]).finally(
      () => writeFile(done, ''),
    )
  while (!(await exists(done))) await setTimeout(50)
  return bundle
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}

/** The workerd processes of this process. */
function workerds(): number[] {
  if (process.platform !== 'linux') return []
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && parentOf(name) === process.pid)
    .map(Number)
}

function parentOf(pid: string): number | undefined {
  const stat = statOf(pid)
  return stat?.name === 'workerd' ? Number(stat.fields[1]) : undefined
}

/** Clock ticks are 10 ms wherever Linux runs today. */
function cpuMsOf(pid: number): number {
  const { fields } = statOf(String(pid)) ?? { fields: [] }
  return 10 * (Number(fields[11]) + Number(fields[12]))
}

/** Pages are 4 KiB where the bench runs. */
function rssBytesOf(pid: number): number {
  return 4_096 * Number(statOf(String(pid))?.fields[21])
}

/** proc(5): the name in parentheses, then the fields from the state on. */
function statOf(pid: string): { name: string; fields: string[] } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const end = text.lastIndexOf(')')
    return { name: text.slice(text.indexOf('(') + 1, end), fields: text.slice(end + 2).split(' ') }
  } catch {
    return undefined
  }
}
