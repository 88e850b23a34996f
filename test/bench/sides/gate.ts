import type { HttpBindings } from '@hono/node-server'
import { createApp, endpoints } from '../../../src/app.ts'
import { openDatabase } from '../../../src/db/open.ts'
import { readConfig } from '../../../src/env.ts'
import type { Admission } from '../../../src/gate/decide.ts'
import type { Gate } from '../../../src/gate/gate.ts'
import type { Endpoint } from '../../../src/http/endpoint.ts'
import { openLog } from '../../../src/log.ts'
import { trustProxies } from '../../../src/node/proxies.ts'
import { chooseEngine } from '../../../src/node/recover.ts'
import { openWorld } from '../../../src/node/world.ts'
import { seedKeys } from '../keys.ts'
import { bench, VARIABLES } from './endpoint.ts'
import type { OpenSide, SideOptions } from './side.ts'

/** The service itself on Postgres. */
export const gate: OpenSide = (options) => openService(options)

/** The service itself on PGlite, which lives in its process and keeps its data in a folder. */
export const pglite: OpenSide = async (options) => openService(options, { seed: true })

/** The service itself with a gate that says yes and asks nobody: what its middleware and headers cost. */
export const middleware: OpenSide = (options) => openService(options, { gate: sayYes })

export const sayYes: Gate = async ({ now }) => {
  const windows = [
    window('minute', 60, now),
    window('hour', 3_600, now),
    window('day', 86_400, now),
  ]
  const rights = {} as Admission['rights']
  const pass = {
    keyId: 'key_1',
    walletAddress: 'ST',
    rights,
    endsAt: undefined,
    windows,
    order: undefined,
  }
  return { ok: true, value: pass, windows }
}

function window(name: 'minute' | 'hour' | 'day', lengthSeconds: number, now: number) {
  const resetAt = (Math.floor(now / 1000 / lengthSeconds) + 1) * lengthSeconds
  return { name, limit: 1_000_000, remaining: 1_000, resetAt, lengthSeconds }
}

async function openService(
  { databaseUrl, keys }: SideOptions,
  { seed = false, gate }: { seed?: boolean; gate?: Gate } = {},
) {
  const config = readConfig({ ...VARIABLES, DATABASE_URL: databaseUrl })
  const { db, close } = await openDatabase(databaseUrl)
  if (seed) await seedKeys(db, keys)
  const now = () => Date.now()
  const log = openLog(config.LOG_LEVEL, (line) => process.stdout.write(`${line}\n`), now)
  const opened = await openWorld({ config, db, log, now, recover: chooseEngine().recover })
  const world = gate === undefined ? opened : { ...opened, gate }
  const clientAddress = trustProxies(config.TRUSTED_PROXIES)
  const mounted = endpoints as Endpoint[]
  mounted.push(bench)
  const app = createApp({
    worldOf: () => world,
    addressOf: (c) =>
      clientAddress(
        (c.env as HttpBindings).incoming.socket.remoteAddress ?? '',
        c.req.header('x-forwarded-for'),
      ),
    allowedOrigins: config.ALLOWED_ORIGINS,
  })
  return { path: '/api/v1/bench', fetch: app.fetch as never, close }
}
