import type { Database } from '../db/database.ts'
import type { KeyHash } from '../keys/secret.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { UseNonce } from './nonces.ts'
import { invalid, type SignedRequest } from './read.ts'
import { type KnownSigner, type Signers, verifierOf } from './signers.ts'

/** What verifying needs of the process. */
export interface SignedRequestServices {
  db: Database
  signers: Signers
  useNonce: UseNonce
}

/** A verified signature as the gate takes it, in place of a secret. */
export interface VerifiedSignature {
  hash: KeyHash
  shard: number
  /** Milliseconds since 1970. */
  signedAt: number
}

export type RequestVerifyReason =
  | 'apiKeyInvalid'
  | 'apiKeyInactive'
  | 'requestSignatureInvalid'
  | 'requestReplayed'

export interface RequestVerifyOptions {
  /** What the service verified `@authority` as, for the refusal. */
  authority: string
  /** Milliseconds since 1970. */
  now: number
  /** Whether the key is read anew whatever the process knows of it: where no gate reads its row afterwards. */
  fresh?: boolean
  /** Called for a signature that what is remembered does not verify, before a statement reads the key again. It may throw. */
  onMismatch?: () => void
}

/** Wrong signatures have a key read so often at most. */
const REREAD_AFTER_MS = 1_000

/**
 * Verifies a signature that covers enough, and uses its nonce up. The gate still has to admit the key. A nonce is used before that, so that
 * a request which was copied costs the key's quota nothing.
 */
export async function verifyRequest(
  { db, signers, useNonce }: SignedRequestServices,
  signed: SignedRequest,
  { authority, now, fresh = false, onMismatch = () => {} }: RequestVerifyOptions,
): Promise<Result<VerifiedSignature, RequestVerifyReason>> {
  const { keyId, nonce, createdAt } = signed
  const known = fresh ? undefined : signers.find(keyId)
  let signer: KnownSigner | undefined = known
  let verifier = known && (await verifierOf(known, signed))
  if (verifier === undefined && mayRead(known, now)) {
    if (known !== undefined) onMismatch()
    signer = await signers.read(db, keyId, known && now)
    verifier = signer && (await verifierOf(signer, signed))
  }
  if (signer === undefined) return refuse('apiKeyInvalid')
  if (signer.isTampered) return refuse('apiKeyInactive', { reason: 'tampered' })
  if (verifier === undefined) return mismatch(signer, signed, authority)
  const { shard } = signer
  if (!(await useNonce({ keyId, nonce, shard, createdAt }))) return refuse('requestReplayed')
  return ok({ hash: verifier.hash, shard, signedAt: createdAt })
}

function mayRead(known: KnownSigner | undefined, now: number): boolean {
  return known?.rereadAt === undefined || Math.abs(now - known.rereadAt) >= REREAD_AFTER_MS
}

function mismatch(
  { verifiers }: KnownSigner,
  { algorithm, keyId }: SignedRequest,
  authority: string,
): Result<never, 'requestSignatureInvalid'> {
  const [first] = verifiers
  if (first === undefined)
    return invalid(
      'no_signing_key',
      `${keyId} cannot sign: its grant has neither publicKey nor requireSignature`,
    )
  if (algorithm !== undefined && algorithm !== first.algorithm)
    return invalid('algorithm', `alg of ${keyId} is ${first.algorithm}`)
  return invalid(
    'mismatch',
    'the signature is not of this request and of this key: compare @authority, and what a proxy changes of the path',
    { authority },
  )
}
