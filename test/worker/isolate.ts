import { inject } from 'vitest'
import { chooseEngine } from '../../src/node/recover.ts'
import type { GateObjectCalls } from '../../src/worker/gate-object.ts'
import { createWorker } from '../../src/worker/serve.ts'
import { type Service, secretsOf } from '../support/service.ts'

/** The service on Workers as an isolate of its own in this process, with a clock of its own. */
export interface Isolate {
  clock: { now: number }
  logged: string[]
  fetch(path: string, init?: RequestInit): Promise<Response>
  /** What requests have given to waitUntil. */
  outliving: Promise<unknown>[]
  /** A gate object in this isolate. */
  gateObject(): GateObjectCalls
}

export interface IsolateOptions {
  databaseUrl: string
  /** The gate objects, by their names. */
  objectOf?: (name: string) => GateObjectCalls
}

/** Opens an isolate that has the secrets of a service. */
export function openIsolate(
  service: Pick<Service, 'world'>,
  { databaseUrl, objectOf }: IsolateOptions,
): Isolate {
  const clock = { now: Date.now() }
  const logged: string[] = []
  const outliving: Promise<unknown>[] = []
  const worker = createWorker({
    ownNow: () => clock.now,
    engine: chooseEngine(),
    write: (line) => logged.push(line),
  })
  const yes = { limit: async () => ({ success: true }) }
  const bindings = {
    ...secretsOf(service),
    GATE_OBJECTS: '1',
    STACKS_API_URL: inject('devnetUrl'),
    QUOTE_URL: `${inject('devnetUrl')}/quote`,
    HYPERDRIVE: { connectionString: databaseUrl },
    KEYLESS_LIMIT: yes,
    FAILED_KEYS_LIMIT: yes,
    ...(objectOf !== undefined && {
      GATE: {
        idFromName: (name: string) => name,
        get: (id: unknown) => objectOf(String(id)),
      },
    }),
    FILES: { fetch: async () => new Response(null, { status: 404 }) },
  }
  const context = { waitUntil: (work: Promise<unknown>) => void outliving.push(work) }
  return {
    clock,
    logged,
    outliving,
    fetch: (path, init) =>
      worker.fetch(new Request(`https://latchkey.test/api/v1${path}`, init), bindings, context),
    gateObject: () => worker.gateObject(bindings),
  }
}
