import { execFile, spawnSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { tokenOf } from './keys.ts'
import type { LoadGenerator, Measured, Target } from './load.ts'

const run = promisify(execFile)
/** One thread is one core at most, as the other generator. */
const THREADS = 1
const RESULT = 'measured '

/** Each key's request is formatted once; which one is sent is random. */
const SCRIPT = `
local requests = {}
function init(args)
  math.randomseed(os.time())
  for token in io.lines(args[1]) do requests[#requests + 1] = wrk.format('GET', nil, { ['X-API-Key'] = token }) end
end
function request() return requests[math.random(#requests)] end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('${RESULT}%d %d %d %d %f %f %f\\n', summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(50), latency:percentile(99), latency.max))
end`

/** Load by wrk, which is written in C and takes a fraction of our generator's CPU. Undefined where it is not installed. */
export async function openWrk(folder: string, keys: number): Promise<LoadGenerator | undefined> {
  if (spawnSync('wrk', ['-v']).error !== undefined) return undefined
  const [script, tokens] = [join(folder, 'wrk.lua'), join(folder, 'tokens')]
  await writeFile(script, SCRIPT)
  await writeFile(tokens, Array.from({ length: keys }, (_, n) => tokenOf(n)).join('\n'))
  let target: Target | undefined

  async function measure(seconds: number): Promise<Measured> {
    if (target === undefined) throw new Error('nothing to measure')
    const { port, path, connections } = target
    const { stdout } = await run('wrk', [
      ...['-t', String(THREADS), '-c', String(connections), '-d', `${Math.ceil(seconds)}s`],
      ...['-s', script, `http://127.0.0.1:${port}${path}`, '--', tokens],
    ])
    return measuredOf(stdout)
  }
  return {
    async begin(given) {
      target = given
      if (given.warmSeconds > 0) await measure(given.warmSeconds)
    },
    measure,
    async end() {},
  }
}

function measuredOf(stdout: string): Measured {
  const line = stdout.split('\n').find((one) => one.startsWith(RESULT)) ?? ''
  const numbers = line.slice(RESULT.length).split(' ').map(Number)
  const [requests = 0, micros = 0, status = 0, broken = 0, p50 = 0, p99 = 0, max = 0] = numbers
  return {
    requests,
    seconds: micros / 1e6,
    p50Ms: p50 / 1e3,
    p99Ms: p99 / 1e3,
    maxMs: max / 1e3,
    refused: {
      ...(status > 0 && { 'not 2xx': status }),
      ...(broken > 0 && { broken }),
    },
    ownCpu: Number.NaN, // Not known: wrk has ended.
  }
}
