import { existsSync, mkdirSync } from 'node:fs'
import { dirname } from 'node:path'

/**
 * Makes a folder that its owner alone can use, and its parents. Not mkdir with `recursive`: where a file system takes no folders,
 * as /proc, Node repeats that for ever, and elsewhere it reports ENOENT for whatever keeps it from making a parent.
 */
export function makeFolder(path: string): void {
  if (!existsSync(dirname(path))) makeFolder(dirname(path))
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    // Another process may have made it, or it was there.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}
