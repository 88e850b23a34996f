import { BASE62, sha256, toBase62, toHex } from '../crypto/bytes.ts'
import { SHARDS } from '../db/shard.ts'
import { BODY_CHARACTERS, base62Of, checksum, type Secret } from './secret-text.ts'

export { parseSecret, type Secret } from './secret-text.ts'

const SHARD_CHARACTERS = 4
/** Of the random part: 232 bits, in 39 characters. */
export const RANDOM_BYTES = 29
/**
 * Where the numbers of the first four characters begin that stand for shards: they are the last ones of base62. A secret of a release
 * without shards is 256 random bits in 43 characters, and none of those begins with a number above 14.47 million: no secret is of both.
 */
const FIRST_SHARD = 62 ** SHARD_CHARACTERS - SHARDS

/** SHA-256 of a whole secret, hex: all that the service stores of it. */
export type KeyHash = string & { readonly brand: 'KeyHash' }

/** What a statement knows of a presented secret. */
export interface PresentedSecret {
  hash: KeyHash
  /** As `shardOf` returns it. */
  shard: number | undefined
}

/** Makes a secret of a wallet's shard and `RANDOM_BYTES` random bytes. */
export function makeSecret(prefix: string, shard: number, random: Uint8Array): Secret {
  const place = base62Of(FIRST_SHARD + shard, SHARD_CHARACTERS)
  const body = prefix + place + toBase62(random, BODY_CHARACTERS - SHARD_CHARACTERS)
  return (body + checksum(body)) as Secret
}

/** The shard that a secret names; undefined for one of a release whose secrets named none. A bearer can send any: it proves nothing. */
export function shardOf(prefix: string, secret: Secret): number | undefined {
  let number = 0
  for (let at = prefix.length; at < prefix.length + SHARD_CHARACTERS; at++)
    number = number * 62 + BASE62.indexOf(secret.charAt(at))
  return number < FIRST_SHARD ? undefined : number - FIRST_SHARD
}

/** The hash of a secret. Runs on every platform; the entry on Node replaces it by the native SHA-256. */
export function hashSecret(secret: Secret): KeyHash {
  return toHex(sha256(secret)) as KeyHash
}

/** Enough of a secret to recognise it: 4 characters at each end of what follows the prefix. */
export function previewOf(prefix: string, secret: Secret): string {
  return `${secret.slice(0, prefix.length + 4)}...${secret.slice(-4)}`
}
