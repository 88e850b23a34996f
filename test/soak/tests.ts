import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath, URL } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const VITEST = fileURLToPath(new URL('../../node_modules/vitest/vitest.mjs', import.meta.url))

export interface Run {
  /** What the tests said in lines of JSON. */
  told: Record<string, unknown>[]
  /** What failed; nothing when all held. */
  faults: string[]
}

/** Runs test files in a longer form than `npm test` does, one after another. */
export async function runTests({
  files,
  env,
  onProgress = () => {},
}: {
  files: string[]
  env: Record<string, string>
  onProgress?: (line: string) => void
}): Promise<Run> {
  const patience = '--testTimeout=86400000'
  const child = spawn(process.execPath, [VITEST, 'run', '--maxWorkers=1', patience, ...files], {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const told: Run['told'] = []
  const failed = new Set<string>()
  const last: string[] = []
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', (line) => {
      last.push(line)
      if (last.length > 30) last.shift()
      if (line.startsWith('{')) told.push(JSON.parse(line))
      else if (/^\s*(FAIL|\w*Error:)/.test(line)) failed.add(line.trim())
      else if (line.startsWith('so far: ')) onProgress(line)
    })
  const [code] = await once(child, 'close')
  if (code === 0) return { told, faults: [] }
  return { told, faults: failed.size > 0 ? [...failed] : [`ended with ${code}`, ...last] }
}
