import postgres from 'postgres'
import { parseConnectionString } from './connection-string.ts'
import { hasDistributedTables } from './distribution.ts'
import { driverOptions, startupParameters } from './driver.ts'
import type { PostgresRoute } from './postgres.ts'
import {
  DISTRIBUTED_PLANNING,
  readSurroundings,
  type Settings,
  type Surroundings,
  searchPathOf,
  sessionSettings,
} from './session.ts'

const CONNECT_TIMEOUT_SECONDS = 3

/**
 * The way to a database whose sessions are short, and begin with the settings of their role. Where these are not the ones that
 * statements rely on, each transaction carries them, which costs a round trip.
 */
export async function findRoleRoute(url: string): Promise<PostgresRoute> {
  const target = parseConnectionString(url)
  const client = postgres({
    ...driverOptions(target),
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    prepare: false,
    fetch_types: false,
    connection: startupParameters(target, {}),
  })
  try {
    const surroundings = await readSurroundings((text) => client.unsafe(text))
    const searchPath = searchPathOf(target) ?? surroundings.searchPath
    const settings = {
      ...sessionSettings({ ...surroundings, searchPath }),
      ...((await hasDistributedTables(client, searchPath)) && DISTRIBUTED_PLANNING),
    }
    const carrier = isOfRole(settings, surroundings) ? 'role' : 'transaction'
    return { target, certificates: {}, settings, carrier }
  } finally {
    void client.end({ timeout: 5 })
  }
}

/** Whether sessions of the role have these settings by themselves. */
function isOfRole({ search_path, ...settings }: Settings, { searchPath, found }: Surroundings) {
  return (
    search_path === searchPath &&
    Object.entries(settings).every(([name, value]) => found[name.toLowerCase()] === String(value))
  )
}
