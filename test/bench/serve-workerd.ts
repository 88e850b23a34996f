import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bundleOf, GATE_OBJECTS, startWorkerd } from '../worker/workerd.ts'
import { answerCalls } from './remote.ts'
import type { Server } from './serve.ts'
import { VARIABLES } from './sides/endpoint.ts'

/** The service in workerd as a side of the bench: `node serve-workerd.ts <database> <number of gate objects> <path>`. */
const [databaseUrl = '', gateObjects = '', path = ''] = process.argv.slice(2)
const folder = await mkdtemp(join(tmpdir(), 'latchkey-bench-worker-'))
const simple = { limit: 1_000_000, period: 60 as const }
const workerd = await startWorkerd(await bundleOf(folder, 'test/bench/worker.ts'), {
  hyperdrives: { HYPERDRIVE: databaseUrl },
  durableObjects: GATE_OBJECTS,
  ratelimits: {
    KEYLESS_LIMIT: { namespace_id: '1001', simple },
    FAILED_KEYS_LIMIT: { namespace_id: '1002', simple },
  },
  bindings: { ...VARIABLES, GATE_OBJECTS: gateObjects },
  unsafeDirectSockets: [{ host: '127.0.0.1', port: 0 }],
})

const calls: Server = {
  address: () => ({ port: workerd.directPort, path }),
  usage: () => ({ cpuMicros: workerd.cpuMs() * 1_000, rssBytes: workerd.rssBytes() }),
}
answerCalls(calls, async () => {
  await workerd.stop()
  await rm(folder, { recursive: true, force: true })
})
