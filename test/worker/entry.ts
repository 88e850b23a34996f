import libsecp256k1 from '@bitauth/libauth/build/lib/bin/secp256k1/secp256k1.wasm'
import { openWasmRecover } from '../../src/worker/recover.ts'
import { type Bindings, createWorker, type ExecutionContext } from '../../src/worker/serve.ts'

/** What a test sees of a request besides its answer. */
export interface Trace {
  statements: string[]
  logged: string[]
}

let now = 0
let trace: Trace = { statements: [], logged: [] }

/** The worker of src/worker.ts in the hands of a test: it has the test's clock, and before each body goes what it did. */
const worker = createWorker({
  ownNow: () => now,
  fixedTime: () => now,
  engine: { name: 'libsecp256k1 in WebAssembly', recover: openWasmRecover(libsecp256k1) },
  write: (line) => trace.logged.push(line),
  onStatement: (text) => trace.statements.push(text),
})

export default {
  async fetch(request: Request, bindings: Bindings, context: ExecutionContext): Promise<Response> {
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
