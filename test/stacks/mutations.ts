import { randomBytes } from 'node:crypto'
import { fromHex } from '../../src/crypto/bytes.ts'
import { messageHash } from '../../src/stacks/message.ts'
import type { Recover } from '../../src/stacks/recover.ts'
import { signMessage } from '../../src/stacks/sign.ts'

const VALID = Array.from({ length: 16 }, () => {
  const message = randomBytes(20).toString('hex')
  const rsv = fromHex(signMessage({ message, privateKey: `${randomBytes(32).toString('hex')}01` }))
  return { digest: messageHash(message), compact: rsv.slice(0, 64), recovery: rsv[64] ?? 0 }
})

/** A valid signature with a bit flipped, a byte replaced, an end zeroed, another digest or recovery id; or noise. */
export function mutation(run: number): Parameters<Recover> {
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
