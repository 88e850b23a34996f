import { BASE62, sha256, toBase62, toHex } from '../crypto/bytes.ts'
import { SHARDS } from '../db/wallet-shard.ts'

/** How the secret of a service credential begins. */
export const SERVICE_PREFIX = 'ck_service_'

const BODY_CHARACTERS = 43
const CHECKSUM_CHARACTERS = 6
const SHARD_CHARACTERS = 4
/** Of the random part: 232 bits, in 39 characters. */
export const RANDOM_BYTES = 29
/**
 * Where the numbers of the first four characters begin that stand for shards: they are the last ones of base62. A secret of a release
 * without shards is 256 random bits in 43 characters, and none of those begins with a number above 14.47 million: no secret is of both.
 */
const FIRST_SHARD = 62 ** SHARD_CHARACTERS - SHARDS

/** The secret of a key or a session, as its bearer sends it: prefix, shard, 232 random bits and a checksum, in base62; or of a service credential, without shard. */
export type Secret = string & { readonly brand: 'Secret' }
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

/** Makes a secret that is of no wallet, of 32 random bytes. */
export function makeUnshardedSecret(prefix: string, random: Uint8Array): Secret {
  const body = prefix + toBase62(random, BODY_CHARACTERS)
  return (body + checksum(body)) as Secret
}

/** The shard that a secret names; undefined for one of a release whose secrets named none. A bearer can send any: it proves nothing. */
export function shardOf(prefix: string, secret: Secret): number | undefined {
  const number = numberIn(secret, prefix.length, prefix.length + SHARD_CHARACTERS)
  return number < FIRST_SHARD ? undefined : number - FIRST_SHARD
}

/** Parses a secret; undefined where its checksum does not fit. A mistyped secret then costs no statement. */
export function parseSecret(prefix: string, text: string): Secret | undefined {
  const bodyLength = prefix.length + BODY_CHARACTERS
  if (text.length !== bodyLength + CHECKSUM_CHARACTERS || !text.startsWith(prefix)) return undefined
  for (let at = prefix.length; at < text.length; at++)
    if (!isBase62(text.charCodeAt(at))) return undefined
  // As numbers: a secret is parsed for each request, and the text of its checksum would be eight strings.
  const isWhole = numberIn(text, bodyLength, text.length) === crc32(text, bodyLength)
  return isWhole ? (text as Secret) : undefined
}

/**
 * Every secret in a text, with the place where it begins. Its checksum tells it from what only looks like one: of random text with the
 * prefix, one in 4.3 thousand million passes.
 *
 * @example
 * ```ts
 * import { findSecrets } from 'latchkey/client'
 *
 * const found = findSecrets('ck_live_', 'no key is in here')
 * console.log(found.length)
 * ```
 */
export function findSecrets(prefix: string, text: string): { secret: Secret; at: number }[] {
  const found: { secret: Secret; at: number }[] = []
  const length = prefix.length + BODY_CHARACTERS + CHECKSUM_CHARACTERS
  for (let at = text.indexOf(prefix); at >= 0; at = text.indexOf(prefix, at + 1)) {
    const secret = parseSecret(prefix, text.slice(at, at + length))
    if (secret !== undefined) found.push({ secret, at })
  }
  return found
}

const NO_DIGIT = 255
/** What each ASCII character counts in base62. */
const BASE62_DIGITS = Uint8Array.from({ length: 128 }, (_, code) => {
  const digit = BASE62.indexOf(String.fromCharCode(code))
  return digit < 0 ? NO_DIGIT : digit
})

function isBase62(code: number): boolean {
  return code < BASE62_DIGITS.length && BASE62_DIGITS[code] !== NO_DIGIT
}

/** The number that a part of a text is in base62. */
function numberIn(text: string, start: number, end: number): number {
  let number = 0
  for (let at = start; at < end; at++)
    number = number * 62 + (BASE62_DIGITS[text.charCodeAt(at)] as number)
  return number
}

/** The hash of a secret. Runs on every platform; the entry on Node replaces it by the native SHA-256. */
export function hashSecret(secret: Secret): KeyHash {
  return toHex(sha256(secret)) as KeyHash
}

/** Enough of a secret to recognise it: 4 characters at each end of what follows the prefix. */
export function previewOf(prefix: string, secret: Secret): string {
  return `${secret.slice(0, prefix.length + 4)}...${secret.slice(-4)}`
}

/** The checksum of the first characters of a text. */
function checksum(text: string, length = text.length): string {
  return base62Of(crc32(text, length), CHECKSUM_CHARACTERS)
}

function base62Of(number: number, length: number): string {
  let rest = number
  let characters = ''
  while (characters.length < length) {
    characters = BASE62.charAt(rest % 62) + characters
    rest = Math.floor(rest / 62)
  }
  return characters
}

/** The CRC-32 (ISO 3309) of each byte. */
const CRC_OF_BYTE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  return crc
})

/** CRC-32 as in ISO 3309, of the first characters of ASCII text. */
function crc32(text: string, length: number): number {
  let crc = 0xffffffff
  for (let at = 0; at < length; at++)
    crc = (crc >>> 8) ^ (CRC_OF_BYTE[(crc ^ text.charCodeAt(at)) & 0xff] as number)
  return (crc ^ 0xffffffff) >>> 0
}
