import type { Recover } from '../stacks/recover.ts'

/** What `secp256k1.wasm` of @bitauth/libauth 3.0.0 exports: libsecp256k1, built by emscripten. Pointers are numbers. */
interface Libsecp256k1 {
  _malloc(bytes: number): number
  _secp256k1_context_create(flags: number): number
  _secp256k1_ecdsa_recoverable_signature_parse_compact(
    context: number,
    signatureOut: number,
    compact: number,
    recovery: number,
  ): number
  _secp256k1_ecdsa_recover(
    context: number,
    keyOut: number,
    signature: number,
    digest: number,
  ): number
  _secp256k1_ec_pubkey_serialize(
    context: number,
    out: number,
    lengthInOut: number,
    key: number,
    flags: number,
  ): number
}

// The memory map that emscripten chose when it built the file: data, then the stack, then the heap.
const PAGE_BYTES = 65_536
const MEMORY_PAGES = 256
const DATA_START = 1_024
const HEAP_POINTER = DATA_START + 67_696 + 16
const STACK_START = (HEAP_POINTER + 4 + 15) & -16
const HEAP_START = STACK_START + 5_242_880
const FUNCTIONS = 6

// secp256k1.h
const CONTEXT_VERIFY = 0x0101
const COMPRESSED = 0x0102
const COMPRESSED_BYTES = 33

/**
 * libsecp256k1 as WebAssembly. Its tables take some milliseconds to build and are built for the first signature: an
 * isolate that never sees one never pays.
 */
export function openWasmRecover(module: WebAssembly.Module): Recover {
  let recover: Recover | undefined
  return (digest, compact, recovery) => {
    recover ??= instantiate(module)
    return recover(digest, compact, recovery)
  }
}

function instantiate(module: WebAssembly.Module): Recover {
  const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES, maximum: MEMORY_PAGES })
  const bytes = new Uint8Array(memory.buffer)
  const words = new Int32Array(memory.buffer)
  words[HEAP_POINTER / 4] = HEAP_START
  const lib = new WebAssembly.Instance(module, imports(memory, bytes))
    .exports as unknown as Libsecp256k1

  const context = lib._secp256k1_context_create(CONTEXT_VERIFY)
  const [compactAt = 0, digestAt = 0, signatureAt = 0, keyAt = 0, outAt = 0, lengthAt = 0] = [
    64,
    32,
    65,
    64,
    COMPRESSED_BYTES,
    4,
  ].map((length) => lib._malloc(length))

  return function wasmRecover(digest, compact, recovery) {
    bytes.set(compact, compactAt)
    bytes.set(digest, digestAt)
    const isParsed = lib._secp256k1_ecdsa_recoverable_signature_parse_compact(
      context,
      signatureAt,
      compactAt,
      recovery,
    )
    if (isParsed !== 1) return undefined
    if (lib._secp256k1_ecdsa_recover(context, keyAt, signatureAt, digestAt) !== 1) return undefined
    words[lengthAt / 4] = COMPRESSED_BYTES
    lib._secp256k1_ec_pubkey_serialize(context, outAt, lengthAt, keyAt, COMPRESSED)
    return bytes.slice(outAt, outAt + COMPRESSED_BYTES)
  }
}

/** What the file expects of emscripten's runtime. Its heap is a fixed one, and it aborts on misuse only. */
function imports(memory: WebAssembly.Memory, bytes: Uint8Array): WebAssembly.Imports {
  const abort = () => {
    throw new Error('libsecp256k1 aborted')
  }
  return {
    env: {
      memory,
      memoryBase: DATA_START,
      table: new WebAssembly.Table({ element: 'anyfunc', initial: FUNCTIONS, maximum: FUNCTIONS }),
      tableBase: 0,
      DYNAMICTOP_PTR: HEAP_POINTER,
      STACKTOP: STACK_START,
      abort,
      _abort: abort,
      enlargeMemory: abort,
      abortOnCannotGrowMemory: abort,
      getTotalMemory: () => MEMORY_PAGES * PAGE_BYTES,
      ___setErrNo: () => {},
      _emscripten_memcpy_big: (to: number, from: number, length: number) => {
        bytes.copyWithin(to, from, from + length)
        return to
      },
    },
    global: { Infinity, NaN },
  }
}
