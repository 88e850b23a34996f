import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { makeFolder } from './make-folder.ts'

const SQLITE_BUSY = 5
/** Time for one of several concurrent attempts to succeed; without it all of them might fail. */
const CONTEST_MS = 100

/**
 * Locks a folder that two processes would corrupt. The lock is the kernel's file lock, taken through SQLite: it ends with
 * the process, however that ends, and does not depend on process ids, which containers reuse. `orElse` is the advice of
 * the refusal, besides stopping the other process.
 */
export function lockFolder(folder: string, orElse: string): () => void {
  makeFolder(folder)
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
  // For the refusal's message only.
  writeFileSync(pidFile, String(process.pid))
  return function unlock() {
    if (database.isOpen) database.close()
  }
}
