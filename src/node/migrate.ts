import { messageOf } from '../db/database.ts'
import { migrateUnderLock, openDatabase } from '../db/open.ts'
import { grantToService } from '../db/roles.ts'
import { hasUnsealedKeys } from '../provenance/seal.ts'

const { DATABASE_URL: url = '', SERVICE_ROLE: role = '' } = process.env
if (!/^postgres(ql)?:\/\//.test(url)) {
  process.stderr.write(
    'DATABASE_URL must be postgres://.., the database itself and not Hyperdrive\n',
  )
  process.exit(1)
}
try {
  const database = await migrateUnderLock(url, {
    onWait: (holder) => process.stderr.write(`The migration waits for ${holder}.\n`),
  })
  process.stdout.write(`The schema of ${database} is up to date.\n`)
  if (role !== '') {
    await grantToService(url, role)
    process.stdout.write(`The role ${role} may run the service, and owns nothing.\n`)
  }
  await noteUnsealed()
} catch (error) {
  process.stderr.write(`The database cannot be migrated: ${messageOf(error)}\n`)
  process.exitCode = 1
}

/** Nothing is sealed here: what the database says of old keys may have been written by another party. */
async function noteUnsealed(): Promise<void> {
  const { db, close } = await openDatabase(url, { maxConnections: 1 })
  try {
    if (await hasUnsealedKeys(db))
      process.stdout.write(
        'There are keys without MACs. They are refused: see latchkey-admin seal.\n',
      )
  } finally {
    await close()
  }
}
