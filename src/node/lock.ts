import {
  linkSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * The locks that this process holds. Any other lock with its number is left over: a container gives its service the
 * same number at every start.
 */
const held = new Set<string>()

/**
 * Keeps other processes out of a folder that two would destroy. A lock whose process is gone is taken over.
 * `orElse` is what the refusal advises, besides stopping the other process.
 */
export function lockFolder(folder: string, orElse: string): () => void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const path = join(realpathSync(folder), 'lock')
  const own = `${path}.${process.pid}`
  writeFileSync(own, String(process.pid))
  try {
    while (!isDone('EEXIST', () => linkSync(own, path))) removeStale(path, orElse)
  } finally {
    rmSync(own)
  }
  held.add(path)
  return function unlock() {
    held.delete(path)
    rmSync(path, { force: true })
  }
}

/** Moves the lock away before it is removed: whoever moves a younger one than was read here brings it back. */
function removeStale(path: string, orElse: string): void {
  const aside = `${path}.${process.pid}.stale`
  let holder = ''
  const isThere = isDone('ENOENT', () => {
    holder = readFileSync(path, 'utf8')
  })
  if (!isThere) return
  if (held.has(path) || isAnother(Number(holder)))
    throw new Error(
      `The folder ${dirname(path)} is in use by process ${holder}. Stop it, or ${orElse}.`,
    )
  if (!isDone('ENOENT', () => renameSync(path, aside))) return
  if (readFileSync(aside, 'utf8') !== holder) isDone('EEXIST', () => linkSync(aside, path))
  rmSync(aside)
}

/** Whether the number is that of another process that lives. */
function isAnother(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0 || pid === process.pid) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** Whether the work was done; false when it failed with the given code, which another process can cause. */
function isDone(code: string, work: () => void): boolean {
  try {
    work()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === code) return false
    throw error
  }
}
