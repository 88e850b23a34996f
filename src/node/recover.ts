import { createRequire } from 'node:module'
import { nobleRecover, type Recover } from '../stacks/recover.ts'

/** An engine and its name, for the log. */
export interface Engine {
  name: 'libsecp256k1' | 'noble'
  recover: Recover
}

interface Bindings {
  ecdsaRecover(
    compact: Uint8Array,
    recovery: number,
    digest: Uint8Array,
    compressed: boolean,
  ): Uint8Array
}

/** Takes libsecp256k1 where its prebuilt addon loads, and @noble/secp256k1 otherwise. */
export function chooseEngine(): Engine {
  const native = loadNative()
  return native === undefined
    ? { name: 'noble', recover: nobleRecover }
    : { name: 'libsecp256k1', recover: native }
}

/** Loads the package's addon directly: its main entry falls back to slow JavaScript silently. */
export function loadNative(): Recover | undefined {
  try {
    const bindings: Bindings = createRequire(import.meta.url)('secp256k1/bindings')
    return function nativeRecover(digest, compact, recovery) {
      try {
        return bindings.ecdsaRecover(compact, recovery, digest, true)
      } catch {
        return undefined
      }
    }
  } catch {
    return undefined
  }
}
