import { appendFileSync, mkdirSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import type { AbortedStatus } from './faults.ts'

/** What made this chain, in order. Clarity is deterministic: the same entries make it again. */
export type Entry =
  | { accepted: string; at: number }
  | { mined: string; at: number; undone?: Undone }
  | { granted: string }
  /** Seconds that passed on the chain's clock without a transaction. */
  | { passed: number }
  /** Blocks that another fork replaced, by their transactions. */
  | { orphaned: string[] }

/** A transaction that came to nothing; `as` when a post-condition was not why. */
export interface Undone {
  result: string
  reason: string
  as?: AbortedStatus
}

export interface Journal {
  readonly entries: readonly Entry[]
  append(entry: Entry): void
}

/** Kept in memory, and in a file when a folder is given. */
export function openJournal(folder: string | undefined): Journal {
  if (folder === undefined) {
    const entries: Entry[] = []
    return { entries, append: (entry) => void entries.push(entry) }
  }
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'devnet.jsonl')
  const entries = load(file)
  return {
    entries,
    append(entry) {
      appendFileSync(file, `${JSON.stringify(entry)}\n`)
      entries.push(entry)
    },
  }
}

function load(file: string): Entry[] {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (fault) {
    if ((fault as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw fault
  }
  // A process that died while writing leaves half a line: it was never answered for, so it is cut off.
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  if (whole.length < text.length) truncateSync(file, Buffer.byteLength(whole))
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Entry)
}
