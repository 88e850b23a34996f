import { hashMessage } from '@stacks/encryption'

/**
 * The 32 bytes that `stx_signMessage` signs: SHA-256 of `\x17Stacks Signed Message:\n`,
 * CompactSize(utf8 length), utf8.
 *
 * A lone surrogate would be hashed as U+FFFD, so that two texts share one hash: ask {@link
 * isSignable} first.
 */
export function messageHash(message: string): Uint8Array {
  return hashMessage(message)
}

/** Whether the message is a text with exactly one UTF-8 form: a string without lone surrogates. */
export function isSignable(message: unknown): message is string {
  return typeof message === 'string' && message.isWellFormed()
}
