import { readEncryptionKeys } from '../crypto/keys.ts'
import { messageOf } from '../db/database.ts'
import { migrateUnderLock } from '../db/open.ts'
import { connectPostgres } from '../db/postgres.ts'
import { checkEncryptionKeys } from '../encryption/check.ts'
import { readBackfillConfig } from '../env.ts'
import { openLog } from '../log.ts'
import { backfillMacs, walletsToBackfill } from '../provenance/backfill.ts'
import { openNativeMac } from './mac.ts'
import { chooseEngine } from './recover.ts'

const url = process.env.DATABASE_URL ?? ''
if (!/^postgres(ql)?:\/\//.test(url)) {
  process.stderr.write(
    'DATABASE_URL must be postgres://.., the database itself and not Hyperdrive\n',
  )
  process.exit(1)
}
try {
  await migrateUnderLock(url)
  process.stdout.write(`The schema of ${new URL(url).pathname.slice(1)} is up to date.\n`)
  await backfill()
} catch (error) {
  process.stderr.write(`The database cannot be migrated: ${messageOf(error)}\n`)
  process.exitCode = 1
}

/** Backfills MACs, as the service on Node does at its start; Workers have no start of their own. */
async function backfill(): Promise<void> {
  const { db, close } = connectPostgres(url, { maxConnections: 1 })
  try {
    if ((await walletsToBackfill(db)).length === 0) return
    const { ENCRYPTION_KEY, STACKS_NETWORK } = readBackfillConfig(process.env)
    const keys = readEncryptionKeys(ENCRYPTION_KEY)
    // With another key the keys would never work again.
    await checkEncryptionKeys(db, keys)
    const now = Date.now()
    const world = {
      db,
      mac: openNativeMac(keys),
      recover: chooseEngine().recover,
      log: openLog(
        'error',
        (line) => process.stderr.write(`${line}\n`),
        () => now,
      ),
      config: { STACKS_NETWORK },
    }
    const { authenticated, refused } = await backfillMacs(world, now)
    process.stdout.write(`MACs of an earlier release's keys: ${authenticated} written.\n`)
    if (refused > 0)
      process.stdout.write(`${refused} keys are not what their owners signed, and stay refused.\n`)
  } finally {
    await close()
  }
}
