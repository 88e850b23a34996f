import { migrateUnderLock } from '../db/open.ts'

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
} catch (error) {
  process.stderr.write(`The database cannot be migrated: ${(error as Error).message}\n`)
  process.exitCode = 1
}
