/** How TLS is used: `encrypt` accepts any certificate, `prefer` also none; the others verify it. */
export type TlsMode = 'off' | 'prefer' | 'encrypt' | 'verify-ca' | 'verify-full'

/** A connection string, read once for the service, migrations and the command lines. */
export interface PostgresTarget {
  hosts: { host: string; port: number }[]
  user: string | undefined
  password: string | undefined
  database: string | undefined
  tls: TlsMode
  /** Files of the root certificate, and of a client's certificate and key. */
  rootCertificate: string | undefined
  clientCertificate: string | undefined
  clientKey: string | undefined
  /** The schema that holds the tables; undefined: the first one of the role's search_path. */
  schema: string | undefined
  /** The search_path as it was given, when it names more than one schema. */
  searchPath: string | undefined
  applicationName: string | undefined
  connectTimeoutSeconds: number | undefined
  /** Whether a pooler that shares sessions lies in between; undefined: the service finds out. */
  isPooled: boolean | undefined
  /** What `options` has besides settings, as the endpoint of a hosted Postgres. */
  serverOptions: string | undefined
}

/** A fault of a connection string. Its message names a parameter and no value. */
class ConnectionStringError extends Error {}

const DEFAULT_PORT = 5432
const SCHEME = /^postgres(ql)?:\/\//

/** Of libpq and of other clients' pools: nothing that this client would do differently. */
const IGNORED = [
  ...['fallback_application_name', 'keepalives', 'keepalives_idle', 'keepalives_interval'],
  ...['keepalives_count', 'tcp_user_timeout', 'load_balance_hosts', 'sslcompression', 'sslsni'],
  ...['ssl_min_protocol_version', 'ssl_max_protocol_version', 'gssencmode', 'sslnegotiation'],
  ...['connection_limit', 'pool_timeout', 'socket_timeout', 'statement_cache_size', 'workaround'],
  ...['supa', 'uselibpqcompat'],
]

const TLS_MODES: Readonly<Record<string, TlsMode>> = {
  disable: 'off',
  allow: 'prefer',
  prefer: 'prefer',
  require: 'encrypt',
  'no-verify': 'encrypt',
  'verify-ca': 'verify-ca',
  'verify-full': 'verify-full',
}

/** Sets what a parameter of the query says; throws where it cannot be had. */
type Read = (target: PostgresTarget, value: string) => void

const PARAMETERS: Readonly<Record<string, Read>> = {
  host(target, value) {
    target.hosts = hostsOf(value)
  },
  port(target, value) {
    const ports = value.split(',').map(portOf)
    target.hosts = target.hosts.map(({ host }, at) => ({
      host,
      port: ports[at] ?? ports[0] ?? DEFAULT_PORT,
    }))
  },
  user(target, value) {
    target.user = value
  },
  password(target, value) {
    target.password = value
  },
  dbname(target, value) {
    target.database = value
  },
  sslmode(target, value) {
    target.tls = knownOf(TLS_MODES, 'sslmode', value)
  },
  ssl(target, value) {
    const modes = { ...TLS_MODES, true: 'verify-full', false: 'off', 1: 'verify-full', 0: 'off' }
    target.tls = knownOf(modes as Record<string, TlsMode>, 'ssl', value)
  },
  sslrootcert(target, value) {
    if (value === 'system') target.tls = 'verify-full'
    else target.rootCertificate = value
  },
  sslcert(target, value) {
    target.clientCertificate = value
  },
  sslkey(target, value) {
    target.clientKey = value
  },
  channel_binding(_, value) {
    knownOf({ disable: true, prefer: true, require: true }, 'channel_binding', value)
  },
  target_session_attrs(_, value) {
    const attributes = { any: true, 'read-write': true, primary: true }
    if (!(value in attributes))
      fault('target_session_attrs', 'must be read-write, primary or any: the service writes')
  },
  pgbouncer(target, value) {
    target.isPooled = knownOf({ true: true, false: false }, 'pgbouncer', value)
  },
  schema(target, value) {
    target.schema = value
  },
  search_path: readSearchPath,
  options: readOptions,
  application_name(target, value) {
    target.applicationName = value
  },
  connect_timeout(target, value) {
    if (!/^\d{1,6}$/.test(value)) fault('connect_timeout', 'must be a whole number of seconds')
    target.connectTimeoutSeconds = Number(value)
  },
  client_encoding(_, value) {
    if (!/^(utf-?8|auto|unicode)$/i.test(value)) fault('client_encoding', 'must be UTF8')
  },
}

/**
 * Reads a connection string as libpq, hosted databases and poolers write it. Throws with a sentence that says what to do,
 * and holds no value of it: it has a password.
 */
export function parseConnectionString(text: string): PostgresTarget {
  const { authority, database, query } = partsOf(text)
  const { hosts, user, password } = authorityOf(authority)
  const target: PostgresTarget = {
    hosts,
    user,
    password,
    database,
    tls: 'off',
    rootCertificate: undefined,
    clientCertificate: undefined,
    clientKey: undefined,
    schema: undefined,
    searchPath: undefined,
    applicationName: undefined,
    connectTimeoutSeconds: undefined,
    isPooled: undefined,
    serverOptions: undefined,
  }
  // host before port, whatever their order: a port belongs to a host.
  const given = [...query].sort(([a], [b]) => Number(a === 'port') - Number(b === 'port'))
  for (const [name, value] of given) {
    const read = Object.hasOwn(PARAMETERS, name) ? PARAMETERS[name] : undefined
    if (read !== undefined) read(target, value)
    else if (!IGNORED.includes(name))
      fault(name, 'is not a parameter that this service knows: remove it')
  }
  return withVerification(target, query.get('sslmode'), query.get('channel_binding'))
}

/** The sentence with which a connection string is refused; undefined where it can be used. */
export function connectionStringProblem(text: string): string | undefined {
  if (!SCHEME.test(text)) return undefined
  try {
    parseConnectionString(text)
    return undefined
  } catch (error) {
    if (error instanceof ConnectionStringError) return error.message
    throw error
  }
}

/**
 * As libpq, a root certificate turns `require` into `verify-ca`. The driver has no channel binding, whose purpose is that no
 * party in between passes for the server: a verified certificate and host name give the same.
 */
function withVerification(
  target: PostgresTarget,
  sslmode: string | null,
  binding: string | null,
): PostgresTarget {
  if (binding === 'require') {
    if (sslmode === 'disable')
      fault('channel_binding', 'needs TLS: set sslmode=verify-full, or remove channel_binding')
    return { ...target, tls: 'verify-full' }
  }
  const hasRoot = target.rootCertificate !== undefined
  return hasRoot && target.tls === 'encrypt' ? { ...target, tls: 'verify-ca' } : target
}

interface Parts {
  authority: string
  database: string | undefined
  query: URLSearchParams
}

/** Not by `new URL`, which takes one host. */
function partsOf(text: string): Parts {
  if (!SCHEME.test(text))
    throw new ConnectionStringError('must be postgres://user:password@host/database')
  const rest = text.replace(SCHEME, '')
  if (rest.includes('#')) fault('#', 'in a user name or password must be written as %23')
  const [before = '', ...queries] = rest.split('?')
  if (queries.length > 1) fault('?', 'in a user name or password must be written as %3F')
  const slash = before.indexOf('/')
  const authority = slash === -1 ? before : before.slice(0, slash)
  const path = slash === -1 ? '' : before.slice(slash + 1)
  if (path.includes('/') || path.includes('@'))
    fault('/', 'in a user name or password must be written as %2F')
  return {
    authority,
    database: path === '' ? undefined : decoded('the database', path),
    query: new URLSearchParams(queries[0] ?? ''),
  }
}

function authorityOf(authority: string): Pick<PostgresTarget, 'hosts' | 'user' | 'password'> {
  const at = authority.lastIndexOf('@')
  const login = at === -1 ? '' : authority.slice(0, at)
  if (login.includes('@')) fault('@', 'in a user name or password must be written as %40')
  const colon = login.indexOf(':')
  const user = colon === -1 ? login : login.slice(0, colon)
  return {
    hosts: hostsOf(authority.slice(at + 1)),
    user: user === '' ? undefined : decoded('the user name', user),
    password: colon === -1 ? undefined : decoded('the password', login.slice(colon + 1)),
  }
}

/** `db:5432`, `[::1]:5432`, `%2Frun%2Fpostgresql`, or several of them. */
function hostsOf(text: string): PostgresTarget['hosts'] {
  return text.split(',').map((one) => {
    const parts = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/.exec(one)
    if (parts === null) fault('host', 'must be a name or an address; of IPv6 in brackets')
    const [, bracketed, plain = '', port] = parts
    const host = bracketed ?? decoded('the host', plain)
    return {
      host: host === '' ? 'localhost' : host,
      port: port === undefined || port === '' ? DEFAULT_PORT : portOf(port),
    }
  })
}

function portOf(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65_535) fault('port', 'must be 1 to 65535, after the host and a colon')
  return port
}

function decoded(what: string, text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return fault(what, 'has a % that encodes nothing: write it as %25')
  }
}

/** `-c name=value`, `-cname=value` and `--name=value` are settings; whatever else it has is for the server. */
function readOptions(target: PostgresTarget, value: string): void {
  const words = value
    .trim()
    .split(/(?<!\\)\s+/)
    .map((word) => word.replaceAll(/\\(.)/g, '$1'))
  const others: string[] = []
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    const setting = word === '-c' ? words[++at] : /^(?:-c|--)(.+)$/.exec(word)?.[1]
    if (setting === undefined) others.push(word)
    else readSetting(target, setting)
  }
  if (others.some((word) => word !== '')) target.serverOptions = others.join(' ')
}

function readSetting(target: PostgresTarget, setting: string): void {
  const [name = '', ...value] = setting.split('=')
  if (name.replaceAll('-', '_').toLowerCase() !== 'search_path')
    fault(
      `options: ${name}`,
      'cannot be set: the service has its own settings, besides search_path',
    )
  readSearchPath(target, value.join('='))
}

function readSearchPath(target: PostgresTarget, value: string): void {
  if (/^[a-z_][a-z0-9_$]*$/.test(value.trim())) target.schema = value.trim()
  else target.searchPath = value
}

function knownOf<T>(known: Readonly<Record<string, T>>, name: string, value: string): T {
  if (!Object.hasOwn(known, value))
    fault(name, `must be one of ${Object.keys(known).filter(isWord).join(', ')}`)
  return known[value] as T
}

const isWord = (name: string) => /^[a-z]/.test(name)

function fault(name: string, problem: string): never {
  throw new ConnectionStringError(`${name} ${problem}`)
}
