import type { Key, KeyChange, NewKey } from '../client/index.ts'
import {
  KEY_TERMS,
  type KeyTerms,
  type MemberForm,
  TERM_NAMES,
  type TermName,
  type TermsPolicy,
  validateTerms,
} from '../client/terms.ts'
import { readAmount, writeAmount } from './format.ts'
import { NO_RULES, type RulesDraft, readAlerts, readHeartbeat, rulesOfKey } from './rules.ts'

/** What the visitor may spend of a token, in the token's own units, as typed. */
export interface AmountDraft {
  token: string
  perOrder: string
  perDay: string
}

/** A key as the form has it: texts as typed. */
export interface KeyDraft {
  name: string
  permissions: string[]
  /** `2027-01-31`, the last day that the key works; empty for a key without an end. */
  lastDay: string
  ipAllowlist: string[]
  tokens: string[]
  amounts: AmountDraft[]
  recipients: string[]
  ownOrdersOnly: boolean
  maxOpenOrders: string
  rateLimit: string
  rules: RulesDraft
  label: string
  /** How its requests are signed: shown, and kept as it is. */
  signing: Signing
}

type Signing = Pick<KeyTerms, 'publicKey' | 'requireSignature' | 'maxSignatureAgeSeconds'>

const UNSIGNED: Signing = {
  publicKey: null,
  requireSignature: false,
  maxSignatureAgeSeconds: null,
}

const DAY_MS = 86_400_000
export const DEFAULT_DAYS = 90

/** The day that is so many days from a time, in the visitor's own zone. */
export function dayAfter(days: number, now: number): string {
  const day = new Date(now + days * DAY_MS)
  const two = (part: number) => String(part).padStart(2, '0')
  return `${day.getFullYear()}-${two(day.getMonth() + 1)}-${two(day.getDate())}`
}

export const TEMPLATES = ['maker', 'executor', 'canceller', 'blank'] as const
export type Template = (typeof TEMPLATES)[number]

/** What a template begins with. */
export function draftOf(
  template: Template,
  names: Record<Template, string>,
  now: number,
): KeyDraft {
  const draft: KeyDraft = {
    name: names[template],
    permissions: [],
    lastDay: dayAfter(DEFAULT_DAYS, now),
    ipAllowlist: [],
    tokens: [],
    amounts: [],
    recipients: [],
    ownOrdersOnly: false,
    maxOpenOrders: '',
    rateLimit: '',
    rules: NO_RULES,
    label: '',
    signing: UNSIGNED,
  }
  const own: Readonly<Record<Template, Partial<KeyDraft>>> = {
    maker: {
      permissions: ['create', 'execute', 'cancel'],
      ownOrdersOnly: true,
      maxOpenOrders: '20',
    },
    executor: { permissions: ['execute'] },
    canceller: { permissions: ['cancel'] },
    blank: {},
  }
  return { ...draft, ...own[template] }
}

/** Decimals of a token; undefined until they are known. */
export type DecimalsOf = (token: string) => number | undefined

/** The draft of a key as it is. The decimals of its tokens must be known: a text stays as it is when they come to be. */
export function draftOfKey(key: Key, decimalsOf: DecimalsOf): KeyDraft {
  const write = (token: string, amount: string | undefined) => {
    if (amount === undefined) return ''
    const decimals = decimalsOf(token)
    if (decimals === undefined) throw new Error(`The decimals of ${token} are not known.`)
    return writeAmount(amount, decimals)
  }
  return {
    name: key.name,
    permissions: [...key.permissions],
    lastDay: key.expiresAt === undefined ? '' : dayAfter(0, Date.parse(key.expiresAt)),
    ipAllowlist: [...(key.ipAllowlist ?? [])],
    tokens: [...(key.tokens ?? [])],
    amounts: Object.entries(key.maxAmountIn ?? {}).map(([token, { perOrder, perDay }]) => ({
      token,
      perOrder: write(token, perOrder),
      perDay: write(token, perDay),
    })),
    recipients: [...(key.recipients ?? [])],
    ownOrdersOnly: key.ownOrdersOnly === true,
    maxOpenOrders: key.maxOpenOrders === undefined ? '' : String(key.maxOpenOrders),
    rateLimit: String(key.rateLimit),
    rules: rulesOfKey(key, write),
    label: key.label ?? '',
    signing: {
      publicKey: key.publicKey ?? null,
      requireSignature: key.requireSignature === true,
      maxSignatureAgeSeconds: key.maxSignatureAgeSeconds ?? null,
    },
  }
}

/** A draft as the service would read it, and the terms that it would refuse. */
export interface ReadDraft {
  terms: KeyTerms
  faults: ReadonlySet<TermName>
  /** Tokens whose decimals are not yet known. Their amounts are not in the terms, and nothing is said of them. */
  awaited: readonly string[]
}

/** Reads a draft by the service's own table of terms, before a wallet is asked to sign it. */
export function readDraft(draft: KeyDraft, decimalsOf: DecimalsOf, policy: TermsPolicy): ReadDraft {
  const faults = new Set<TermName>()
  const whole = (term: TermName, text: string) => {
    if (text.trim() === '') return null
    if (!/^\d{1,9}$/.test(text.trim())) faults.add(term)
    return Number(text)
  }
  const listOrNull = (items: string[]) => (items.length === 0 ? null : items)
  const isAwaited = ({ token }: AmountDraft) => decimalsOf(token) === undefined
  const awaited = draft.amounts.filter(isAwaited).map(({ token }) => token)
  const amounts = readAmounts(
    draft.amounts.filter((one) => !isAwaited(one)),
    decimalsOf,
  )
  if (amounts === undefined) faults.add('maxAmountIn')
  const terms: KeyTerms = {
    name: draft.name.trim(),
    permissions: draft.permissions,
    expiresAt: draft.lastDay === '' ? null : endOfDay(draft.lastDay),
    rateLimit: whole('rateLimit', draft.rateLimit),
    ipAllowlist: listOrNull(draft.ipAllowlist),
    tokens: listOrNull(draft.tokens),
    recipients: listOrNull(draft.recipients),
    maxAmountIn: draft.amounts.length === awaited.length ? null : (amounts ?? null),
    ownOrdersOnly: draft.ownOrdersOnly,
    maxOpenOrders: whole('maxOpenOrders', draft.maxOpenOrders),
    ...draft.signing,
    heartbeat: readHeartbeat(draft.rules),
    alerts: readAlerts(draft.rules, dailyTokens(draft), decimalsOf),
    label: draft.label.trim() === '' ? null : draft.label.trim(),
    justification: null,
  }
  if (terms.name === '' || Number.isNaN(terms.expiresAt))
    faults.add(terms.name === '' ? 'name' : 'expiresAt')
  for (const name of TERM_NAMES) if (!hasForm(name, terms[name])) faults.add(name)
  // What has not the form of a term cannot be compared with the others.
  const compared = faults.has('alerts') ? { ...terms, alerts: null } : terms
  for (const { term } of validateTerms(compared, policy)) faults.add(term)
  return { terms, faults, awaited }
}

/** Tokens with an amount of the day. */
export function dailyTokens({ amounts }: Pick<KeyDraft, 'amounts'>): string[] {
  return amounts
    .filter(({ token, perDay }) => token !== '' && perDay.trim() !== '')
    .map(({ token }) => token)
}

function endOfDay(day: string): number {
  return new Date(`${day}T23:59:59`).getTime()
}

function readAmounts(drafts: readonly AmountDraft[], decimalsOf: DecimalsOf) {
  const amounts: Record<string, { perOrder?: string; perDay?: string }> = {}
  for (const { token, perOrder, perDay } of drafts) {
    const places = decimalsOf(token)
    if (places === undefined) return undefined
    const [order, day] = [perOrder, perDay].map((text) =>
      text.trim() === '' ? null : readAmount(text, places),
    )
    if (order === undefined || day === undefined) return undefined
    if (token === '' || Object.hasOwn(amounts, token)) return undefined
    amounts[token] = { ...(order && { perOrder: order }), ...(day && { perDay: day }) }
  }
  return amounts
}

/** Whether a value has the form that the table of terms gives its kind. */
function hasForm(name: TermName, value: unknown): boolean {
  const form = KEY_TERMS[name]
  if (value === null) return true
  if (form.type === 'text') return [...String(value)].length <= form.maxCharacters
  if (form.type === 'record') return isOfForm(form, value)
  if (form.type === 'integer')
    return (
      Number(value) >= (form.min ?? 0) && Number(value) <= (form.max ?? Number.MAX_SAFE_INTEGER)
    )
  if (form.type !== 'list' && form.type !== 'ranges') return true
  const items = value as string[]
  const { pattern, maxLength } = form.item
  return (
    items.length <= (form.maxItems ?? items.length) &&
    items.every((item) => pattern.test(item) && item.length <= maxLength)
  )
}

/** As `hasForm`, of a member of a record. What is chosen from a list is one of it. */
function isOfForm(form: MemberForm, value: unknown): boolean {
  switch (form.type) {
    case 'integer':
      return Number(value) >= form.min && Number(value) <= form.max
    case 'sums': {
      const amounts = Object.values(value as Record<string, string>)
      return amounts.length > 0 && amounts.every((amount) => amount !== '')
    }
    case 'record':
      return Object.entries(value as object).every(([name, member]) => {
        const of = form.members[name]
        return of !== undefined && isOfForm(of, member)
      })
    case 'choice':
      return true
  }
}

/** What is signed to create the key. */
export function newKeyOf(terms: KeyTerms): NewKey {
  const { name, permissions, expiresAt, justification, ...limits } = terms
  return {
    name,
    permissions,
    ...(expiresAt !== null && { expiresAt: new Date(expiresAt) }),
    ...(Object.fromEntries(
      Object.entries(limits).filter(([, value]) => value !== null && value !== false),
    ) as Partial<NewKey>),
  }
}

/** What changes of a key, and from what. */
export interface TermDifference {
  term: TermName
  before: unknown
  after: unknown
}

/** How a draft differs from a key. A last day that was not touched is no change, whatever its hour. */
export function differencesOf(before: ReadDraft, after: ReadDraft): TermDifference[] {
  return TERM_NAMES.filter(
    (term) => JSON.stringify(before.terms[term]) !== JSON.stringify(after.terms[term]),
  ).map((term) => ({ term, before: before.terms[term], after: after.terms[term] }))
}

/** What is signed to change a key. */
export function changeOf(differences: readonly TermDifference[]): KeyChange {
  return Object.fromEntries(
    differences.map(({ term, after }) => [
      term,
      term === 'expiresAt' && typeof after === 'number' ? new Date(after) : after,
    ]),
  ) as KeyChange
}

export type Risk = 'address' | 'amount' | 'tokens' | 'expiry' | 'long' | 'recipients' | 'scope'
export type RiskLevel = 'low' | 'medium' | 'high'

const WEIGHTS: Readonly<Record<Risk, number>> = {
  address: 2,
  amount: 2,
  tokens: 1,
  expiry: 2,
  long: 1,
  recipients: 1,
  scope: 4,
}
const LONG_DAYS = 366
/** Names of an operator's scopes that sound as if they let value out of the wallet. */
const LETS_OUT = /withdraw|transfer|send|admin|fund|payout/

/** What a thief of the key could do that a narrower one would not allow. */
export function risksOf(terms: KeyTerms, now: number): { risks: Risk[]; level: RiskLevel } {
  const { permissions, expiresAt } = terms
  const spends = permissions.some((one) => one === 'create' || one === 'execute')
  const found: Record<Risk, boolean> = {
    address: terms.ipAllowlist === null && permissions.length > 0,
    amount: spends && terms.maxAmountIn === null,
    tokens: spends && terms.tokens === null && terms.maxAmountIn === null,
    expiry: expiresAt === null,
    long: expiresAt !== null && expiresAt > now + LONG_DAYS * DAY_MS,
    recipients: terms.recipients !== null,
    scope: permissions.some((one) => LETS_OUT.test(one)),
  }
  const risks = (Object.keys(found) as Risk[]).filter((risk) => found[risk])
  const weight = risks.reduce((sum, risk) => sum + WEIGHTS[risk], 0)
  return { risks, level: weight >= 4 ? 'high' : weight >= 2 ? 'medium' : 'low' }
}
