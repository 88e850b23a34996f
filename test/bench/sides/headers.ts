import { Hono } from 'hono'
import type { OpenSide } from './side.ts'

const HEADERS = {
  'Cache-Control': 'no-store',
  'X-Request-Id': 'req_0123456789abcdef01234567',
  'X-RateLimit-Limit': '1000000',
  'X-RateLimit-Remaining': '999999',
  'X-RateLimit-Reset': '1767225600',
  'X-RateLimit-Window': '60',
  'RateLimit-Policy':
    '"minute";q=1000000;w=60, "hour";q=10000000;w=3600, "day";q=100000000;w=86400',
  RateLimit: '"minute";r=999999;t=42, "hour";r=9999999;t=2442, "day";r=99999999;t=38442',
  'Content-Type': 'application/json',
}

/** A route that does nothing and responds with the headers of the service, as constants: what they cost HTTP. */
export const headers: OpenSide = async () => {
  const body = JSON.stringify({ status: 'success' })
  const app = new Hono().get('/', async () => new Response(body, { headers: { ...HEADERS } }))
  return { path: '/', fetch: app.fetch }
}
