import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { type ConsumeReason, consumeMessage } from '../actions/consume.ts'
import { atomically, type Database } from '../db/database.ts'
import { ok, type Result, refuse } from '../result.ts'
import {
  changeKeys,
  columnsOf,
  type LockedKey,
  lockKey,
  ownerEntry,
  suspensionColumns,
} from './change.ts'
import { isNameTaken, policyOf } from './create.ts'
import { endReason } from './liveness.ts'
import { termsAfter } from './rights.ts'
import type { UpdateKeyMembers } from './schemas.ts'
import type { KeyServices } from './services.ts'
import { resumed, suspended } from './suspension.ts'
import { validateTerms } from './terms.ts'

export type ChangeReason =
  | 'invalidRequest'
  | ConsumeReason
  | 'keyNotFound'
  | 'keyNotLive'
  | 'keyNameTaken'

/** Changes what a live key is called or may do. Nothing brings a dead key back, and nothing extends an expired one. */
export async function updateKey(
  services: KeyServices,
  action: SignedAction<UpdateKeyMembers>,
  now: number,
): Promise<Result<null, ChangeReason>> {
  const { keyId } = action.members
  return changeLiveKey(services, action, keyId, now, async (tx, key) => {
    const { name } = key.rights
    const terms = termsAfter(action.members, key.terms)
    const policy = policyOf(services.config, now)
    // What the configuration has outgrown since does not stand in the way of a change of something else.
    const before = validateTerms(key.terms, policy).map(({ path }) => path)
    const isGiven = (path: string) => (path.split(/[.[]/)[0] ?? '') in action.members
    const issues = validateTerms(terms, policy).filter(
      ({ path }) => isGiven(path) || !before.includes(path),
    )
    if (issues.length > 0) return refuse('invalidRequest', { issues, serverTime: now })
    if (terms.name !== name && (await isNameTaken(tx, key.rights.walletAddress, terms.name, now)))
      return refuse('keyNameTaken', { keyName: terms.name })
    return ok(
      sql.join(
        columnsOf(terms).map(([column, value]) => sql`${sql.raw(column)} = ${value}`),
        sql`, `,
      ),
    )
  })
}

/** Refuses a key everything until it is resumed. Suspending it once more is answered the same. */
export async function suspendKey(
  services: KeyServices,
  action: SignedAction<{ keyId: string }>,
  now: number,
): Promise<Result<null, ChangeReason>> {
  return changeLiveKey(services, action, action.members.keyId, now, async (_, { rights }) =>
    ok(suspensionColumns(suspended(rights, 'owner', now))),
  )
}

/** Lets a suspended key work again, unless the operator suspended it. Resuming it once more is answered the same. */
export async function resumeKey(
  services: KeyServices,
  action: SignedAction<{ keyId: string }>,
  now: number,
): Promise<Result<null, ChangeReason>> {
  return changeLiveKey(services, action, action.members.keyId, now, async (_, { rights }) => {
    const left = resumed(rights, 'owner')
    return left === undefined
      ? refuse('keyNotLive', { reason: 'suspended_by_operator' })
      : ok(suspensionColumns(left))
  })
}

type Decide = (
  tx: Database,
  key: LockedKey,
) => Promise<Result<ReturnType<typeof sql>, 'invalidRequest' | 'keyNameTaken' | 'keyNotLive'>>

/** One change of one live, intact key, with its message and its audit, or nothing. */
export async function changeLiveKey(
  services: KeyServices,
  action: SignedAction<unknown>,
  keyId: string,
  now: number,
  decide: Decide,
  details?: Parameters<typeof ownerEntry>[4],
): Promise<Result<null, ChangeReason>> {
  const changed = await atomically<null, ChangeReason>(services.db, async (tx) => {
    const spent = await consumeMessage(tx, action, now)
    if (!spent.ok) return spent
    const key = await lockKey(tx, services, action.walletAddress, keyId)
    if (key === undefined) return refuse('keyNotFound')
    const end = endReason(key.rights, now)
    if (end !== undefined) return refuse('keyNotLive', { reason: end })
    if (!key.isIntact) {
      services.log('error', 'api_key_tampered', { keyId })
      return refuse('keyNotLive', { reason: 'tampered' })
    }
    const set = await decide(tx, key)
    if (!set.ok) return set
    await changeKeys(
      tx,
      services,
      [key],
      set.value,
      ownerEntry(action, spent.value, keyId, now, details),
    )
    return ok(null)
  })
  if (changed.ok)
    services.log('info', 'api_key_changed', {
      keyId,
      walletAddress: action.walletAddress,
      action: action.action,
    })
  return changed
}
