import { hash } from 'node:crypto'
import { Hono } from 'hono'
import { tokenOf } from '../keys.ts'
import type { OpenSide } from './side.ts'

/** Keys and counters in this process's memory: neither durable nor shared, and the most that any cache could reach. */
export const map: OpenSide = async ({ keys }) => {
  const known = new Map<string, { minute: number; used: number }>()
  for (let n = 0; n < keys; n++) known.set(hash('sha256', tokenOf(n)), { minute: 0, used: 0 })
  const app = new Hono().get('/', (c) => {
    const key = known.get(hash('sha256', c.req.header('x-api-key') ?? ''))
    const minute = Math.floor(Date.now() / 60_000)
    if (key === undefined) return c.json({ status: 'error' }, 401)
    if (key.minute !== minute) Object.assign(key, { minute, used: 0 })
    key.used += 1
    if (key.used > 1_000_000) return c.json({ status: 'error' }, 429)
    return c.json({ status: 'success' })
  })
  return { path: '/', fetch: app.fetch }
}
