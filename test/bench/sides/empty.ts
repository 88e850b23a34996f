import { Hono } from 'hono'
import type { OpenSide } from './side.ts'

/** A route that does nothing: what HTTP alone costs. */
export const empty: OpenSide = async () => {
  const app = new Hono().get('/', (c) => c.json({ status: 'success' }))
  return { path: '/', fetch: app.fetch }
}
