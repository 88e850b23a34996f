import { execFileSync } from 'node:child_process'
import { appendFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import {
  freshDatabaseAt,
  initialise,
  newFolder,
  openServer,
  type PostgresServer,
} from './postgres.ts'

/** A primary, and a standby that streams from it. */
export interface Cluster {
  primary: PostgresServer
  standby: PostgresServer
  /** A new database that the standby has, too; its address names both servers. */
  freshDatabase(): Promise<string>
  /** Runs a statement on one of the servers, as its superuser. */
  ask(server: PostgresServer, text: string): Promise<Record<string, unknown>[]>
  /** Makes commits of the primary wait for the standby, or not. */
  setSynchronous(on: boolean): Promise<void>
  /** Makes the standby a primary; resolves once it takes writes. */
  promote(): Promise<void>
  /** Resolves once the standby has replayed what the primary has written. */
  caughtUp(): Promise<void>
  close(): Promise<void>
}

const STANDBY = 'standby'
/** The files of a server that has never run are a base backup. */
export async function startCluster(flags: Record<string, string> = {}): Promise<Cluster> {
  const folder = newFolder()
  const files = await initialise(join(folder, 'primary'))
  const copy = join(folder, 'standby')
  execFileSync('cp', ['-a', files, copy])
  writeFileSync(join(copy, 'standby.signal'), '')
  const settings = { wal_keep_size: '1GB', fsync: 'off', ...flags }
  const primary = await openServer(files, folder, settings)
  const standby = await openServer(copy, folder, {
    ...settings,
    wal_retrieve_retry_interval: '200ms',
  })
  // Not as a flag, which no ALTER SYSTEM would change.
  appendFileSync(join(copy, 'postgresql.auto.conf'), `primary_conninfo = '${conninfo(primary)}'\n`)
  await primary.start()
  await standby.start()

  const ask: Cluster['ask'] = async ({ url }, text) => {
    const client = postgres(`${url}/postgres`, { max: 1, onnotice: () => {}, fetch_types: false })
    try {
      return await client.unsafe(text)
    } finally {
      await client.end()
    }
  }
  async function until(server: PostgresServer, condition: string): Promise<void> {
    const client = postgres(`${server.url}/postgres`, { max: 1, onnotice: () => {} })
    try {
      while ((await client.unsafe(`SELECT ${condition} AS holds`))[0]?.holds !== true);
    } finally {
      await client.end()
    }
  }
  return {
    primary,
    standby,
    async freshDatabase() {
      const { pathname } = new URL(await freshDatabaseAt(primary.url))
      return `postgres://postgres@${primary.host},${standby.host}${pathname}`
    },
    ask,
    async setSynchronous(on) {
      await ask(primary, `ALTER SYSTEM SET synchronous_standby_names = '${on ? STANDBY : ''}'`)
      await ask(primary, 'SELECT pg_reload_conf()')
      if (on)
        await until(primary, `EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')`)
    },
    async promote() {
      await ask(standby, 'SELECT pg_promote()')
    },
    async caughtUp() {
      const [{ lsn } = {}] = await ask(primary, 'SELECT pg_current_wal_insert_lsn()::text AS lsn')
      await until(standby, `pg_last_wal_replay_lsn() >= '${lsn}'::pg_lsn`)
    },
    async close() {
      await Promise.all([primary.stop('immediate'), standby.stop('immediate')])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function conninfo({ host }: PostgresServer): string {
  const [name, port] = host.split(':')
  return `host=${name} port=${port} user=postgres application_name=${STANDBY}`
}
