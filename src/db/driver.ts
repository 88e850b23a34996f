import type { Options } from 'postgres'
import type { PostgresTarget } from './connection-string.ts'
import type { Settings } from './session.ts'

/** PEM texts that a connection string names by their files. */
export interface Certificates {
  ca?: string
  cert?: string
  key?: string
}

const APPLICATION = 'latchkey'

/** What the driver needs of a connection string, for a client of one connection to one of its servers. */
export function driverOptions(
  target: PostgresTarget,
  certificates: Certificates = {},
  server = target.hosts[0],
): Options<never> {
  const { host = 'localhost', port = 5432 } = server ?? {}
  const options = {
    host: [host],
    port: [port],
    ...(host.startsWith('/') && { path: `${host}/.s.PGSQL.${port}` }),
    ...(target.user !== undefined && { user: target.user }),
    ...(target.password !== undefined && { password: target.password }),
    ...(target.database !== undefined && { database: target.database }),
    ssl: tlsOf(target, certificates, host),
    max: 1,
    onnotice: () => {},
  }
  // The driver's types do not know that these may be absent.
  return options as unknown as Options<never>
}

/** The startup parameters of a session. */
export function startupParameters(
  { applicationName, serverOptions }: PostgresTarget,
  settings: Settings,
): Record<string, string | number> {
  return {
    application_name: applicationName ?? APPLICATION,
    ...(serverOptions !== undefined && { options: serverOptions }),
    ...settings,
  }
}

function tlsOf({ tls }: PostgresTarget, certificates: Certificates, host: string): unknown {
  if (tls === 'off') return false
  const verifies = tls === 'verify-ca' || tls === 'verify-full'
  if (!verifies && certificates.cert === undefined) return tls === 'prefer' ? 'prefer' : 'require'
  return {
    ...certificates,
    rejectUnauthorized: verifies,
    ...(tls === 'verify-ca' && { checkServerIdentity: () => undefined }),
    // The driver leaves the name out for an address, which would then be compared with localhost.
    ...(tls === 'verify-full' && { host }),
  }
}
