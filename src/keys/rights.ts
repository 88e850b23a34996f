import type { AmountLimit, KeyLimits, MaxAmountIn } from './limits.ts'

/** What an owner can say of a key. Null: not limited, or not said. */
export interface KeyTerms {
  name: string
  permissions: string[]
  /** Milliseconds since 1970. */
  expiresAt: number | null
  /** Requests a minute. */
  rateLimit: number | null
  ipAllowlist: string[] | null
  tokens: string[] | null
  recipients: string[] | null
  maxAmountIn: MaxAmountIn | null
  ownOrdersOnly: boolean
  label: string | null
  justification: string | null
}

/** The members by which a message says a key's terms: all optional in a change, and null lifts. */
export interface TermMembers {
  keyName?: string | undefined
  permissions?: string[] | undefined
  /** ISO 8601, or milliseconds since 1970. */
  expiresAt?: string | number | null | undefined
  rateLimit?: number | null | undefined
  ipAllowlist?: string[] | null | undefined
  tokens?: string[] | null | undefined
  recipients?: string[] | null | undefined
  maxAmountIn?:
    | Record<string, { [Name in keyof AmountLimit]: AmountLimit[Name] | undefined }>
    | null
    | undefined
  ownOrdersOnly?: boolean | null | undefined
  label?: string | null | undefined
  justification?: string | null | undefined
}

export const TERM_MEMBERS = [
  'keyName',
  'permissions',
  'expiresAt',
  'rateLimit',
  'ipAllowlist',
  'tokens',
  'recipients',
  'maxAmountIn',
  'ownOrdersOnly',
  'label',
  'justification',
] as const satisfies readonly (keyof TermMembers)[]

const NO_TERMS: KeyTerms = {
  name: '',
  permissions: [],
  expiresAt: null,
  rateLimit: null,
  ipAllowlist: null,
  tokens: null,
  recipients: null,
  maxAmountIn: null,
  ownOrdersOnly: false,
  label: null,
  justification: null,
}

/** What a message makes of a key's terms; a new key has none before. Members that are absent change nothing. */
export function termsAfter(members: TermMembers, before: KeyTerms = NO_TERMS): KeyTerms {
  const { keyName, expiresAt, ownOrdersOnly, maxAmountIn, ...rest } = members
  const given = <T>(value: T | undefined, old: T): T => (value === undefined ? old : value)
  return {
    name: given(keyName, before.name),
    permissions: given(rest.permissions, before.permissions),
    expiresAt:
      typeof expiresAt === 'string' ? Date.parse(expiresAt) : given(expiresAt, before.expiresAt),
    rateLimit: given(rest.rateLimit, before.rateLimit),
    ipAllowlist: given(rest.ipAllowlist, before.ipAllowlist),
    tokens: given(rest.tokens, before.tokens),
    recipients: given(rest.recipients, before.recipients),
    maxAmountIn:
      maxAmountIn === undefined ? before.maxAmountIn : maxAmountIn && amountsOf(maxAmountIn),
    ownOrdersOnly: ownOrdersOnly === undefined ? before.ownOrdersOnly : ownOrdersOnly === true,
    label: given(rest.label, before.label),
    justification: given(rest.justification, before.justification),
  }
}

function amountsOf(given: NonNullable<TermMembers['maxAmountIn']>): MaxAmountIn {
  return Object.fromEntries(
    Object.entries(given).map(([token, { perOrder, perDay }]) => [
      token,
      { ...(perOrder !== undefined && { perOrder }), ...(perDay !== undefined && { perDay }) },
    ]),
  )
}

/** The columns of a key's row that give or take a right, in the order of `RIGHTS` in src/db/rights.ts. */
export type RightsRow = readonly [
  tag: 'key 1',
  id: string,
  keyHash: string,
  previousKeyHash: string | null,
  previousUntil: number | null,
  walletAddress: string,
  name: string,
  permissions: string[],
  expiresAt: number | null,
  suspendedAt: number | null,
  suspendedBy: string | null,
  revokedAt: number | null,
  rateLimit: number | null,
  ipAllowlist: string[] | null,
  tokens: string[] | null,
  recipients: string[] | null,
  maxAmountIn: MaxAmountIn | null,
  ownOrdersOnly: boolean,
  grantId: number,
  createdAt: number,
]

/** A key as its row says it is. Times are milliseconds since 1970, hashes are hex. */
export interface Rights extends Omit<KeyTerms, 'label' | 'justification'> {
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

export function readRights(row: RightsRow): Rights {
  return {
    id: row[1],
    keyHash: row[2],
    previousKeyHash: row[3],
    previousUntil: row[4],
    walletAddress: row[5],
    name: row[6],
    permissions: row[7],
    expiresAt: row[8],
    suspendedAt: row[9],
    suspendedBy: row[10],
    revokedAt: row[11],
    rateLimit: row[12],
    ipAllowlist: row[13],
    tokens: row[14],
    recipients: row[15],
    maxAmountIn: row[16],
    ownOrdersOnly: row[17],
    grantId: row[18],
    createdAt: row[19],
  }
}

/** The text that a row's `rights_mac` is made of. */
export function rightsText(row: RightsRow): string {
  return JSON.stringify(row)
}

/** Terms as the wire shows them: what does not narrow is absent. */
export function presentLimits(
  terms: Pick<KeyTerms, 'ipAllowlist' | 'tokens' | 'recipients' | 'maxAmountIn' | 'ownOrdersOnly'>,
): KeyLimits {
  const { ipAllowlist, tokens, recipients, maxAmountIn, ownOrdersOnly } = terms
  return {
    ...(ipAllowlist !== null && { ipAllowlist }),
    ...(tokens !== null && { tokens }),
    ...(recipients !== null && { recipients }),
    ...(maxAmountIn !== null && { maxAmountIn }),
    ...(ownOrdersOnly && { ownOrdersOnly: true as const }),
  }
}
