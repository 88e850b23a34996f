import { fromHex, sha256, toHex } from '../crypto/bytes.ts'
import { memoize } from '../memoize.ts'
import type { ClarityHex } from './clarity.ts'

/** `SIP018` in ASCII, hex. */
const PREFIX = '534950303138'

/** The 32 bytes that SIP-018 signs: SHA-256 of `SIP018`, the domain's hash and the message's hash. */
export function structuredDataHash(domain: ClarityHex, message: ClarityHex): Uint8Array {
  return sha256(fromHex(PREFIX + domainHash(domain) + clarityHash(message)))
}

// A program signs under one domain or two.
const domainHash = memoize(8, clarityHash)

function clarityHash(value: string): string {
  return toHex(sha256(fromHex(value)))
}
