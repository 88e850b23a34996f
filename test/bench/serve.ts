import { serve } from '@hono/node-server'
import { releaseMemory } from '../../src/node/memory.ts'
import { answerCalls } from './remote.ts'
import type { OpenSide } from './sides/side.ts'

/** One side of the bench as a process: `node serve.ts <side> <number of keys> [database]`. */
export interface Server {
  address(): { port: number; path: string }
  usage(): Usage
}

export interface Usage {
  cpuMicros: number
  rssBytes: number
}

/** Loaded one by one: what another side imports must not show in this one's memory. */
const SIDES: Record<string, () => Promise<OpenSide>> = {
  empty: async () => (await import('./sides/empty.ts')).empty,
  headers: async () => (await import('./sides/headers.ts')).headers,
  map: async () => (await import('./sides/map.ts')).map,
  middleware: async () => (await import('./sides/gate.ts')).middleware,
  gate: async () => (await import('./sides/gate.ts')).gate,
  signed: async () => (await import('./sides/gate.ts')).gate,
  partitioned: async () => (await import('./sides/gate.ts')).gate,
  citus: async () => (await import('./sides/gate.ts')).gate,
  pglite: async () => (await import('./sides/gate.ts')).pglite,
  naive: async () => (await import('./sides/naive.ts')).naive,
  'better-auth': async () => (await import('./sides/better-auth.ts')).betterAuthSide,
}

const [name = '', keys, databaseUrl = ''] = process.argv.slice(2)
const load = SIDES[name]
if (load === undefined) throw new Error(`no such side: ${name}`)
const open = await load()
const side = await open({ databaseUrl, keys: Number(keys) })
await releaseMemory()
const server = serve({ fetch: side.fetch as never, port: 0, hostname: '127.0.0.1' }, ({ port }) => {
  const calls: Server = {
    address: () => ({ port, path: side.path }),
    usage() {
      const { user, system } = process.cpuUsage()
      return { cpuMicros: user + system, rssBytes: process.memoryUsage.rss() }
    },
  }
  answerCalls(calls, () => {
    server.close()
    return side.close?.()
  })
})
