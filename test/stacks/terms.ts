import fc from 'fast-check'
import type { CommittedTerms } from '../../src/stacks/committed.ts'

/** Any terms that are well formed, of the network of an address. */
export function anyTerms(address: string): fc.Arbitrary<CommittedTerms> {
  const contract = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_-]{0,39}$/).map((n) => `${address}.${n}`)
  const principal = fc.oneof(fc.constant(address), contract)
  return fc.record({
    by: fc.oneof(fc.constant(null), principal),
    min: fc.oneof(fc.bigInt(1n, 300n), fc.bigInt(1n, 2n ** 128n - 1n)).map(String),
    salt: fc
      .uint8Array({ minLength: 16, maxLength: 16 })
      .map((bytes) => Buffer.from(bytes).toString('hex')),
    to: principal,
    token: contract,
    until: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  })
}
