import { recoverPublicKey } from '@noble/secp256k1'
import { fromHex, toHex } from '../crypto/bytes.ts'
import { ok, type Result, refuse } from '../result.ts'

/**
 * An engine that recovers the key behind a signature: 32-byte digest, r and s (64 bytes), recovery
 * id 0 to 3.
 *
 * Returns 33 bytes (compressed), or undefined where no key fits. About half of all random signatures
 * yield a key: it proves nothing until it is compared with an address.
 */
export type Recover = (
  digest: Uint8Array,
  compact: Uint8Array,
  recovery: number,
) => Uint8Array | undefined

/** One way to read a 65-byte signature. `compact` is r and s, 32 bytes each. */
export interface SignatureReading {
  readonly order: 'RSV' | 'VRS'
  readonly compact: Uint8Array
  readonly recovery: number
}

/** What is wrong with the form of a signature, before any elliptic-curve work. */
export type SignatureFormReason =
  | 'malformed'
  | 'recovery_id_out_of_range'
  | 'out_of_range'
  | 'high_s'

const SIGNATURE = /^(?:0x)?([0-9a-f]{130})$/i

// secp256k1 (SEC 2, s2.4.1). Lower-case hex of one length sorts as the numbers do.
const ZERO = '0'.repeat(64)
const ORDER = 'fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141'
const HALF_ORDER = '7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0'

/**
 * Parses 65 bytes of hex (0x optional, any case) as RSV and as VRS. Returns the readings that are
 * strictly in form: a recovery id of 0 to 3, r and s in range, low s.
 *
 * Both can be in form: one signature in 64 also ends or begins like the other order. A refusal names the
 * fault of the RSV reading, unless only the VRS reading has a recovery id.
 */
export function parseSignature(
  text: unknown,
): Result<readonly SignatureReading[], SignatureFormReason> {
  const hex = typeof text === 'string' ? SIGNATURE.exec(text)?.[1]?.toLowerCase() : undefined
  if (hex === undefined) return refuse('malformed')

  const rsv = read('RSV', hex.slice(0, 128), hex.slice(128))
  const vrs = read('VRS', hex.slice(2), hex.slice(0, 2))
  const readings = [rsv, vrs].flatMap((reading) => (reading.ok ? [reading.value] : []))
  if (readings.length > 0) return ok(readings)

  const faults = [rsv, vrs].flatMap((reading) => (reading.ok ? [] : [reading.reason]))
  return refuse(
    faults.find((reason) => reason !== 'recovery_id_out_of_range') ?? 'recovery_id_out_of_range',
  )
}

function read(
  order: SignatureReading['order'],
  compactHex: string,
  recoveryHex: string,
): Result<SignatureReading, SignatureFormReason> {
  const recovery = Number.parseInt(recoveryHex, 16)
  if (recovery > 3) return refuse('recovery_id_out_of_range')

  const r = compactHex.slice(0, 64)
  const s = compactHex.slice(64)
  if (r === ZERO || r >= ORDER || s === ZERO || s >= ORDER) return refuse('out_of_range')
  if (s > HALF_ORDER) return refuse('high_s')

  return ok({ order, compact: fromHex(compactHex), recovery })
}

/** The portable engine: @noble/secp256k1, JavaScript for Node, workerd and browsers. Some 2 ms for each recovery. */
export const nobleRecover: Recover = (digest, compact, recovery) => {
  const recovered = Uint8Array.of(recovery, ...compact)
  try {
    return recoverPublicKey(recovered, digest, { prehash: false })
  } catch {
    // Half of all r are the x of no point.
    return undefined
  }
}

/** A key that one reading of a signature recovers to: compressed, lower-case hex. */
export interface Recovered {
  readonly publicKey: string
  readonly reading: SignatureReading
}

/** Returns the keys that the readings of one signature recover to: at most two. */
export function recoverKeys(
  digest: Uint8Array,
  readings: readonly SignatureReading[],
  recover: Recover = nobleRecover,
): Recovered[] {
  return readings.flatMap((reading) => {
    const key = recover(digest, reading.compact, reading.recovery)
    return key === undefined ? [] : [{ publicKey: toHex(key), reading }]
  })
}

/** Returns the signature of a reading as Clarity reads it: 65 bytes hex, RSV. */
export function toRsv({ compact, recovery }: SignatureReading): string {
  return `${toHex(compact)}0${recovery}`
}
