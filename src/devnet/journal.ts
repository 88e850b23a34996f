import { appendFileSync, mkdirSync, readFileSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import type { AbortedStatus } from './faults.ts'

/** What led to the chain's state, in order. Clarity is deterministic: a replay of the entries leads to the same state. */
export type Entry =
  | { accepted: string; at: number; fate?: Fate }
  | { mined: string; at: number; undone?: Undone }
  | { granted: string }
  /** Seconds that passed on the chain's clock without a transaction. */
  | { passed: number }
  /** Blocks that another fork replaced, by their transactions. */
  | { orphaned: string[] }

/** What a fault sets for a transaction on submission. */
export interface Fate {
  abortAs?: AbortedStatus | undefined
  /** No block includes it. */
  held?: boolean
}

/** A transaction without effect; `as` is absent where a post-condition failed. */
export interface Undone {
  result: string
  reason: string
  as?: AbortedStatus
}

export interface Journal {
  readonly entries: readonly Entry[]
  append(entry: Entry): void
}

/** Keeps the entries in memory, and in a file when a folder is given. */
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
  // A process that died while writing leaves half a line. Its request got no response, so the line is removed.
  const whole = text.slice(0, text.lastIndexOf('\n') + 1)
  if (whole.length < text.length) truncateSync(file, Buffer.byteLength(whole))
  return whole
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Entry)
}
