import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { AuditHead } from '../audit/event.ts'
import { toHex } from '../crypto/bytes.ts'
import { ok, type Result, refuse } from '../result.ts'
import { type ChangeReason, changeLiveKey, type Decide, type LockedKey } from './change.ts'
import { isNameTaken, policyOf } from './create.ts'
import { hashOfGrant, previewOfPublicKey } from './public-key.ts'
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
  const credential =
    members.publicKey == null
      ? undefined
      : {
          keyHash: hashOfGrant(action.walletAddress, toHex(action.messageHash)),
          keyPreview: previewOfPublicKey(members.publicKey),
        }
  const decide: Decide = async (tx, key) => {
    const terms = termsAfter(members, key.terms)
    const policy = policyOf(services.config, now)
    // A term that the configuration has outgrown since the grant does not refuse a change of another one.
    const before = new Set(validateTerms(key.terms, policy).map(({ path }) => path))
    const issues = validateTerms(terms, policy)
      .filter(({ term, path }) => members[memberOf(term)] !== undefined || !before.has(path))
      .map(({ path, message }) => ({ path, message }))
    issues.push(...credentialIssues(members, key))
    if (issues.length > 0) return refuse('invalidRequest', { issues, serverTime: now })
    const { id, name, walletAddress } = key.rights
    if (terms.name !== name && (await isNameTaken(tx, walletAddress, terms.name, now, id)))
      return refuse('keyNameTaken', { keyName: terms.name })
    const watched = { ...terms, id, walletAddress }
    if (members.heartbeat !== undefined) await watchSilence(tx, watched, now)
    if (members.alerts !== undefined || members.expiresAt !== undefined)
      await watchEnd(tx, watched, now)
    const { assignments } = termLists(terms)
    const { keyHash, keyPreview } = credential ?? {}
    const ended =
      members.previousUntil === null
        ? sql`, previous_key_hash = NULL, previous_mac_key_box = NULL, previous_until = NULL`
        : sql``
    const replaced =
      credential === undefined
        ? sql``
        : sql`, key_hash = decode(${keyHash}, 'hex'), key_preview = ${keyPreview}`
    return ok(sql`${assignments}${ended}${replaced}`)
  }
  const details = credential && { keyHash: credential.keyHash }
  return changeLiveKey(services, action, members.keyId, now, decide, details)
}

/** A key stays one with a secret, or one without: no change can make the one of the other. */
function credentialIssues(
  { publicKey, requireSignature }: UpdateKeyMembers,
  { terms, hasMacKey }: LockedKey,
): { path: string; message: string }[] {
  const issues: { path: string; message: string }[] = []
  if (publicKey === null && terms.publicKey !== null)
    issues.push({ path: 'publicKey', message: 'cannot be lifted: the key has no secret' })
  if (publicKey != null && terms.publicKey === null)
    issues.push({
      path: 'publicKey',
      message: 'is set when a key is granted: this one has a secret',
    })
  if (requireSignature === true && terms.publicKey === null && !hasMacKey)
    issues.push({
      path: 'requireSignature',
      message: 'is set when a key is granted: the service cannot verify what this secret signs',
    })
  return issues
}
