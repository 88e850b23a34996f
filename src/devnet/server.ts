import type { HttpBindings } from '@hono/node-server'
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { openFaults } from './faults.ts'
import type { Devnet } from './node.ts'
import { applyFaults } from './server/apply-faults.ts'
import { extendedApi } from './server/extended-api.ts'
import { faultApi } from './server/fault-api.ts'
import { nodeApi } from './server/node-api.ts'
import { trialApi } from './server/trial-api.ts'

const MAX_BODY_BYTES = 2 * 1024 * 1024

/** The parts of a Stacks node and of its API that stacks.js and the service use. */
export function createServer(devnet: Devnet): Hono<{ Bindings: HttpBindings }> {
  const app = new Hono<{ Bindings: HttpBindings }>()
  const faults = openFaults()
  app.onError((fault, c) => c.json({ error: fault.message }, 500))
  app.notFound((c) => c.json({ error: 'not found' }, 404))
  app.use(
    bodyLimit({ maxSize: MAX_BODY_BYTES, onError: (c) => c.json({ error: 'too large' }, 413) }),
  )
  app.use(applyFaults(devnet, faults))
  app.route('/v2', nodeApi(devnet, faults))
  app.route('/extended', extendedApi(devnet))
  app.route('/faults', faultApi(devnet, faults))
  app.route('/', trialApi(devnet, faults))
  return app
}
