import {
  accessSync,
  chmodSync,
  constants,
  existsSync,
  readdirSync,
  readFileSync,
  type Stats,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { drizzle } from 'drizzle-orm/pglite'
import { type Database, messageOf } from './database.ts'
import { lockFolder } from './folder-lock.ts'
import { makeFolder } from './make-folder.ts'
import { migrate } from './migrate.ts'
import type { OpenDatabase } from './postgres.ts'
import * as schema from './schema.ts'
import { PLANNING } from './session.ts'

/** Opens PGlite in a folder, or in memory, and brings the schema up to date. */
export async function openPglite(
  folder: string,
  {
    migrationsFolder,
    onStatement,
  }: {
    migrationsFolder: string
    onStatement?: (text: string, parameters: readonly unknown[]) => void
  },
): Promise<OpenDatabase> {
  const inMemory = folder === ':memory:'
  if (!inMemory) prepareFolder(folder)
  const unlock = inMemory ? () => {} : lockFolder(folder, ELSEWHERE)
  try {
    const client = await (inMemory ? PGlite.create('memory://') : openFiles(folder))
    for (const [name, value] of Object.entries(PLANNING))
      await client.exec(`SET ${name} = ${value}`)
    const logger = onStatement && { logQuery: onStatement }
    const db = drizzle({ client, schema, ...(logger && { logger }) }) as unknown as Database
    await migrate(db, 'public', { migrationsFolder, onWait: () => {} })
    return {
      db,
      close: async () => {
        await client.close()
        unlock()
      },
    }
  } catch (error) {
    unlock()
    throw error
  }
}

const ELSEWHERE = 'set DATABASE_URL=pglite:<another folder>'
/** The major version of the Postgres in PGlite. Its files are of no other version. */
const POSTGRES_VERSION = '18'
const OTHERS_WRITE = 0o022

/** What a system call's code says of a folder, and what to do. */
const FAULTS: Readonly<Record<string, string>> = {
  ENOTDIR: 'is not a folder',
  EEXIST: 'is not a folder',
  ENOENT: 'cannot be made',
  EACCES: 'may not be written by this user: change its owner',
  EPERM: 'belongs to another user: change its owner',
  EROFS: 'is on a file system that is read-only',
  ENOSPC: 'is on a disk that is full: make room there',
  EDQUOT: 'is on a disk that is full: make room there',
}

/** PGlite rejects with WASI's numbers, in objects that are no errors. */
const WASI_CODES: Readonly<Record<number, string>> = { 2: 'EACCES', 51: 'ENOSPC', 69: 'EROFS' }

class FolderError extends Error {
  constructor(folder: string, fault: string, cause?: unknown) {
    const link = fault.includes(': ') ? ', or' : ':'
    super(`The folder ${folder} of DATABASE_URL ${fault}${link} ${ELSEWHERE}`, { cause })
  }
}

/**
 * Makes the folder, or checks the one that is there: other users may not write to it, or they could replace the database, nor
 * read the database in it, whose files are created readable by all.
 */
function prepareFolder(folder: string): void {
  const files = join(folder, 'postgres')
  explained(folder, () => {
    makeFolder(files)
    for (const path of [folder, files]) accessSync(path, constants.W_OK | constants.X_OK)
    tighten(folder, ({ mode }) => mode & ~OTHERS_WRITE)
    tighten(files, () => 0o700)
  })
  const found = readdirSync(files)
  if (found.length === 0) return
  const path = join(files, 'PG_VERSION')
  if (!existsSync(path)) throw new FolderError(folder, damaged('it has no PG_VERSION'))
  const version = readFileSync(path, 'utf8').trim()
  if (version !== POSTGRES_VERSION)
    throw new FolderError(
      folder,
      `holds a database of Postgres ${version}, and this release has Postgres ${POSTGRES_VERSION}: export it with the release that wrote it`,
    )
}

function tighten(path: string, modeOf: (stats: Stats) => number): void {
  const stats = statSync(path)
  const mode = modeOf(stats) & 0o7777
  if (mode !== (stats.mode & 0o7777)) chmodSync(path, mode)
}

async function openFiles(folder: string): Promise<PGlite> {
  try {
    return await PGlite.create(join(folder, 'postgres'))
  } catch (error) {
    const { code, errno } = error as { code?: string; errno?: number }
    const known = FAULTS[code ?? WASI_CODES[errno ?? 0] ?? '']
    const how = error instanceof Error ? messageOf(error) : `error ${errno}`
    throw new FolderError(folder, known ?? damaged(how), error)
  }
}

function damaged(how: string): string {
  return `holds a database that is damaged or incomplete (${how}): restore a copy`
}

function explained(folder: string, work: () => void): void {
  try {
    work()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    throw new FolderError(folder, FAULTS[code ?? ''] ?? `cannot be used (${message})`, error)
  }
}
