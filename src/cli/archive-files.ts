import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { reasonOf, UsageError } from './errors.ts'

const NAME = /^archive-\d{6}-[0-9a-f]{16}\.jsonl\.gz$/

/** The archives that a path leads to, by their numbers: one file, or those of a folder. */
export function archivesIn(path: string): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path]
    const names = readdirSync(path).filter((name) => NAME.test(name))
    return names.sort().map((name) => join(path, name))
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${reasonOf(error)}`)
  }
}
