import { AsyncLocalStorage } from 'node:async_hooks'
import libsecp256k1 from '@bitauth/libauth/build/lib/bin/secp256k1/secp256k1.wasm'
import { gateObjectClass } from '../../src/worker/durable-object.ts'
import type { GateObjectCalls } from '../../src/worker/gate-object.ts'
import { openWasmRecover } from '../../src/worker/recover.ts'
import { type Bindings, createWorker, type ExecutionContext } from '../../src/worker/serve.ts'

/** What a test sees of a request besides its answer. */
export interface Trace {
  statements: string[]
  logged: string[]
}

const PING = /FROM latchkey_releases\b/
const inObject = new AsyncLocalStorage<true>()

let now = 0
let trace: Trace = { statements: [], logged: [] }

/** The worker of src/worker.ts in the hands of a test: it has the test's clock, and before each body goes what it did. */
const worker = createWorker({
  ownNow: () => now,
  fixedTime: () => now,
  engine: { name: 'libsecp256k1 in WebAssembly', recover: openWasmRecover(libsecp256k1) },
  write: (line) => trace.logged.push(line),
  onStatement(text) {
    // A gate object pings the database now and then, for no request.
    if (inObject.getStore() === undefined || !PING.test(text)) trace.statements.push(text)
  },
})

/** The gate object of src/worker.ts, which a test can end. */
export class GateObject extends gateObjectClass(worker) {
  override probe(...given: Parameters<GateObjectCalls['probe']>) {
    return inObject.run(true, () => super.probe(...given))
  }

  override decide(...given: Parameters<GateObjectCalls['decide']>) {
    return inObject.run(true, () => super.decide(...given))
  }

  die() {
    this.ctx.abort('killed by a test')
  }
}

export default {
  async fetch(request: Request, bindings: Bindings, context: ExecutionContext): Promise<Response> {
    const killed = request.headers.get('x-test-kill')
    if (killed !== null) return kill(bindings, killed)
    now = Number(request.headers.get('x-test-now') ?? Date.now())
    const response = await worker.fetch(request, bindings, context)
    const told = new TextEncoder().encode(JSON.stringify(trace))
    trace = { statements: [], logged: [] }
    const headers = new Headers(response.headers)
    headers.set('x-test-status', String(response.status))
    headers.set('x-test-trace', String(told.length))
    return new Response(new Blob([told, await response.arrayBuffer()]), { headers })
  },

  async scheduled(
    event: { scheduledTime: number },
    bindings: Bindings,
    context: ExecutionContext,
  ): Promise<void> {
    now = event.scheduledTime
    await worker.scheduled(event, bindings, context)
  },
}

async function kill({ GATE }: Bindings, name: string): Promise<Response> {
  const object = GATE?.get(GATE.idFromName(name)) as unknown as { die(): Promise<void> }
  await object.die().catch(() => {})
  return new Response('killed')
}
