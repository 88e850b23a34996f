import postgres from 'postgres'
import { parseConnectionString } from './connection-string.ts'
import { driverOptions, type PostgresRoute, startupParameters } from './postgres.ts'
import { deviationsText, searchPathOf, sessionSettings } from './session.ts'

const CONNECT_TIMEOUT_SECONDS = 3

/**
 * The way to a database whose sessions are short, and begin with the settings of their role. Where these are not the ones that
 * statements rely on, each transaction carries them, which costs a round trip.
 */
export async function findRoleRoute(url: string): Promise<PostgresRoute> {
  const target = parseConnectionString(url)
  const settings = sessionSettings(searchPathOf(target))
  const client = postgres({
    ...driverOptions(target),
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    prepare: false,
    fetch_types: false,
    connection: startupParameters(target, {}),
  })
  try {
    const [found] = await client.unsafe(
      `SELECT current_setting('search_path') AS path, EXISTS (${deviationsText(settings)}) AS deviates`,
    )
    const isNamed = settings.search_path !== undefined && settings.search_path !== found?.path
    const carrier = isNamed || found?.deviates === true ? 'transaction' : 'role'
    return { target, certificates: {}, settings, carrier }
  } finally {
    void client.end({ timeout: 5 })
  }
}
