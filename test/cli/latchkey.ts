import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { openOutput } from '../../src/cli/output.ts'
import { createProgram } from '../../src/cli/program.ts'
import { runProgram } from '../../src/cli/run.ts'

export const PRIVATE_KEY = '1cf4469c146ca09479758b592ec41826e35e3ebbc127a568826a21d752d1abe701'

export interface Ran {
  exitCode: number
  out: string
  err: string
}

export interface Surroundings {
  env?: Record<string, string>
  /** Whether a person watches, in colours. */
  isTerminal?: boolean
  /** What the person answers; without it there is none to ask. */
  answer?: string
}

/** Streams that collect what is written to them. */
export function collectingTerminal({ env = {}, isTerminal = false, answer }: Surroundings = {}) {
  const written = { out: '', err: '' }
  const stream = (name: 'out' | 'err') =>
    openOutput({
      async write(text) {
        written[name] += text
      },
      isTerminal,
      hasColours: isTerminal,
    })
  const ask = async (question: string) => {
    written.err += question
    return answer ?? ''
  }
  return {
    written,
    terminal: {
      env,
      out: stream('out'),
      err: stream('err'),
      ask: answer === undefined ? undefined : ask,
    },
  }
}

/** Runs a command line in this process. */
export async function latchkey(
  line: string | readonly string[],
  env: Record<string, string> = {},
  surroundings: Omit<Surroundings, 'env'> = {},
): Promise<Ran> {
  const args = typeof line === 'string' ? line.split(' ').filter((arg) => arg !== '') : line
  const { terminal, written } = collectingTerminal({ env, ...surroundings })
  const exitCode = await runProgram(createProgram(), { ...terminal, args })
  return { exitCode, ...written }
}

/** A folder that goes with the tests of the file. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-cli-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  return folder
}
