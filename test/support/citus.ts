import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { distributeDatabase, migrateUnderLock } from '../../src/db/open.ts'

/** The coordinator of a real cluster, in whose database its workers are registered; undefined where there is none. */
export const CITUS_URL = process.env.TEST_CITUS_URL

/** A new database on every node of the cluster, with the tables of the service distributed. */
export async function citusDatabase(coordinatorUrl: string): Promise<string> {
  const url = await plainCitusDatabase(coordinatorUrl)
  await distributeDatabase(url, { onStep: () => {} })
  return url
}

/** As `citusDatabase`, with plain tables on the coordinator. */
export async function plainCitusDatabase(coordinatorUrl: string): Promise<string> {
  const name = `latchkey_${randomUUID().replaceAll('-', '')}`
  const coordinator = new URL(coordinatorUrl)
  const workers = await within(
    coordinator,
    (client) => client<{ host: string; port: number }[]>`
      SELECT node_name AS host, node_port::int AS port FROM citus_get_active_worker_nodes() ORDER BY node_port`,
  )
  const nodes = [coordinator, ...workers.map(({ host, port }) => at(coordinator, host, port))]
  for (const node of nodes) {
    await within(node, (client) => client.unsafe(`CREATE DATABASE ${name}`))
    await within(named(node, name), (client) => client.unsafe('CREATE EXTENSION citus'))
  }
  const url = named(coordinator, name)
  await within(url, async (client) => {
    await client`SELECT citus_set_coordinator_host(${coordinator.hostname}, ${Number(coordinator.port)})`
    for (const { host, port } of workers) await client`SELECT citus_add_node(${host}, ${port})`
  })
  await migrateUnderLock(url.href)
  return url.href
}

/** The same database on every node that has it: on the coordinator, which is first, and the workers. One Postgres is one node. */
export async function nodesOf(databaseUrl: string): Promise<string[]> {
  const url = new URL(databaseUrl)
  const workers = await within(url, async (client) => {
    const [found] = await client`SELECT to_regclass('pg_catalog.pg_dist_node') IS NOT NULL AS citus`
    return found?.citus === true
      ? client<{ host: string; port: number }[]>`
          SELECT node_name AS host, node_port::int AS port FROM citus_get_active_worker_nodes() ORDER BY node_port`
      : []
  })
  return [databaseUrl, ...workers.map(({ host, port }) => at(url, host, port).href)]
}

async function within<T>(url: URL, work: (client: postgres.Sql) => PromiseLike<T>): Promise<T> {
  const client = postgres(url.href, { max: 1, onnotice: () => {} })
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

function at(url: URL, host: string, port: number): URL {
  return Object.assign(new URL(url), { hostname: host, port: String(port) })
}

function named(url: URL, database: string): URL {
  return Object.assign(new URL(url), { pathname: `/${database}` })
}
