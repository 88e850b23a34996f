import { type ChildProcess, execFile, type StdioOptions, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const QUIET = {
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  WRANGLER_HIDE_BANNER: 'true',
}

/** Starts wrangler, the version that the lockfile names, without its telemetry. */
export function startWrangler(
  given: readonly string[],
  { env = {}, stdio = 'inherit' }: { env?: NodeJS.ProcessEnv; stdio?: StdioOptions } = {},
): ChildProcess {
  return spawn(process.execPath, [wranglerPath(), ...given], {
    env: { ...process.env, ...QUIET, ...env },
    stdio,
  })
}

/** Runs wrangler and resolves to what it prints. */
export async function askWrangler(given: readonly string[]): Promise<string> {
  const env = { ...process.env, ...QUIET }
  const { stdout } = await promisify(execFile)(process.execPath, [wranglerPath(), ...given], {
    env,
  })
  return stdout
}

/** Throws a sentence where only the packages that the service runs on are installed. */
function wranglerPath(): string {
  try {
    const manifest = createRequire(import.meta.url).resolve('wrangler/package.json')
    return join(dirname(manifest), 'bin/wrangler.js')
  } catch {
    throw new Error('wrangler is not installed: run npm ci without --omit=dev')
  }
}
