import { walletShard } from '../../db/wallet-shard.ts'
import type { Admission, GateRequest } from '../../gate/decide.ts'
import type { Permission } from '../../keys/scope.ts'
import {
  type KeyHash,
  type PresentedSecret,
  parseSecret,
  type Secret,
  shardOf,
} from '../../keys/secret.ts'
import { ok, type Refused, type Result, refuse } from '../../result.ts'
import { SIGNATURE_TAG } from '../../signed-requests/base.ts'
import { UNKNOWN_ADDRESS } from '../../wire/ip.ts'
import { type AppContext, headerOf, stateOf } from '../context.ts'
import { unwrap } from '../problem.ts'
import { countFailedKey, limitByAddress } from './address.ts'
import { bearerOf } from './bearer.ts'
import { authenticateSignature, presentsRequestSignature } from './signature.ts'

/**
 * Whether the request presents an API key, valid or not: its secret, or a signature. An Authorization header of another scheme, as the Basic of a
 * proxy in front of the service, is not for this service. A key without a scheme is a mistake that is refused as such.
 */
export function presentsKey(c: AppContext): boolean {
  if (headerOf(c, 'x-api-key') !== undefined || presentsRequestSignature(c)) return true
  const authorization = headerOf(c, 'authorization') ?? ''
  return (
    /^Bearer(\s|$)/i.test(authorization) ||
    authorization.startsWith(stateOf(c).world.config.KEY_PREFIX)
  )
}

/**
 * Authenticates the presented API key, counts the request against the key's windows and authorizes the scope.
 * When a uuid is given, the admission carries that order's row, read by the same statement. A request may cost several.
 */
export async function authenticateKey(
  c: AppContext,
  scope: Permission | undefined,
  { uuid, cost }: Pick<GateRequest, 'uuid' | 'cost'> = {},
): Promise<Admission> {
  const state = stateOf(c)
  // Without a promise for a secret: requests that arrive together are then asked about together.
  const presented: PresentedSecret & { signedAt?: number } = presentsRequestSignature(c)
    ? await authenticateSignature(c)
    : readPresentedKey(c)
  const { hash, shard, signedAt } = presented
  const ip = state.clientIp === UNKNOWN_ADDRESS ? undefined : state.clientIp
  state.keyHash = hash
  const decision = await state.world.gate({ hash, shard, signedAt, ip, scope, uuid, cost })
  state.keyId = decision.keyId
  state.keyShard = decision.shard
  if (decision.at !== undefined) state.now = decision.at
  if (decision.ok) {
    state.keyEndsAt = decision.value.endsAt
    state.secretHash = oneOfTwoSecrets(decision.value, presented, state.now)
  }
  if (decision.windows !== undefined) state.windows = decision.windows
  else if (!decision.ok && decision.reason !== 'unavailable') countFailedKey(c)
  return unwrap(decision)
}

/** What the gate found the key by that `authenticateKey` admitted. */
export function presentedHash(c: AppContext): KeyHash {
  return stateOf(c).keyHash as KeyHash
}

/** As the gate is given it, for an act that the gate does not admit: nothing that the process remembers of the key is used. */
export async function authenticateFresh(
  c: AppContext,
): Promise<PresentedSecret & { signedAt?: number }> {
  return presentsRequestSignature(c)
    ? authenticateSignature(c, { fresh: true })
    : readPresentedKey(c)
}

/** The hash of the secret that was presented, while the key has two; undefined while it has one. */
export function oneOfTwoSecrets(
  { rights: { previousUntil } }: Admission,
  { hash }: PresentedSecret,
  now: number,
): KeyHash | undefined {
  return previousUntil !== null && previousUntil > now ? hash : undefined
}

/** The presented key: its hash and its shard. One with a wrong shape or checksum is refused here, without a statement. */
function readPresentedKey(c: AppContext): PresentedSecret {
  const text = presentedKey(c)
  const presented = text.ok ? presentedSecretOf(c, text.value) : undefined
  if (presented !== undefined) return presented
  if (presentsKey(c)) countFailedKey(c)
  else limitByAddress(c)
  return unwrap(sentTwice(c) ?? untagged(c) ?? (text.ok ? refuse('apiKeyInvalid') : text))
}

/** The hash and the shard of a secret; undefined where its shape or checksum is wrong. */
export function presentedSecretOf(c: AppContext, text: string): PresentedSecret | undefined {
  const { config, hashSecret } = stateOf(c).world
  const secret = parseSecret(config.KEY_PREFIX, text)
  if (secret === undefined) return undefined
  return { hash: hashSecret(secret), shard: shardOf(config.KEY_PREFIX, secret) }
}

/**
 * The secret of a key to be made, whose hash its owner signed. It is sent as every key is, so that what keeps keys out of logs
 * keeps it out too. Knowing the secret is what entitles to the key: a party that only read the message gets nothing for it.
 */
export function readNamedSecret(
  c: AppContext,
  walletAddress: string,
  keyHash: string | undefined,
): Secret | undefined {
  if (keyHash === undefined) return undefined
  const { world } = stateOf(c)
  const text = presentedKey(c)
  const secret = text.ok ? parseSecret(world.config.KEY_PREFIX, text.value) : undefined
  if (secret !== undefined && world.hashSecret(secret) === keyHash) {
    if (shardOf(world.config.KEY_PREFIX, secret) === walletShard(walletAddress)) return secret
    return unwrap(
      refuse('invalidRequest', {
        problem:
          'the four characters after the prefix of the secret must be those of the shard of the wallet',
      }),
    )
  }
  return unwrap(
    sentTwice(c) ??
      refuse('invalidRequest', {
        problem: `the message names keyHash: X-API-Key must be the secret that it is the SHA-256 of, in the form of a key, with the prefix ${world.config.KEY_PREFIX}`,
      }),
  )
}

/** A header that is sent twice arrives as one, joined by commas (RFC 9110 s5.3). No key has a comma; credentials of other schemes do. */
function sentTwice(c: AppContext): Refused<'invalidRequest'> | undefined {
  const key = headerOf(c, 'x-api-key')
  const authorization = headerOf(c, 'authorization') ?? ''
  const name = key?.includes(',')
    ? 'X-API-Key'
    : /^Bearer\s.*,/i.test(authorization)
      ? 'Authorization'
      : undefined
  return name && refuse('invalidRequest', { problem: `${name} is sent twice: send it once` })
}

/** A signature for another reader, where this one got none. */
function untagged(c: AppContext): Refused<'apiKeyInvalid'> | undefined {
  if (headerOf(c, 'signature-input') === undefined || presentsKey(c)) return undefined
  return refuse('apiKeyInvalid', {
    problem: `Signature-Input has no signature with tag="${SIGNATURE_TAG}"`,
  })
}

function presentedKey(c: AppContext): Result<string, 'invalidRequest' | 'apiKeyInvalid'> {
  const header = headerOf(c, 'x-api-key')
  const bearer = bearerOf(c)
  if (header !== undefined && bearer !== undefined && header !== bearer)
    return refuse('invalidRequest', { problem: 'X-API-Key and Authorization carry different keys' })
  const key = header ?? bearer
  return key === undefined ? refuse('apiKeyInvalid') : ok(key)
}
