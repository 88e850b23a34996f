import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { AuditHead } from '../audit/event.ts'
import { ok, type Result, refuse } from '../result.ts'
import { type ChangeReason, changeLiveKey } from './change.ts'
import { isNameTaken, policyOf } from './create.ts'
import type { UpdateKeyMembers } from './schemas.ts'
import type { KeyServices } from './services.ts'
import { memberOf, termsAfter, validateTerms } from './terms.ts'
import { termLists } from './terms-sql.ts'
import { watchEnd, watchSilence } from './watches.ts'

/**
 * Changes the terms of a live key: members that are absent change nothing, null lifts a limit, and ends the grace of a rotation. A key
 * that has ended stays ended.
 */
export async function updateKey(
  services: KeyServices,
  action: SignedAction<UpdateKeyMembers>,
  now: number,
): Promise<Result<AuditHead, ChangeReason>> {
  const { members } = action
  return changeLiveKey(services, action, members.keyId, now, async (tx, key) => {
    const terms = termsAfter(members, key.terms)
    const policy = policyOf(services.config, now)
    // A term that the configuration has outgrown since the grant does not refuse a change of another one.
    const before = new Set(validateTerms(key.terms, policy).map(({ path }) => path))
    const issues = validateTerms(terms, policy)
      .filter(({ term, path }) => members[memberOf(term)] !== undefined || !before.has(path))
      .map(({ path, message }) => ({ path, message }))
    if (issues.length > 0) return refuse('invalidRequest', { issues, serverTime: now })
    const { id, name, walletAddress } = key.rights
    if (terms.name !== name && (await isNameTaken(tx, walletAddress, terms.name, now, id)))
      return refuse('keyNameTaken', { keyName: terms.name })
    const watched = { ...terms, id, walletAddress }
    if (members.heartbeat !== undefined) await watchSilence(tx, watched, now)
    if (members.alerts !== undefined || members.expiresAt !== undefined)
      await watchEnd(tx, watched, now)
    const { assignments } = termLists(terms)
    return ok(
      members.previousUntil === null
        ? sql`${assignments}, previous_key_hash = NULL, previous_until = NULL`
        : assignments,
    )
  })
}
