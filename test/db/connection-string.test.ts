import { describe, expect, it } from 'vitest'
import { connectionStringProblem, parseConnectionString } from '../../src/db/connection-string.ts'
import { driverOptions, startupParameters } from '../../src/db/driver.ts'

const PASSWORD = 'hunter2'
const of = (query = '', hosts = 'db.example') =>
  `postgres://app:${PASSWORD}@${hosts}/dex${query === '' ? '' : `?${query}`}`

describe('a connection string', () => {
  it.each([
    ['postgres://app@db.example', { hosts: [{ host: 'db.example', port: 5432 }], user: 'app' }],
    [of(), { user: 'app', password: PASSWORD, database: 'dex', tls: 'off', isPooled: undefined }],
    [
      'postgresql://a%40b:p%3Aq%25@h:6543/d%20b',
      { user: 'a@b', password: 'p:q%', database: 'd b' },
    ],
    [of('', '[2001:db8::1]:5433'), { hosts: [{ host: '2001:db8::1', port: 5433 }] }],
    [
      of('target_session_attrs=read-write', 'a.example:5602,b.example'),
      {
        hosts: [
          { host: 'a.example', port: 5602 },
          { host: 'b.example', port: 5432 },
        ],
      },
    ],
    [
      'postgres:///dex?host=/run/postgresql&user=app',
      { hosts: [{ host: '/run/postgresql', port: 5432 }] },
    ],
    ['postgres://%2Frun%2Fpg:5433/dex', { hosts: [{ host: '/run/pg', port: 5433 }] }],
    [
      'postgres:///dex?port=1,2&host=a,b',
      {
        hosts: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
      },
    ],
    [of('sslmode=require'), { tls: 'encrypt' }],
    [of('sslmode=prefer'), { tls: 'prefer' }],
    [
      of('sslmode=verify-full&sslrootcert=system'),
      { tls: 'verify-full', rootCertificate: undefined },
    ],
    [of('sslmode=require&sslrootcert=/ca.pem'), { tls: 'verify-ca', rootCertificate: '/ca.pem' }],
    [of('sslmode=require&channel_binding=require'), { tls: 'verify-full' }],
    [of('sslmode=require&channel_binding=prefer'), { tls: 'encrypt' }],
    [of('pgbouncer=true&connection_limit=1&pool_timeout=0'), { isPooled: true }],
    [of('pgbouncer=false'), { isPooled: false }],
    [of('schema=dex'), { schema: 'dex' }],
    [of('search_path=dex,extensions'), { searchPath: 'dex,extensions' }],
    [of('options=-csearch_path%3Ddex'), { schema: 'dex', serverOptions: undefined }],
    [of('options=-c%20search_path%3Ddex'), { schema: 'dex' }],
    [of('options=--search-path%3D"Dex"'), { searchPath: '"Dex"' }],
    [of('options=endpoint%3Dep-cool-1'), { serverOptions: 'endpoint=ep-cool-1' }],
    [
      of('application_name=bot&connect_timeout=10'),
      { applicationName: 'bot', connectTimeoutSeconds: 10 },
    ],
    [of('keepalives=1&gssencmode=disable&client_encoding=utf8'), {}],
  ])('is read: %s', (text, expected) => {
    expect(connectionStringProblem(text)).toBeUndefined()
    expect(parseConnectionString(text)).toMatchObject(expected)
  })

  it.each([
    ['mysql://app:hunter2@h/d', 'must be postgres://user:password@host/database'],
    [
      of('sslmode=maybe'),
      'sslmode must be one of disable, allow, prefer, require, no-verify, verify-ca, verify-full',
    ],
    [
      of('sslmode=disable&channel_binding=require'),
      'channel_binding needs TLS: set sslmode=verify-full, or remove channel_binding',
    ],
    [
      of('target_session_attrs=standby'),
      'target_session_attrs must be read-write, primary or any: the service writes',
    ],
    [of('pgbouncer=maybe'), 'pgbouncer must be one of true, false'],
    [
      of('statement_timeout=1'),
      'statement_timeout is not a parameter that this service knows: remove it',
    ],
    [
      of('options=-cstatement_timeout%3D1'),
      'options: statement_timeout cannot be set: the service has its own settings, besides search_path',
    ],
    [of('service=prod'), 'service is not a parameter that this service knows: remove it'],
    [of('__proto__=x'), '__proto__ is not a parameter that this service knows: remove it'],
    [of('client_encoding=LATIN1'), 'client_encoding must be UTF8'],
    [of('connect_timeout=soon'), 'connect_timeout must be a whole number of seconds'],
    [of('', 'h:0'), 'port must be 1 to 65535, after the host and a colon'],
    [of('', 'h:70000'), 'port must be 1 to 65535, after the host and a colon'],
    [of('', '2001:db8::1'), 'port must be 1 to 65535, after the host and a colon'],
    ['postgres://app:hunter#2@h/d', '# in a user name or password must be written as %23'],
    ['postgres://app:hun?ter2@h/d?schema=x', '? in a user name or password must be written as %3F'],
    ['postgres://app:hun/ter2@h/d', '/ in a user name or password must be written as %2F'],
    ['postgres://app:hun@ter2@h/d', '@ in a user name or password must be written as %40'],
    ['postgres://app:100%@h/d', 'the password has a % that encodes nothing: write it as %25'],
  ])('is refused with a sentence, without its password: %s', (text, sentence) => {
    expect(() => parseConnectionString(text)).toThrow(sentence)
    expect(sentence).not.toContain(PASSWORD)
  })

  it('sends the server nothing that is for a client', () => {
    const target = parseConnectionString(
      of('sslmode=require&channel_binding=require&pgbouncer=true&schema=x&sslrootcert=system'),
    )
    expect(startupParameters(target, {})).toEqual({ application_name: 'latchkey' })
  })

  it('gives the driver one host for each connection, and leaves the choice of it to none of its own', () => {
    const several = parseConnectionString(
      of('target_session_attrs=read-write', 'a.example:1,b.example:2'),
    )
    const options = driverOptions(several, {}, several.hosts[1])
    expect(options).toMatchObject({ host: ['b.example'], port: [2] })
    expect(options).not.toHaveProperty('target_session_attrs')
    expect(driverOptions(several)).toMatchObject({ host: ['a.example'], port: [1] })
  })

  it.each([
    ['sslmode=require', 'require'],
    ['sslmode=prefer', 'prefer'],
    ['sslmode=disable', false],
    ['sslmode=verify-full', { rejectUnauthorized: true, host: 'db.example' }],
    ['sslmode=verify-ca', { rejectUnauthorized: true, checkServerIdentity: expect.any(Function) }],
  ])('means by %s what libpq means', (query, ssl) => {
    expect(driverOptions(parseConnectionString(of(query)))).toMatchObject({ ssl })
  })
})
