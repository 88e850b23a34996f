import { migrateUnderLock } from '../../src/db/open.ts'
import { partitionTables } from './partitions.ts'
import { plainDatabase } from './service.ts'

/** A Postgres database with the tables of the service partitioned, as `partitionTables` does it. */
export async function partitionedDatabase(partitions = 8): Promise<string> {
  const databaseUrl = await plainDatabase()
  await migrateUnderLock(databaseUrl)
  await partitionTables(databaseUrl, partitions)
  return databaseUrl
}
