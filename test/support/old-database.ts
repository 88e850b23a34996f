import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { drizzle } from 'drizzle-orm/postgres-js'
import { migrate } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'
import { plainDatabase } from './service.ts'

export const MIGRATIONS = fileURLToPath(new URL('../../drizzle', import.meta.url))

/** A Postgres database as an earlier release left it: with its migrations, up to this number. */
export async function databaseAt(
  lastMigration: number,
): Promise<{ databaseUrl: string; client: postgres.Sql }> {
  const databaseUrl = await plainDatabase()
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-old-'))
  writeMigrations(folder, lastMigration)
  const client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  await migrate(drizzle({ client }), { migrationsFolder: folder })
  rmSync(folder, { recursive: true })
  return { databaseUrl, client }
}

/** Writes the migrations of an earlier release into a folder. */
export function writeMigrations(folder: string, lastMigration: number): void {
  cpSync(MIGRATIONS, folder, { recursive: true })
  const journal = JSON.parse(readFileSync(join(folder, 'meta/_journal.json'), 'utf8'))
  journal.entries = journal.entries.filter(({ idx }: { idx: number }) => idx <= lastMigration)
  writeFileSync(join(folder, 'meta/_journal.json'), JSON.stringify(journal))
}
