import type { NewOrder } from '../orders/order.ts'
import { checkCommittedTerms, committedUuid, type TermsFormReason } from '../stacks/committed.ts'
import type { Network } from '../stacks/network.ts'
import { type LatchkeyError, latchkeyError } from './errors.ts'

const DAY_MS = 86_400_000
const SALT_BYTES = 16

/** An order that is not signed yet. */
export type UnsignedOrder = Omit<NewOrder, 'signature'>

/** An order that is to be committed to its terms. */
export type CommittedDraft = Omit<UnsignedOrder, 'uuid'> & { uuid?: string; minAmountOut: string }

/**
 * Completes a committed order: draws its salt, sets its deadline and derives its uuid. `now` is by the client's own clock.
 * Throws `INVALID_ARGUMENT` with the member that is wrong.
 */
export function commitOrder(draft: CommittedDraft, network: Network, now: number): UnsignedOrder {
  const { owner, outputToken, recipient = owner, minAmountOut, executor = null } = draft
  const { salt = newSalt(), deadline = deadlineOf(draft, now) } = draft
  const untilMs = Date.parse(deadline)
  const terms = {
    by: executor,
    min: minAmountOut,
    salt,
    to: recipient,
    token: outputToken,
    until: untilMs / 1000,
  }
  const checked = checkCommittedTerms(terms, network)
  if (!checked.ok) throw invalid(...MEMBERS[checked.reason])
  if (Date.parse(draft.validTo ?? deadline) > untilMs)
    throw invalid('validTo', 'must not be after deadline')
  const uuid = committedUuid(checked.value, network)
  if (draft.uuid !== undefined && draft.uuid !== uuid)
    throw invalid(
      'uuid',
      'is the hash of the terms of a committed order: leave it out, and pass salt and deadline to place the same order again',
    )
  return { ...draft, salt, deadline, uuid }
}

/** The order ends with its `validTo`, which must not be after the deadline; without one, in a day. */
function deadlineOf({ validTo }: CommittedDraft, now: number): string {
  const endMs = validTo === undefined ? now + DAY_MS : Date.parse(validTo)
  if (Number.isNaN(endMs)) throw invalid('validTo', 'must be ISO 8601')
  return new Date(Math.ceil(endMs / 1000) * 1000).toISOString()
}

function newSalt(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(SALT_BYTES))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

const MEMBERS: Readonly<Record<TermsFormReason, [member: string, rule: string]>> = {
  invalid_by: ['executor', 'must be an address of this network'],
  invalid_min: [
    'minAmountOut',
    "must be a whole number above 0, as text, in the token's smallest unit",
  ],
  invalid_salt: ['salt', 'must be 16 random bytes in lower-case hexadecimal'],
  invalid_to: ['recipient', 'must be an address of this network'],
  invalid_token: ['outputToken', 'must be a contract id of this network'],
  invalid_until: ['deadline', 'must be ISO 8601 in whole seconds'],
}

function invalid(member: string, rule: string): LatchkeyError {
  return latchkeyError('INVALID_ARGUMENT', `${member} ${rule}`, { details: { member } })
}
