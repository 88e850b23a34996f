import { messageOf } from '../db/database.ts'
import { distributeDatabase } from '../db/open.ts'
import { grantToService } from '../db/roles.ts'

const { DATABASE_URL: url = '', SERVICE_ROLE: role = '' } = process.env
try {
  const taken = await distributeDatabase(url, {
    onStep: (step, at, of) => process.stdout.write(`${at}/${of} ${step}\n`),
  })
  process.stdout.write(
    taken === 0 ? 'The tables were distributed before.\n' : 'The tables are distributed.\n',
  )
  if (role !== '') {
    await grantToService(url, role)
    process.stdout.write(`The role ${role} may run the service, and owns nothing.\n`)
  }
} catch (error) {
  process.stderr.write(`The database cannot be distributed: ${messageOf(error)}\n`)
  process.exitCode = 1
}
