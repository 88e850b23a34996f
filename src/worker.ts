import libsecp256k1 from '@bitauth/libauth/build/lib/bin/secp256k1/secp256k1.wasm'
import { gateObjectClass } from './worker/durable-object.ts'
import { openWasmRecover } from './worker/recover.ts'
import { createWorker } from './worker/serve.ts'

const worker = createWorker({
  ownNow: () => Date.now(),
  engine: { name: 'libsecp256k1 in WebAssembly', recover: openWasmRecover(libsecp256k1) },
  // biome-ignore lint/suspicious/noConsole: it is a worker's standard output
  write: (line) => console.log(line),
})

export const GateObject = gateObjectClass(worker)
export default worker
