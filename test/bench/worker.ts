import { endpoints } from '../../src/app.ts'
import type { Endpoint } from '../../src/http/endpoint.ts'
import { gateObjectClass } from '../../src/worker/durable-object.ts'
import { createWorker } from '../../src/worker/serve.ts'
import { bench } from './sides/endpoint.ts'

;(endpoints as Endpoint[]).push(bench)

/** The worker of src/worker.ts with the bench's call. It checks no signature. */
const worker = createWorker({
  ownNow: () => Date.now(),
  engine: { name: 'none', recover: () => undefined },
  write: () => {},
})

export const GateObject = gateObjectClass(worker)
export default worker
