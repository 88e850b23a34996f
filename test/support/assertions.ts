import { sql } from 'drizzle-orm'
import { expect } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { type ErrorBody, REFUSALS, type RefusalReason } from '../../src/errors.ts'
import type { Service } from './service.ts'

/** Expects a refusal of the contract, headers and all, and answers its body. */
export async function refused(response: Response, reason: RefusalReason): Promise<ErrorBody> {
  const body = (await response.json()) as ErrorBody
  const { status, code, error } = REFUSALS[reason]
  expect({ status: response.status, code: body.code, error: body.error, body }).toEqual({
    status,
    code,
    error,
    body,
  })
  expect(Object.keys(body).filter((name) => name !== 'details')).toEqual([
    'error',
    'code',
    'timestamp',
    'requestId',
  ])
  expect(new Date(body.timestamp).toISOString()).toBe(body.timestamp)
  expect(body.requestId).toBe(response.headers.get('X-Request-Id'))
  carriesHeaders(response)
  const challenge =
    reason === 'permissionDenied'
      ? `Bearer error="insufficient_scope", scope="${body.details?.required}"`
      : status === 401
        ? 'Bearer realm="latchkey"'
        : null
  expect(response.headers.get('WWW-Authenticate')).toBe(challenge)
  if (status === 429 || status === 503)
    expect(response.headers.get('Retry-After')).toMatch(/^[1-9][0-9]*$/)
  else expect(response.headers.get('Retry-After')).toBeNull()
  return body
}

/** Expects a success and answers its body. */
export async function answered<Body = Record<string, unknown>>(
  response: Response,
  status = 200,
): Promise<Body> {
  const body = await response.json()
  expect({ status: response.status, body }).toEqual({ status, body })
  carriesHeaders(response)
  return body as Body
}

/** Expects what every answer of /api/v1 carries. */
export function carriesHeaders(response: Response): void {
  const { headers } = response
  expect(headers.get('X-Request-Id')).toMatch(/^req_[0-9a-f]{24}$/)
  expect(headers.get('Cache-Control')).toBe('no-store')
  expect(headers.get('Content-Type')).toMatch(/^application\/json/)
  for (const name of ['Limit', 'Remaining', 'Reset', 'Window'])
    expect(headers.get(`X-RateLimit-${name}`), name).toMatch(/^\d+$/)
  expect(headers.get('RateLimit-Policy')).toMatch(/^"minute";q=\d+;w=60(, "\w+";q=\d+;w=\d+)*$/)
  expect(headers.get('RateLimit')).toMatch(/^"minute";r=\d+;t=\d+(, "\w+";r=\d+;t=\d+)*$/)
}

/** Everything that the service keeps, its counters too: each row of each table as text. */
export async function stored(service: Service): Promise<string[]> {
  const tables = await rows<{ name: string }>(
    service.world.db,
    sql`SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1`,
  )
  const dumps = tables.map(
    ({ name }) => `SELECT '${name} ' || to_jsonb(t)::text AS row FROM "${name}" AS t`,
  )
  const dump = await rows<{ row: string }>(
    service.world.db,
    sql.raw(`${dumps.join(' UNION ALL ')} ORDER BY 1`),
  )
  return dump.map(({ row }) => row)
}

/** Written seconds after the requests that they count, so by whatever request comes then: test/usage holds them. */
const STATISTICS = /^(key_usage |key_sightings |audit_events .*\\"event\\":\\"refused\\")/

/** The same without statistics. */
export async function kept(service: Service): Promise<string[]> {
  return (await stored(service)).filter((row) => !STATISTICS.test(row))
}

/** Expects that nothing at all was changed by what is done, not even a counter. */
export async function changesNothing<T>(service: Service, act: () => Promise<T>): Promise<T> {
  const before = await kept(service)
  const answer = await act()
  expect(await kept(service)).toEqual(before)
  return answer
}

/** Expects that the database is asked nothing at all. */
export async function asksNothing<T>(service: Service, act: () => Promise<T>): Promise<T> {
  const before = service.statements.length
  const answer = await act()
  expect(service.statements.slice(before)).toEqual([])
  return answer
}
