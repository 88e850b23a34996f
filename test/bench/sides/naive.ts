import { hash } from 'node:crypto'
import { Hono } from 'hono'
import postgres from 'postgres'
import type { OpenSide } from './side.ts'

/**
 * What most would write: one guarded UPDATE a request, prepared, on a pool of 10, of one table with rights and counters. One
 * window, no address list, no headers.
 */
export const naive: OpenSide = async ({ databaseUrl }) => {
  const sql = postgres(databaseUrl, { max: 10, onnotice: () => {} })
  await sql`CREATE TABLE IF NOT EXISTS plain_keys (LIKE api_keys INCLUDING ALL)`
  await sql`INSERT INTO plain_keys SELECT * FROM api_keys ON CONFLICT DO NOTHING`
  await sql`VACUUM ANALYZE plain_keys`
  const app = new Hono().get('/', async (c) => {
    const keyHash = hash('sha256', c.req.header('x-api-key') ?? '', 'buffer')
    const minute = Math.floor(Date.now() / 60_000)
    const [key] = await sql`
      UPDATE plain_keys SET
        minute_count = CASE WHEN minute_window = ${minute} THEN minute_count + 1 ELSE 1 END,
        minute_window = ${minute}, total_requests = total_requests + 1, last_used_at = now()
      WHERE key_hash = ${keyHash} AND revoked_at IS NULL AND suspended_at IS NULL
        AND (expires_at IS NULL OR expires_at > now())
        AND (minute_window <> ${minute} OR minute_count < 1000000)
      RETURNING id, wallet_address, permissions, minute_count`
    return key === undefined ? c.json({ status: 'error' }, 401) : c.json({ status: 'success' })
  })
  return { path: '/', fetch: app.fetch, close: () => sql.end({ timeout: 1 }) }
}
