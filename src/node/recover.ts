import { createRequire } from 'node:module'
import { nobleRecover, type Recover } from '../stacks/recover.ts'
import { nobleSign, type SignDigest } from '../stacks/sign.ts'

/** An engine and its name, for the log. */
export interface Engine {
  name: 'libsecp256k1' | 'noble'
  recover: Recover
  signDigest: SignDigest
}

interface Bindings {
  /** Throws for a secret that is not in range. */
  ecdsaSign(digest: Uint8Array, secret: Uint8Array): { signature: Uint8Array; recid: number }
  ecdsaRecover(
    compact: Uint8Array,
    recovery: number,
    digest: Uint8Array,
    compressed: boolean,
  ): Uint8Array
}

/** Takes libsecp256k1 where its prebuilt addon loads, and @noble/secp256k1 otherwise. */
export function chooseEngine(): Engine {
  const bindings = loadBindings()
  return bindings === undefined
    ? { name: 'noble', recover: nobleRecover, signDigest: nobleSign }
    : { name: 'libsecp256k1', recover: recoverWith(bindings), signDigest: signWith(bindings) }
}

export function loadNative(): Recover | undefined {
  const bindings = loadBindings()
  return bindings === undefined ? undefined : recoverWith(bindings)
}

/** Loads the package's addon directly: its main entry falls back to slow JavaScript silently. */
function loadBindings(): Bindings | undefined {
  try {
    return createRequire(import.meta.url)('secp256k1/bindings')
  } catch {
    return undefined
  }
}

function recoverWith(bindings: Bindings): Recover {
  return function nativeRecover(digest, compact, recovery) {
    try {
      return bindings.ecdsaRecover(compact, recovery, digest, true)
    } catch {
      return undefined
    }
  }
}

/** libsecp256k1 derives the nonce as RFC 6979 does: the signature is that of the portable engine. */
function signWith(bindings: Bindings): SignDigest {
  return function nativeSign(digest, secret) {
    const { signature, recid } = bindings.ecdsaSign(digest, secret)
    return Uint8Array.of(recid, ...signature)
  }
}
