import { KEY_TERMS, type KeyTerms, type NoteTerms, TERM_NAMES, type TermName } from './terms.ts'

/** A key as its row says it is: its terms without the notes, and its state. Times are milliseconds since 1970, hashes are hex. */
export interface Rights extends Omit<KeyTerms, keyof NoteTerms> {
  id: string
  keyHash: string
  previousKeyHash: string | null
  previousUntil: number | null
  walletAddress: string
  suspendedAt: number | null
  suspendedBy: string | null
  revokedAt: number | null
  grantId: number
  createdAt: number
}

/** The rights that the text `key 1` covers, in its order. Databases hold MACs of this text: the list never changes. */
const FIRST_RIGHTS = [
  'id',
  'keyHash',
  'previousKeyHash',
  'previousUntil',
  'walletAddress',
  'name',
  'permissions',
  'expiresAt',
  'suspendedAt',
  'suspendedBy',
  'revokedAt',
  'rateLimit',
  'ipAllowlist',
  'tokens',
  'recipients',
  'maxAmountIn',
  'ownOrdersOnly',
  'grantId',
  'createdAt',
] as const satisfies readonly (keyof Rights)[]

/** Terms of the table that came after that text. */
const LATER_RIGHTS = TERM_NAMES.filter(
  (name) => KEY_TERMS[name].kind !== 'note' && !(FIRST_RIGHTS as readonly string[]).includes(name),
) as Exclude<TermName, keyof NoteTerms>[]

/** The rights of a row, in the order in which the database returns them. */
export const RIGHT_NAMES: readonly (keyof Rights)[] = [...FIRST_RIGHTS, ...LATER_RIGHTS]

/** The values of a row's rights, in the order of `RIGHT_NAMES`. */
export type RightsValues = readonly unknown[]

/** Names the values of a row's rights. It verifies nothing: see `rightsText`. */
export function readRights(values: RightsValues): Rights {
  return Object.fromEntries(RIGHT_NAMES.map((name, at) => [name, values[at]])) as unknown as Rights
}

/**
 * The text that a row's `rights_mac` covers. A key without a later term has the text of the first release, so its MAC is
 * valid before, during and after an upgrade, and no process has to compute one for a row that it cannot verify. A key with a
 * later term has another tag: a release that does not know the term computes another text, and refuses the key instead of
 * ignoring the limit.
 */
export function rightsText(rights: Rights): string {
  const first = FIRST_RIGHTS.map((name) => rights[name])
  const later = LATER_RIGHTS.filter((name) => rights[name] !== KEY_TERMS[name].none)
  return later.length === 0
    ? JSON.stringify(['key 1', ...first])
    : JSON.stringify([
        'key 2',
        ...first,
        Object.fromEntries(later.map((name) => [name, rights[name]])),
      ])
}
