import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

const SQLITE_BUSY = 5
/** Of several that try at the same moment, one wins within this time; at once, all might give way to each other. */
const CONTEST_MS = 100

/**
 * Keeps other processes out of a folder that two would destroy. The lock is the kernel's, by way of SQLite: it goes
 * with the process, however that ends, and knows no process numbers, which containers give out again.
 * `orElse` is what the refusal advises, besides stopping the other process.
 */
export function lockFolder(folder: string, orElse: string): () => void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const database = new DatabaseSync(join(folder, 'lock'), { timeout: CONTEST_MS })
  const pidFile = join(folder, 'lock.pid')
  try {
    database.exec('PRAGMA journal_mode = OFF; BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) throw error
    const holder = existsSync(pidFile) ? `process ${readFileSync(pidFile, 'utf8')}` : 'a process'
    throw new Error(`The folder ${folder} is in use by ${holder}. Stop it, or ${orElse}.`)
  }
  // Only to be named in the refusal: nothing is decided by it.
  writeFileSync(pidFile, String(process.pid))
  return function unlock() {
    if (database.isOpen) database.close()
  }
}
