import type { Database } from '../db/database.ts'
import type { Distribution } from '../db/distribution.ts'
import type { CheckServices } from '../provenance/check.ts'
import type { ArchiveFiles } from './format.ts'

/** What an archive needs. The database is its tables' owner: nothing else removes rows from tables that are append-only. */
export interface ArchiveServices extends CheckServices {
  db: Database
  archiveFiles: ArchiveFiles
  /** Where shards are; undefined on one Postgres. */
  distribution?: Distribution | undefined
}
