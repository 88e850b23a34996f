import { sha256 } from '../crypto/bytes.ts'

// 0x17 is the length of the words that follow it, as in Bitcoin's signed messages.
const PREFIX = new TextEncoder().encode('\x17Stacks Signed Message:\n')

/**
 * The 32 bytes that `stx_signMessage` signs: SHA-256 of `\x17Stacks Signed Message:\n`,
 * CompactSize(utf8 length), utf8.
 *
 * A lone surrogate is hashed as U+FFFD, so that two texts share one hash: call {@link isSignable} first.
 */
export function messageHash(message: string): Uint8Array {
  const utf8 = new TextEncoder().encode(message)
  const length = compactSize(utf8.length)
  const bytes = new Uint8Array(PREFIX.length + length.length + utf8.length)
  bytes.set(PREFIX)
  bytes.set(length, PREFIX.length)
  bytes.set(utf8, PREFIX.length + length.length)
  return sha256(bytes)
}

/** Whether the message is a text with exactly one UTF-8 form: a string without lone surrogates. */
export function isSignable(message: unknown): message is string {
  return typeof message === 'string' && message.isWellFormed()
}

/** Bitcoin's variable length: one byte, or a marker and two or four bytes, least significant first. No text needs eight. */
function compactSize(length: number): Uint8Array {
  if (length < 0xfd) return Uint8Array.of(length)
  const bytes = new Uint8Array(length <= 0xffff ? 3 : 5)
  const view = new DataView(bytes.buffer)
  bytes[0] = length <= 0xffff ? 0xfd : 0xfe
  if (length <= 0xffff) view.setUint16(1, length, true)
  else view.setUint32(1, length, true)
  return bytes
}
