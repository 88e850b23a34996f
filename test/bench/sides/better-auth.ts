import { hash } from 'node:crypto'
import { apiKey } from '@better-auth/api-key'
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { Hono } from 'hono'
import { Pool } from 'pg'
import { PREFIX, tokenOf } from '../keys.ts'
import type { OpenSide } from './side.ts'

/**
 * better-auth's own check of a key with its rate limit on, set up as its documentation says for Postgres: a pool of
 * node-postgres, here of 10 like the others'. Its keys are the first one that it made, over and over with other hashes.
 */
export const betterAuthSide: OpenSide = async ({ databaseUrl, keys }) => {
  const pool = new Pool({ connectionString: databaseUrl, max: 10 })
  const options = {
    baseURL: 'http://127.0.0.1',
    secret: 'only for a bench, where there are no secrets',
    database: pool,
    telemetry: { enabled: false },
    plugins: [
      apiKey({
        defaultPrefix: PREFIX,
        rateLimit: { enabled: true, timeWindow: 60_000, maxRequests: 1_000_000 },
      }),
    ],
  }
  const { runMigrations } = await getMigrations(options)
  await runMigrations()
  const auth = betterAuth(options)
  const { adapter } = await auth.$context
  const user = await adapter.create<Record<string, unknown>, { id: string }>({
    model: 'user',
    data: { email: 'bench@example.com', name: 'bench', emailVerified: true },
  })
  const made = await auth.api.createApiKey({ body: { userId: user.id, name: 'bench' } })
  const hashes = Array.from({ length: keys }, (_, n) => hash('sha256', tokenOf(n), 'base64url'))
  await pool.query(
    `INSERT INTO apikey SELECT (jsonb_populate_record(apikey, jsonb_build_object('id', 'bench' || n, 'key', hash))).*
     FROM apikey, unnest($1::text[]) WITH ORDINALITY AS others (hash, n) WHERE id = $2`,
    [hashes, made.id],
  )
  await pool.query('VACUUM ANALYZE apikey')

  const app = new Hono().get('/', async (c) => {
    const key = c.req.header('x-api-key') ?? ''
    const { valid } = await auth.api.verifyApiKey({ body: { key } })
    return valid ? c.json({ status: 'success' }) : c.json({ status: 'error' }, 401)
  })
  return { path: '/', fetch: app.fetch, close: () => pool.end() }
}
