import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { PGlite } from '@electric-sql/pglite'
import { drizzle } from 'drizzle-orm/pglite'
import type { Database } from './database.ts'
import { lockFolder } from './folder-lock.ts'
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
  }: { migrationsFolder: string; onStatement?: (text: string) => void },
): Promise<OpenDatabase> {
  const inMemory = folder === ':memory:'
  const unlock = inMemory
    ? () => {}
    : lockFolder(folder, 'set DATABASE_URL=pglite:<another folder>')
  try {
    const client = await PGlite.create(inMemory ? 'memory://' : privateFolder(folder))
    for (const [name, value] of Object.entries(PLANNING))
      await client.exec(`SET ${name} = ${value}`)
    const logger = onStatement && { logQuery: (text: string) => onStatement(text) }
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

/** The folder of PGlite's files, closed to other users whatever mode it had: the files themselves are created readable by all. */
function privateFolder(folder: string): string {
  const files = join(folder, 'postgres')
  mkdirSync(files, { recursive: true, mode: 0o700 })
  chmodSync(files, 0o700)
  return files
}
