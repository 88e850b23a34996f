import { fromHex, sha256, toHex } from '../crypto/bytes.ts'
import { ok, type Result, refuse } from '../result.ts'
import { isContractId, isStacksAddress } from './address.ts'
import { buffer, type ClarityHex, NONE, principal, some, tuple, uint } from './clarity.ts'
import { isIntentAmount } from './intent.ts'
import type { Network } from './network.ts'

/**
 * What an order must give, as its owner commits to it. An intent binds the token, the amount, the router and the uuid;
 * the uuid of a committed order is the hash of these terms, so the owner's signature binds them too.
 */
export interface CommittedTerms {
  /** The principal that alone may execute the order; null allows any sender. */
  readonly by: string | null
  /** The least that the recipient gains, in smallest units of `token`: 1 to 2^128 - 1, decimal. */
  readonly min: string
  /**
   * 16 random bytes, lower-case hex. The terms are easy to guess, and anyone who knows a uuid can burn it: the salt
   * keeps it secret until the order is broadcast.
   */
  readonly salt: string
  /** The principal that receives the output. */
  readonly to: string
  /** Contract id of the token that the order buys. */
  readonly token: string
  /** Unix seconds. No block executes the order after the chain's time has passed them. */
  readonly until: number
}

/** What makes terms unfit to be committed to: the member. */
export type TermsFormReason =
  | 'invalid_by'
  | 'invalid_min'
  | 'invalid_salt'
  | 'invalid_to'
  | 'invalid_token'
  | 'invalid_until'

const SALT = /^[0-9a-f]{32}$/
/** A uuid has 36 characters at most, so 18 bytes of the hash. */
const UUID_BYTES = 18

/** Checks every member of terms for the network; the first fault is the answer. */
export function checkCommittedTerms(
  terms: CommittedTerms,
  network: Network,
): Result<CommittedTerms, TermsFormReason> {
  const { by, min, salt, to, token, until } = { ...terms }
  if (by !== null && !isPrincipal(by, network)) return refuse('invalid_by')
  if (!isIntentAmount(min)) return refuse('invalid_min')
  if (typeof salt !== 'string' || !SALT.test(salt)) return refuse('invalid_salt')
  if (!isPrincipal(to, network)) return refuse('invalid_to')
  if (!isContractId(token, network)) return refuse('invalid_token')
  if (!Number.isSafeInteger(until) || until <= 0) return refuse('invalid_until')
  return ok({ by, min, salt, to, token, until })
}

/**
 * The uuid that commits to terms: 36 lower-case hexadecimal characters, the first 18 bytes of SHA-256 of the consensus
 * bytes of {@link committedTermsTuple}. The router's `uuid-of` returns the same.
 *
 * Throws a TypeError, with the reason, when the terms are not well formed for the network.
 */
export function committedUuid(terms: CommittedTerms, network: Network): string {
  return toHex(sha256(fromHex(committedTermsTuple(terms, network))).subarray(0, UUID_BYTES))
}

/**
 * Whether a uuid commits to terms that are well formed. An intent with this uuid is worthless on any other terms, but
 * only where its router is a committed one.
 */
export function isUuidOfTerms(uuid: unknown, terms: CommittedTerms, network: Network): boolean {
  return checkCommittedTerms(terms, network).ok && committedUuid(terms, network) === uuid
}

/**
 * The terms as a Clarity value: `{by: (optional principal), min: uint, salt: (buff 16), to: principal, token: principal,
 * until: uint}`.
 *
 * Throws a TypeError, with the reason, when the terms are not well formed for the network.
 */
export function committedTermsTuple(terms: CommittedTerms, network: Network): ClarityHex {
  const checked = checkCommittedTerms(terms, network)
  if (!checked.ok) throw new TypeError(`The terms are not well formed: ${checked.reason}.`)
  const { by, min, salt, to, token, until } = checked.value
  return tuple({
    by: by === null ? NONE : some(principal(by)),
    min: uint(BigInt(min)),
    salt: buffer(salt),
    to: principal(to),
    token: principal(token),
    until: uint(BigInt(until)),
  })
}

/**
 * The contract id of the account that swaps for a committed router. The same account deploys both: only the router calls
 * it, and vaults take their input from it.
 */
export function swapAccountOf(router: string): string {
  return `${router}-account`
}

function isPrincipal(text: unknown, network: Network): text is string {
  return isStacksAddress(text, network) || isContractId(text, network)
}
