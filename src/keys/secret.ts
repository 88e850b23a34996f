import { BASE62, sha256, toBase62, toHex } from '../crypto/bytes.ts'

const RANDOM_CHARACTERS = 43
const CHECKSUM_CHARACTERS = 6

/** The secret of a key, as the bot sends it: prefix, 256 random bits and a checksum, in base62. */
export type Secret = string & { readonly brand: 'Secret' }
/** SHA-256 of a whole token, hex: all that the service keeps of it. */
export type KeyHash = string & { readonly brand: 'KeyHash' }

/** Writes 32 random bytes as a token. */
export function makeSecret(prefix: string, random: Uint8Array): Secret {
  const body = prefix + toBase62(random, RANDOM_CHARACTERS)
  return (body + checksum(body)) as Secret
}

/** A mistyped token is found out here, before anything is asked of the database. */
export function parseSecret(prefix: string, text: string): Secret | undefined {
  const bodyLength = prefix.length + RANDOM_CHARACTERS
  if (text.length !== bodyLength + CHECKSUM_CHARACTERS || !text.startsWith(prefix)) return undefined
  if (!/^[0-9A-Za-z]+$/.test(text.slice(prefix.length))) return undefined
  return checksum(text.slice(0, bodyLength)) === text.slice(bodyLength)
    ? (text as Secret)
    : undefined
}

/** Works everywhere; where the platform has a SHA-256 of its own, its entry takes that. */
export function hashSecret(token: Secret): KeyHash {
  return toHex(sha256(token)) as KeyHash
}

/** Enough of a token to recognise it: 4 characters at each end of what follows the prefix. */
export function previewOf(prefix: string, token: Secret): string {
  return `${token.slice(0, prefix.length + 4)}...${token.slice(-4)}`
}

function checksum(text: string): string {
  let rest = crc32(text)
  let characters = ''
  while (characters.length < CHECKSUM_CHARACTERS) {
    characters = BASE62.charAt(rest % 62) + characters
    rest = Math.floor(rest / 62)
  }
  return characters
}

/** What each byte does to a CRC-32 (ISO 3309), bit by bit. */
const CRC_OF_BYTE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  return crc
})

/** CRC-32 as in ISO 3309, of ASCII text. */
function crc32(text: string): number {
  let crc = 0xffffffff
  for (let at = 0; at < text.length; at++)
    crc = (crc >>> 8) ^ (CRC_OF_BYTE[(crc ^ text.charCodeAt(at)) & 0xff] as number)
  return (crc ^ 0xffffffff) >>> 0
}
