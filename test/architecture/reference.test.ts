import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { ACTIONS } from '../../src/actions/action.ts'
import { endpoints } from '../../src/app.ts'
import { readConfig } from '../../src/env.ts'
import { REFUSALS } from '../../src/errors.ts'
import type { Credential } from '../../src/http/endpoint.ts'
import { openApiDocument } from '../../src/http/openapi.ts'
import { blocksIn, commandsIn, curlIn, tableOf } from './pages.ts'
import { ROOMS } from './rooms.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFileSync(`${ROOT}/${path}`, 'utf8')
const sources = globSync('src/**/*.ts', { cwd: ROOT })
const { schemas } = (
  openApiDocument(endpoints) as { components: { schemas: Record<string, MessageSchema> } }
).components

interface MessageSchema {
  properties?: Record<string, unknown>
  required?: string[]
}

/** The first words of a cell: those that are separated by commas. */
const listed = (cell = '') => cell.split(', ').filter((part) => part !== '-' && part !== '')
const columns = (rows: string[][], ...which: number[]) =>
  rows.map((row) => which.map((at) => row[at])).sort()

/** What a wallet can say of a key besides its name and permissions. */
const LIMITS = membersOf('create_api_key').filter(
  (name) => !['keyName', 'permissions', 'keyHash', 'auditHead'].includes(name),
)

describe('docs/api.md', () => {
  const api = read('docs/api.md')
  const CREDENTIALS: Record<Credential, string> = {
    none: 'none',
    key: 'API key',
    wallet: 'signed message',
    session: 'session',
    service: 'service credential',
  }

  it('has every endpoint with its credentials and messages, and no other', () => {
    const documented = tableOf(api, 'request', 'credentials').rows.map(
      ([request = '', credentials, message]) => ({
        request: request,
        credentials: listed(credentials).sort(),
        messages: listed(message),
      }),
    )
    const served = endpoints.map(({ method, path, credentials, messages = [] }) => ({
      request: `${method.toUpperCase()} ${path}`,
      credentials: credentials.map((one) => CREDENTIALS[one]).sort(),
      messages: messages.map((schema) => actionOf(schema.meta()?.id)),
    }))
    const byRequest = (a: { request: string }, b: { request: string }) =>
      a.request < b.request ? -1 : 1
    expect(documented.sort(byRequest)).toEqual(served.sort(byRequest))
  })

  it('has every status that an endpoint responds with on success', () => {
    const { rows } = tableOf(api, 'request', 'credentials')
    for (const { method, path, responses } of endpoints) {
      const row = rows.find(([request]) => request === `${method.toUpperCase()} ${path}`)
      const statuses = row?.[3]?.match(/\b[12]\d\d(?=:)/g) ?? []
      expect([path, ...statuses.sort()]).toEqual([path, ...Object.keys(responses).sort()])
    }
  })

  it('has every message that a wallet can sign, with its members', () => {
    const { rows } = tableOf(api, 'action', 'members')
    expect(rows.map(([action]) => action).sort()).toEqual([...ACTIONS].sort())
    for (const [action = '', members = ''] of rows) {
      const named = listed(members.replaceAll(/ \([^)]*\)|^none$/g, ''))
      const elsewhere = members.includes('(#limits-of-a-key)') ? LIMITS : []
      const signed = membersOf(action).filter((name) => !elsewhere.includes(name))
      const isRequired = (name: string) => schemas[`${action}_message`]?.required?.includes(name)
      expect([action, ...named.filter((name) => /^\w+\??$/.test(name)).sort()]).toEqual([
        action,
        ...signed.map((name) => (isRequired(name) ? name : `${name}?`)).sort(),
      ])
    }
  })

  it('has every limit that a message can set', () => {
    const { rows } = tableOf(api, 'member', 'meaning')
    const documented = rows.flatMap(([members]) => listed(members))
    expect(LIMITS.length).toBeGreaterThan(5)
    expect(LIMITS.filter((name) => !documented.includes(name))).toEqual([])
  })

  it('has every member of an order', () => {
    const { rows } = tableOf(api, 'member', 'rule')
    const documented = rows.flatMap(([members]) => listed(members))
    expect(documented.sort()).toEqual(Object.keys(schemas.NewOrder?.properties ?? {}).sort())
  })
})

describe('docs/errors.md', () => {
  const errors = read('docs/errors.md')

  it('has every code with its status and its texts, and no other', () => {
    const refusals = Map.groupBy(Object.values(REFUSALS), ({ code }) => code)
    const known = [...refusals].map(([code, those]) => [
      code,
      String(those[0]?.status),
      [...new Set(those.map(({ error }) => error))].sort().join('; '),
    ])
    expect(columns(tableOf(errors, 'code', 'status').rows, 0, 1, 2)).toEqual(known.sort())
  })

  it('has only reasons that the source knows, of codes that there are', () => {
    const codes = new Set<string>(Object.values(REFUSALS).map(({ code }) => code))
    const source = sources.map(read).join('\n')
    for (const [code = '', reasons = ''] of tableOf(errors, 'code', 'details.reason').rows) {
      expect(codes).toContain(code)
      for (const reason of listed(reasons).filter((one) => /^[a-z_]+$/.test(one)))
        expect(reason === 'absent' || source.includes(`'${reason}'`), reason).toBe(true)
    }
  })
})

describe('docs/configuration.md', () => {
  const { rows } = tableOf(read('docs/configuration.md'), 'variable', 'value', 'default')
  const defaults: Record<string, unknown> = { ...readConfig({}) }

  it('has every variable of src/env.ts, and no other', () => {
    const schema = /const Environment = z\.object\(\{[\s\S]*?\n\}\)/.exec(read('src/env.ts'))?.[0]
    const known = [...(schema ?? '').matchAll(/^ {2}([A-Z][A-Z0-9_]+): /gm)].map(([, name]) => name)
    expect(known.length).toBeGreaterThan(30)
    expect(rows.map(([name]) => name).sort()).toEqual([...new Set(known)].sort())
  })

  it.each(rows)('has the default of %s', (name = '', _value, given = '') => {
    const value = defaults[name]
    const isMadeOnDevnet = given.startsWith('devnet: ')
    if (isMadeOnDevnet || value === undefined) {
      expect(isMadeOnDevnet || given === 'none').toBe(true)
      expect([isMadeOnDevnet, name]).toEqual([OF_DEVNET.includes(name), name])
    } else expect(given).toBe([value].flat().join(',') || 'none')
  })

  it.each(
    rows.flatMap(([name = '', value = '']) => {
      const [, least, most] = /^(\d+) to (\d+)$/.exec(value) ?? []
      return least === undefined ? [] : [[name, Number(least), Number(most)] as const]
    }),
  )('has the range of %s: %d to %d', (name, least, most) => {
    for (const value of [least, most])
      expect(() => readConfig({ [name]: `${value}` })).not.toThrow()
    for (const value of [least - 1, most + 1])
      expect(() => readConfig({ [name]: `${value}` })).toThrow(`${name}: `)
  })

  it.each(
    rows.flatMap(([name = '', value = '']) =>
      /^[a-z, ]+ or [a-z]+$/.test(value)
        ? value.split(/, | or /).map((one) => [name, one] as const)
        : [],
    ),
  )('has a value of %s: %s', (name, value) => {
    const fault = `${name}: Invalid`
    expect(() => readConfig({ [name]: value })).not.toThrow(fault)
    expect(() => readConfig({ [name]: `${value}x` })).toThrow(fault)
  })
})

/** What a devnet makes or publishes. */
const OF_DEVNET = [
  'ACCOUNT_TOKENS',
  'STACKS_API_URL',
  'QUOTE_URL',
  'ROUTER_CONTRACT',
  'INTENT_VERIFIER_CONTRACT',
  'OPERATOR_PRIVATE_KEY',
  'OPERATOR_PRIVATE_KEYS',
  'ENCRYPTION_KEY',
]

it('docs/operations.md has every event of the log with its level', () => {
  const known = new Map<string, Set<string>>()
  for (const source of sources.map(read))
    for (const [event, level] of eventsIn(source))
      known.set(event, (known.get(event) ?? new Set()).add(level))
  const { rows } = tableOf(read('docs/operations.md'), 'event', 'level')
  const documented = rows.flatMap(([events = '', levels = '']) =>
    listed(events).map((event) => [event, listed(levels).sort()]),
  )
  expect(documented.sort()).toEqual(
    [...known].map(([event, levels]) => [event, [...levels].sort()]).sort(),
  )
})

it('ARCHITECTURE.md has every room in the order of its table, and no other', () => {
  const { rows } = tableOf(read('ARCHITECTURE.md'), 'room', 'content')
  const path = (room: string) =>
    sources.some((file) => file.startsWith(`src/${room}/`))
      ? `src/${room}/`
      : `src/${room.replace(/\.ts$/, '')}.ts`
  expect(rows.map(([room]) => room)).toEqual(Object.keys(ROOMS).map(path))
})

it.each(
  globSync(['*.md', 'docs/*.md'], { cwd: ROOT }),
)('every curl of %s asks for something that the service serves', (page) => {
  const asked = blocksIn(read(page))
    .flatMap(commandsIn)
    .flatMap((command) => curlIn(command) ?? [])
  for (const { method, url } of asked) {
    const path = url.replace(/^https?:\/\/[^/]+/, '')
    const isServed =
      ['/health', '/ready', '/openapi.json'].includes(path) ||
      endpoints.some(
        (endpoint) =>
          endpoint.method.toUpperCase() === method &&
          new RegExp(`^/api/v1${endpoint.path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path),
      )
    expect([isServed, method, url]).toEqual([true, method, url])
  }
})

function actionOf(id: string | undefined): string {
  return String(id).replace(/_message$/, '')
}

/** The members of an action's message beyond those of every message. */
function membersOf(action: string): string[] {
  const common = ['action', 'timestamp', 'domain', 'network', 'walletAddress']
  const { properties = {} } = schemas[`${action}_message`] ?? {}
  return Object.keys(properties).filter((name) => !common.includes(name))
}

/** Events that a source logs, each with its levels. Of a choice of events, each goes with the level in its place. */
function eventsIn(source: string): [event: string, level: string][] {
  const found: [string, string][] = []
  for (const [, levelText = '', eventText = ''] of source.matchAll(
    /\blog\(\s*([^,()]*'(?:debug|info|warn|error)'[^,()]*),\s*([^,()]*'[a-z_]+'[^,()]*)/g,
  )) {
    const levels = [...levelText.matchAll(/'(debug|info|warn|error)'/g)].map(([, one = '']) => one)
    const events = [...eventText.matchAll(/'([a-z_]+)'/g)].map(([, one = '']) => one)
    if (events.length > 1)
      found.push(...events.map((event, at): [string, string] => [event, levels[at] ?? '']))
    else found.push(...levels.map((level): [string, string] => [events[0] ?? '', level]))
  }
  for (const [, event = ''] of source.matchAll(/\bguarded\(services, '([a-z_]+)'/g))
    found.push([event, 'error'])
  for (const [, level = '', event = ''] of source.matchAll(/level: '(\w+)', event: '(\w+)'/g))
    found.push([event, level])
  return found
}
