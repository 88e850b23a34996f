import { type ChildProcess, execFile, type StdioOptions, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const PACKAGE = createRequire(import.meta.url).resolve('wrangler/package.json')
const WRANGLER = join(dirname(PACKAGE), 'bin/wrangler.js')
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
  return spawn(process.execPath, [WRANGLER, ...given], {
    env: { ...process.env, ...QUIET, ...env },
    stdio,
  })
}

/** Runs wrangler and resolves to what it prints. */
export async function askWrangler(given: readonly string[]): Promise<string> {
  const env = { ...process.env, ...QUIET }
  const { stdout } = await promisify(execFile)(process.execPath, [WRANGLER, ...given], { env })
  return stdout
}
