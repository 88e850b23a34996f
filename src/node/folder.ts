import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeFolder } from '../db/make-folder.ts'

const DEFAULT_FOLDER = '.latchkey'
const KEY_FILE = 'encryption.key'

/** The folder of a devnet's own files: PGlite's folder, or the default one beside a Postgres. */
export function dataFolder(databaseUrl: string): string {
  const path = databaseUrl.startsWith('pglite:')
    ? databaseUrl.slice('pglite:'.length)
    : DEFAULT_FOLDER
  return path === ':memory:' ? DEFAULT_FOLDER : path
}

/** The devnet's encryption key, 32 bytes base64: generated once, readable by its owner only. */
export function devnetEncryptionKey(folder: string): string {
  makeFolder(folder)
  const path = join(folder, KEY_FILE)
  try {
    writeFileSync(path, randomBytes(32).toString('base64'), { flag: 'wx', mode: 0o600 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return readFileSync(path, 'utf8')
}

/** The key that a devnet made before; undefined where there is none. It makes nothing. */
export function findDevnetEncryptionKey(folder: string): string | undefined {
  const path = join(folder, KEY_FILE)
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}
