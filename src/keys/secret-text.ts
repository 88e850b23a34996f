import { BASE62 } from '../crypto/bytes.ts'

export const BODY_CHARACTERS = 43
const CHECKSUM_CHARACTERS = 6

/** The secret of a key or a session, as its bearer sends it: prefix, shard, 232 random bits and a checksum, in base62. */
export type Secret = string & { readonly brand: 'Secret' }

/** Parses a secret; undefined where its checksum does not fit. A mistyped secret then costs no statement. */
export function parseSecret(prefix: string, text: string): Secret | undefined {
  const bodyLength = prefix.length + BODY_CHARACTERS
  if (text.length !== bodyLength + CHECKSUM_CHARACTERS || !text.startsWith(prefix)) return undefined
  for (let at = prefix.length; at < text.length; at++)
    if (!isBase62(text.charCodeAt(at))) return undefined
  return text.endsWith(checksum(text, bodyLength)) ? (text as Secret) : undefined
}

function isBase62(code: number): boolean {
  return (code >= 48 && code <= 57) || (code >= 65 && code <= 90) || (code >= 97 && code <= 122)
}

/**
 * Every secret in a text, with the place where it begins. Its checksum tells it from what only looks like one: of random text with the
 * prefix, one in 4.3 thousand million passes.
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

/** The checksum of the first characters of a text. */
export function checksum(text: string, length = text.length): string {
  return base62Of(crc32(text, length), CHECKSUM_CHARACTERS)
}

export function base62Of(number: number, length: number): string {
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
