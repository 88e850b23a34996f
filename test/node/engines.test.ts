import { randomBytes } from 'node:crypto'
import { expect, it } from 'vitest'
import { fromHex, toHex } from '../../src/bytes.ts'
import { chooseEngine, loadNative } from '../../src/node/recover.ts'
import { verifyIntent } from '../../src/stacks/intent.ts'
import { messageHash } from '../../src/stacks/message.ts'
import { type Recover, stacksRecover } from '../../src/stacks/recover.ts'
import { signMessage } from '../../src/stacks/sign.ts'
import { type SignedMessage, verifyMessage } from '../../src/stacks/signature.ts'
import vectors from '../vectors/stacks.json' with { type: 'json' }

/** The portable engine needs a millisecond a case: 3,000 in `npm test`, ENGINE_CASES=100000 in the soak. */
const CASES = Number(process.env.ENGINE_CASES ?? 3_000)

const native = loadNative() as Recover

it('is libsecp256k1 on this machine, and not the slow JavaScript that its package falls back to', () => {
  expect(chooseEngine().name).toBe('libsecp256k1')
})

it('gives the verdict of the portable engine on every vector', () => {
  for (const { message, cases } of vectors.plain)
    for (const signed of cases) {
      const claim = { message, ...signed } as SignedMessage
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
    const expected = stacksRecover(digest, compact, recovery)
    const actual = native(digest, compact, recovery)
    if (hexOf(actual) !== hexOf(expected))
      throw new Error(
        `${toHex(digest)} ${toHex(compact)} ${recovery}: ${hexOf(actual)} is not ${hexOf(expected)}`,
      )
  }
})

const VALID = Array.from({ length: 16 }, () => {
  const message = randomBytes(20).toString('hex')
  const rsv = fromHex(signMessage({ message, privateKey: `${randomBytes(32).toString('hex')}01` }))
  return { digest: messageHash(message), compact: rsv.slice(0, 64), recovery: rsv[64] ?? 0 }
})

/** A valid signature with a bit flipped, a byte replaced, an end zeroed, another digest or recovery id; or noise. */
function mutation(run: number): Parameters<Recover> {
  const valid = VALID[run % VALID.length] as (typeof VALID)[number]
  const digest = Uint8Array.from(valid.digest)
  const compact = Uint8Array.from(valid.compact)
  const [where = 0, what = 0, which = 0] = randomBytes(3)
  const target = which % 5 === 0 ? digest : compact
  switch (run % 6) {
    case 0:
      target[where % target.length] = (target[where % target.length] ?? 0) ^ (1 << (what % 8))
      return [digest, compact, valid.recovery]
    case 1:
      target[where % target.length] = what
      return [digest, compact, valid.recovery]
    case 2:
      compact.fill(what % 2 === 0 ? 0 : 255, where % 64, (where % 64) + 8)
      return [digest, compact, valid.recovery]
    case 3:
      return [digest, compact, what % 4]
    case 4:
      return [digest, new Uint8Array(randomBytes(64)), what % 4]
    default:
      return [digest, compact, valid.recovery]
  }
}

function hexOf(key: Uint8Array | undefined): string {
  return key === undefined ? 'no key' : toHex(key)
}
