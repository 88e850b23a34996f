import postgres from 'postgres'
import { nodesOf } from './citus.ts'

/** A database whose clock a test sets. */
export interface DatabaseClockOfTest {
  /** The database, for sessions that read its clock. */
  databaseUrl: string
  /** Stops the clock at a time; undefined lets it go on. */
  set(now: number | undefined): Promise<void>
  close(): Promise<void>
}

const FUNCTIONS = ['clock_timestamp', 'statement_timestamp']

/**
 * Gives a database functions that stand before those of pg_catalog, since its search_path names pg_catalog last. Every node of a cluster
 * has them: statements of one shard read the clock of its node.
 */
export async function openDatabaseClock(databaseUrl: string): Promise<DatabaseClockOfTest> {
  const nodes = (await nodesOf(databaseUrl)).map((node) =>
    postgres(node, { max: 1, onnotice: () => {} }),
  )
  const onEach = async (work: (client: postgres.Sql) => PromiseLike<unknown>) =>
    void (await Promise.all(nodes.map(work)))
  await onEach((client) => prepare(client, nodes.length > 1))
  const url = new URL(databaseUrl)
  url.searchParams.set('search_path', 'public,pg_catalog')
  return {
    databaseUrl: url.href,
    async set(now) {
      const at = now === undefined ? null : new Date(now).toISOString()
      await onEach((client) => client`UPDATE clock_of_test SET now = ${at}::timestamptz`)
    },
    close: () => onEach((client) => client.end()),
  }
}

async function prepare(client: postgres.Sql, isOfCluster: boolean): Promise<void> {
  // Each node has its own: the coordinator would make functions, and refuse changes of those, on all of them.
  if (isOfCluster) await client`SET citus.enable_ddl_propagation = off`
  await client`CREATE TABLE IF NOT EXISTS clock_of_test (now timestamptz)`
  await client`INSERT INTO clock_of_test VALUES (NULL)`
  for (const name of FUNCTIONS)
    await client.unsafe(`CREATE OR REPLACE FUNCTION public.${name}() RETURNS timestamptz LANGUAGE sql VOLATILE
      AS 'SELECT coalesce((SELECT now FROM public.clock_of_test), pg_catalog.${name}())'`)
}

/** Resolves once a service has read the clock. */
export async function untilRead(
  { call }: { call(path: string): Promise<Response> },
  now: number,
): Promise<void> {
  for (;;) {
    const { serverTime } = (await (await call('/time')).json()) as { serverTime: number }
    if (Math.abs(serverTime - now) < 5_000) return
    await call('/ready')
  }
}
