/**
 * Keys of a Latchkey service at another backend: what `latchkey/middleware/hono`, `latchkey/middleware/express` and `latchkey/middleware/fastify` are made of, for any other
 * framework.
 *
 * @module
 */

export type {
  InvalidKey,
  KeyQuestion,
  KeyVerdict,
  ValidKey,
} from '../service-credentials/verdict.ts'
export {
  type Guard,
  type Guarded,
  type GuardedRequest,
  type KeyPrincipal,
  openGuard,
  type RequireKeyOptions,
} from './guard.ts'
export {
  createVerifier,
  type KeyVerifier,
  VerificationError,
  type VerificationFailure,
  type VerifierOptions,
} from './verifier.ts'
