import { expect, it } from 'vitest'
import { toHex } from '../../src/crypto/bytes.ts'
import { chooseEngine, loadNative } from '../../src/node/recover.ts'
import { verifyIntent } from '../../src/stacks/intent.ts'
import { nobleRecover, type Recover } from '../../src/stacks/recover.ts'
import { type MessageClaim, verifyMessage } from '../../src/stacks/signature.ts'
import { mutation } from '../stacks/mutations.ts'
import vectors from '../vectors/stacks.json' with { type: 'json' }

/** The portable engine needs two milliseconds a case: 3,000 in `npm test`, ENGINE_CASES=100000 in the soak. */
const CASES = Number(process.env.ENGINE_CASES ?? 3_000)

const native = loadNative() as Recover

it('is libsecp256k1 on this machine, and not the slow JavaScript that its package falls back to', () => {
  expect(chooseEngine().name).toBe('libsecp256k1')
})

it('gives the verdict of the portable engine on every vector', () => {
  for (const { message, cases } of vectors.plain)
    for (const signed of cases) {
      const claim = { message, ...signed } as MessageClaim
      expect(verifyMessage({ ...claim, recover: native })).toEqual(verifyMessage(claim))
    }
  for (const intent of vectors.intents) {
    const claim = intent as Parameters<typeof verifyIntent>[0]
    expect(verifyIntent({ ...claim, recover: native })).toEqual(verifyIntent(claim))
  }
})

it(`recovers what the portable engine recovers, in ${CASES} generated mutations`, {
  timeout: 600_000,
}, () => {
  for (let run = 0; run < CASES; run++) {
    const [digest, compact, recovery] = mutation(run)
    const expected = nobleRecover(digest, compact, recovery)
    const actual = native(digest, compact, recovery)
    if (hexOf(actual) !== hexOf(expected))
      throw new Error(
        `${toHex(digest)} ${toHex(compact)} ${recovery}: ${hexOf(actual)} is not ${hexOf(expected)}`,
      )
  }
})

function hexOf(key: Uint8Array | undefined): string {
  return key === undefined ? 'no key' : toHex(key)
}
