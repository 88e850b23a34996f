import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { serve } from '@hono/node-server'
import type { Config } from '../env.ts'

const SWEEP_MS = 50
/** Longer than proxies keep an idle connection: the side that sends requests should be the one that closes it. */
const KEEP_ALIVE_MS = 65_000

export interface Listening {
  port: number
  /** Stops accepting requests and resolves when those under way have been answered. */
  finish(): Promise<void>
}

/** Serves the app at HOST and PORT. Rejects with a sentence when the port is taken. */
export function listen(
  app: { fetch: Parameters<typeof serve>[0]['fetch'] },
  { HOST, PORT }: Pick<Config, 'HOST' | 'PORT'>,
): Promise<Listening> {
  return new Promise((resolve, reject) => {
    const server = serve({
      fetch: app.fetch,
      hostname: HOST,
      port: PORT,
      serverOptions: { keepAliveTimeout: KEEP_ALIVE_MS },
    }) as Server
    server.once('error', (error: NodeJS.ErrnoException) => reject(refusal(error, HOST, PORT)))
    server.once('listening', () => {
      const { port } = server.address() as AddressInfo
      resolve({ port, finish: () => finish(server) })
    })
  })
}

function refusal(error: NodeJS.ErrnoException, host: string, port: number): Error {
  return new Error(
    error.code === 'EADDRINUSE'
      ? `Port ${port} of ${host} is taken. Stop what listens there, or set PORT to another one.`
      : `Cannot listen on port ${port} of ${host}: ${error.message}.`,
    { cause: error },
  )
}

/** server.close closes connections that are idle now; the sweep closes those that become idle later. */
function finish(server: Server): Promise<void> {
  const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS)
  return new Promise((resolve) => {
    server.close(() => {
      clearInterval(sweep)
      resolve()
    })
  })
}
