import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
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

/** Longest path of a Unix socket, on the platform with the least room for it. */
const MAX_SOCKET_PATH = 100

/**
 * Where the operator's socket of a service is: the configured one, or in PGlite's folder, which no other process can open while the
 * service runs. Undefined where there is none, also when the path would be too long.
 */
export function operatorSocket({
  DATABASE_URL,
  OPERATOR_SOCKET,
}: {
  DATABASE_URL: string
  OPERATOR_SOCKET?: string | undefined
}): string | undefined {
  if (OPERATOR_SOCKET !== undefined) return OPERATOR_SOCKET
  const inFolder = DATABASE_URL.startsWith('pglite:') && DATABASE_URL !== 'pglite::memory:'
  if (!inFolder || process.platform === 'win32') return undefined
  const path = join(resolve(dataFolder(DATABASE_URL)), 'operator.sock')
  return Buffer.byteLength(path) > MAX_SOCKET_PATH ? undefined : path
}
