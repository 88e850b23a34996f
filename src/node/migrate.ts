import { openEncryption } from '../crypto/encryption.ts'
import { messageOf } from '../db/database.ts'
import { migrateUnderLock } from '../db/open.ts'
import { connectPostgres } from '../db/postgres.ts'
import { readBackfillConfig } from '../env.ts'
import { openLog } from '../log.ts'
import { walletsToBackfill } from '../provenance/backfill.ts'
import { backfillOldKeys } from './backfill.ts'
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
    const encryptionKey = Uint8Array.from(Buffer.from(ENCRYPTION_KEY, 'base64'))
    const now = Date.now()
    const world = {
      db,
      mac: openNativeMac(encryptionKey),
      encryption: await openEncryption(encryptionKey, (length) =>
        crypto.getRandomValues(new Uint8Array(length)),
      ),
      recover: chooseEngine().recover,
      log: openLog(
        'error',
        (line) => process.stderr.write(`${line}\n`),
        () => now,
      ),
      config: { STACKS_NETWORK },
    }
    const { authenticated, refused } = await backfillOldKeys(world, now)
    process.stdout.write(`MACs of an earlier release's keys: ${authenticated} written.\n`)
    if (refused > 0)
      process.stdout.write(`${refused} keys are not what their owners signed, and stay refused.\n`)
  } finally {
    await close()
  }
}
