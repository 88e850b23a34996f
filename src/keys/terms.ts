import { isContractId, isStacksAddress } from '../stacks/address.ts'
import type { Network } from '../stacks/network.ts'
import { canonicalIpRange, parseIpRange } from '../wire/ip.ts'
import type { Permission } from './scope.ts'
import type { PlainTextForm } from './text.ts'

/*
 * The terms that an owner sets for a key, one entry each. Messages, validation, SQL, the MAC, replay, responses, the SDK's
 * types and the CLI's options follow from the table: a new limit is a member of `LimitTerms`, an entry of `KEY_TERMS`, a
 * column in src/db/schema.ts, and the code that enforces it. The file has neither zod nor SQL, because the SDK bundles it.
 */

/** What may be spent of one input token, in its smallest unit, as text. */
export interface AmountLimit {
  perOrder?: string
  /** Per UTC day; an order counts from its creation until it is cancelled, expires or fails. */
  perDay?: string
}

/** By input token. Tokens that it does not name may not be spent at all. */
export type MaxAmountIn = Record<string, AmountLimit>

/** The public key of a key's holder, who signs requests with the private one. */
export interface PublicKey {
  alg: 'ed25519'
  /** 32 bytes in base64url, without padding. */
  key: string
}

/** What narrows a key beyond its permissions. Null or false: it does not. */
export interface LimitTerms {
  /** Addresses and CIDR ranges that it may be used from. */
  ipAllowlist: string[] | null
  /** Contract ids, or `.stx`, that its orders may trade, in and out. */
  tokens: string[] | null
  /** Addresses that may receive the output, besides the owner. The grant is the owner's signature for them. */
  recipients: string[] | null
  /** What may be spent, by input token. Tokens that it does not name may not be spent at all. */
  maxAmountIn: MaxAmountIn | null
  /** It may execute and cancel only orders that were created with it. */
  ownOrdersOnly: boolean
  /** How many orders that were created with it may be open, executing or broadcasted at once. */
  maxOpenOrders: number | null
  /** Verifies its requests, which are signed (RFC 9421). The key then has no secret. */
  publicKey: PublicKey | null
  /** Its secret only signs requests, by HMAC-SHA-256, and is never sent. */
  requireSignature: boolean
  /** How old the signature of a request may be. */
  maxSignatureAgeSeconds: number | null
}

/** What happens to a key that is not used for a time. */
export interface Heartbeat {
  /** Every request that the gate counts begins them anew. */
  seconds: number
  /** `cancel`: its open orders, those that were created with it. `suspend`: the key, until its owner resumes it. */
  then: 'cancel' | 'suspend'
}

/** What follows a finding: the owner is told, or told and the key suspended until its owner resumes it. */
export type AlertAction = 'notify' | 'suspend'

/** What an owner wants to be told of a key. Requests that were refused count as well. */
export interface Alerts {
  /** It is used from an address that it was not used from before. */
  newAddress?: { action: AlertAction }
  /** It is used from a network (/24, or /48 of IPv6) that it was not used from before. */
  newNetwork?: { action: AlertAction }
  /** Of at least `requests` in five minutes, this share or more was refused. */
  errorRate?: { percent: number; requests: number; action: AlertAction }
  /** It is used more often than this in a UTC minute. */
  requestsPerMinute?: { above: number; action: AlertAction }
  /** It reserves more than this of a token in a UTC hour, in the token's smallest unit. */
  spendPerHour?: { above: Record<string, string>; action: AlertAction }
  /** It ends in 14, 3 and 1 days. */
  expiring?: { action: 'notify' }
}

/** What the service watches of a key, and does, in the name of its owner. */
export interface RuleTerms {
  heartbeat: Heartbeat | null
  alerts: Alerts | null
}

/** What an owner notes about a key. It gives no right and takes none. */
export interface NoteTerms {
  label: string | null
  justification: string | null
}

/** All terms of a key, as the service stores them. Null: not set. */
export interface KeyTerms extends LimitTerms, RuleTerms, NoteTerms {
  name: string
  permissions: Permission[]
  /** Milliseconds since 1970. */
  expiresAt: number | null
  /** Requests a minute. */
  rateLimit: number | null
}

export type TermName = keyof KeyTerms

/** Limits as responses show them: what does not narrow is absent. */
export type KeyLimits = {
  [Name in keyof LimitTerms]?: Exclude<LimitTerms[Name], null | false>
}

/** Rules as responses to the owner show them. The bearer of a key is not told of its alerts. */
export type KeyRules = { [Name in keyof RuleTerms]?: Exclude<RuleTerms[Name], null> }

/** Notes as responses show them. */
export type KeyNotes = { [Name in keyof NoteTerms]?: Exclude<NoteTerms[Name], null> }

/** A term's value in a message. */
export type SignedTerm<Name extends TermName> = Name extends 'expiresAt'
  ? string | number
  : Exclude<KeyTerms[Name], null>

export type MemberOf<Name extends TermName> = Name extends 'name' ? 'keyName' : Name

/** The members of a message that set terms. An absent one changes nothing; null lifts a term. */
export type TermMembers = {
  [Name in TermName as MemberOf<Name>]?: SignedTerm<Name> | null | undefined
}

/** A text that machines read. */
export interface TextForm {
  pattern: RegExp
  maxLength: number
  /** What is wrong with a text that does not fit. */
  message: string
}

/** The form of a member of a record. */
export type MemberForm =
  | { type: 'integer'; min: number; max: number }
  | { type: 'choice'; from: readonly string[] }
  /** Amounts by token, as text. */
  | { type: 'sums'; token: TextForm; maxItems: number }
  | RecordForm

/** An object with these members and no others. */
export interface RecordForm {
  type: 'record'
  members: Readonly<Record<string, MemberForm>>
  /** Whether each member may be absent, but not all of them; otherwise none may. */
  arePartial?: boolean
}

/** The form of a term's values. Schemas, SQL types and CLI options follow from it: each has a table by `type`. */
export type TermForm =
  /** Text for people: see `textFault`. */
  | ({ type: 'text' } & PlainTextForm)
  | { type: 'list'; item: TextForm; minItems: number; maxItems?: number }
  /** A list of IP addresses and CIDR ranges. */
  | { type: 'ranges'; item: TextForm; minItems: number; maxItems?: number }
  | { type: 'integer'; min?: number; max?: number }
  /** Stored as milliseconds since 1970; signed as ISO 8601 as well. */
  | { type: 'time' }
  | { type: 'amounts'; token: TextForm; maxItems: number }
  | { type: 'flag' }
  | { type: 'publicKey'; key: TextForm }
  | RecordForm

type TypeOf<Value> = Value extends string
  ? 'text'
  : Value extends string[]
    ? 'list' | 'ranges'
    : Value extends number
      ? 'integer' | 'time'
      : Value extends boolean
        ? 'flag'
        : Value extends PublicKey
          ? 'publicKey'
          : Value extends MaxAmountIn
            ? 'amounts'
            : 'record'

type KindOf<Name extends TermName> = Name extends keyof LimitTerms
  ? 'limit'
  : Name extends keyof RuleTerms
    ? 'rule'
    : Name extends keyof NoteTerms
      ? 'note'
      : 'base'

type Term<Name extends TermName> = Extract<
  TermForm,
  { type: TypeOf<Exclude<KeyTerms[Name], null>> }
> & {
  /** Its member in a message, where that is not its name. */
  member?: MemberOf<Name>
  /** How responses show it: a limit, a rule or a note when it is set, a base term in a form of its own. */
  kind: KindOf<Name>
  /** Whether every grant sets it, so that no change can lift it. */
  isRequired?: true
  /** Its value in a row when the owner did not set it, or lifted it. */
  none: KeyTerms[Name]
  column: string
  /** For the OpenAPI document and the CLI's help: a noun phrase. */
  description: string
  /** One form for all values that mean the same: the database and the owner may write them differently. */
  canonical?(value: unknown): unknown
  /** What is wrong with a value in this service, among the other terms: see `TermsPolicy`. */
  faults?(value: Exclude<KeyTerms[Name], null>, policy: TermsPolicy, terms: KeyTerms): Fault[]
}

/** What a service lets a key's terms be. */
export interface TermsPolicy {
  network: Network
  /** Every scope that a key may carry here. */
  scopes: readonly string[]
  /** The most requests a minute that a grant may set: what a key has by default. */
  maxRateLimit: number
  /** Milliseconds since 1970. */
  now: number
}

interface Fault {
  /** Within the value, as `[0]` or `.TOKEN`. */
  path?: string
  message: string
}

/** The fewest requests a minute that a grant may set. With less, a key would seem broken. */
export const MIN_RATE_LIMIT = 10
/** From the year 10000 on, ISO 8601 has another form. */
const FAR_FUTURE = Date.UTC(10_000, 0)
const MAX_LIST = 20

const SCOPE: TextForm = {
  pattern: /^[a-z][a-z0-9_-]*$/,
  maxLength: 32,
  message: 'must be the name of a scope',
}
const RANGE: TextForm = {
  pattern: /^[0-9A-Fa-f.:/]+$/,
  maxLength: 64,
  message: 'must be an address or a CIDR range',
}
const TOKEN: TextForm = {
  pattern: /^[A-Za-z0-9._-]+$/,
  maxLength: 96,
  message: 'must be a contract id, or .stx',
}
const ADDRESS: TextForm = {
  pattern: /^[A-Z0-9]+$/,
  maxLength: 64,
  message: 'must be a Stacks address',
}
/** 32 bytes in base64url: the last character has two bits of them. */
const ED25519_KEY: TextForm = {
  pattern: /^[\w-]{42}[AEIMQUYcgkosw048]$/,
  maxLength: 43,
  message: 'must be 32 bytes in base64url',
}
/**
 * How the points of small order begin, with which a signature of one text is one of every text, and the texts of numbers beyond the field
 * (RFC 8032 s5.1.3) that stand for them. Of keys that a generator makes, one of 2^57 begins so.
 */
const SMALL_ORDER = /^(A[AQ]A{8}|7[Pfv]_{8}|JuiVj8KyJ7|xxdqcD1N2E)/
const NO_TOKEN = 'must be a contract id of this network, or .stx'

/** The shortest silence: it is noticed some five seconds late. The longest is 30 days. */
export const MIN_HEARTBEAT_SECONDS = 10
export const MAX_HEARTBEAT_SECONDS = 2_592_000
const MAX_REQUESTS = 1_000_000
/** With more tokens, the longest grant would leave a message no room for its head. */
const MAX_HOURLY = 5
const ACTION: MemberForm = { type: 'choice', from: ['notify', 'suspend'] }
const HEARTBEAT: RecordForm = {
  type: 'record',
  members: {
    seconds: { type: 'integer', min: MIN_HEARTBEAT_SECONDS, max: MAX_HEARTBEAT_SECONDS },
    then: { type: 'choice', from: ['cancel', 'suspend'] },
  },
}
const ALERTS: RecordForm & { members: Record<keyof Alerts, RecordForm> } = {
  type: 'record',
  arePartial: true,
  members: {
    newAddress: { type: 'record', members: { action: ACTION } },
    newNetwork: { type: 'record', members: { action: ACTION } },
    errorRate: {
      type: 'record',
      members: {
        percent: { type: 'integer', min: 1, max: 100 },
        requests: { type: 'integer', min: 10, max: MAX_REQUESTS },
        action: ACTION,
      },
    },
    requestsPerMinute: {
      type: 'record',
      members: { above: { type: 'integer', min: 1, max: MAX_REQUESTS }, action: ACTION },
    },
    spendPerHour: {
      type: 'record',
      members: { above: { type: 'sums', token: TOKEN, maxItems: MAX_HOURLY }, action: ACTION },
    },
    expiring: {
      type: 'record',
      members: { action: { type: 'choice', from: ['notify'] } },
    },
  },
}

export const KEY_TERMS: { readonly [Name in TermName]: Term<Name> } = {
  name: {
    type: 'text',
    maxCharacters: 64,
    isTrimmed: true,
    kind: 'base',
    member: 'keyName',
    isRequired: true,
    none: '',
    column: 'name',
    description:
      'a name that looks like that of no other live key of the wallet, up to 64 characters',
  },
  permissions: {
    type: 'list',
    item: SCOPE,
    minItems: 0,
    kind: 'base',
    isRequired: true,
    none: [],
    column: 'permissions',
    description: 'what the key may do: create, execute, cancel, read, or scopes of GET /scopes',
    faults: (list, { scopes }) =>
      each(list, (scope) => scopes.includes(scope), `must be one of ${scopes.join(', ')}`),
  },
  expiresAt: {
    type: 'time',
    kind: 'base',
    none: null,
    column: 'expires_at',
    description: 'when the key ends: ISO 8601 with a zone, as 2027-01-31T00:00:00Z',
    faults: (at, { now }) =>
      at > now && at < FAR_FUTURE ? [] : [{ message: 'must be in the future' }],
  },
  rateLimit: {
    type: 'integer',
    kind: 'base',
    none: null,
    column: 'rate_limit_per_minute',
    description: `requests a minute: ${MIN_RATE_LIMIT} to what keys have by default`,
    faults: (requests, { maxRateLimit }) =>
      requests >= MIN_RATE_LIMIT && requests <= maxRateLimit
        ? []
        : [{ message: `must be from ${MIN_RATE_LIMIT} to ${maxRateLimit}` }],
  },
  ipAllowlist: {
    type: 'ranges',
    item: RANGE,
    minItems: 1,
    maxItems: MAX_LIST,
    kind: 'limit',
    none: null,
    column: 'ip_allowlist',
    description: 'addresses and CIDR ranges that the key may be used from',
    canonical: (ranges) =>
      Array.isArray(ranges)
        ? ranges.map((range) => canonicalIpRange(String(range))).sort()
        : ranges,
    faults: (ranges) =>
      each(
        ranges,
        (range) => parseIpRange(range) !== undefined,
        'must be an address, or a CIDR range without bits beyond its prefix',
      ),
  },
  tokens: {
    type: 'list',
    item: TOKEN,
    minItems: 1,
    maxItems: MAX_LIST,
    kind: 'limit',
    none: null,
    column: 'tokens',
    description: 'contract ids, or .stx, that its orders may trade, in and out',
    faults: (tokens, policy) => each(tokens, (token) => isToken(token, policy), NO_TOKEN),
  },
  recipients: {
    type: 'list',
    item: ADDRESS,
    minItems: 1,
    maxItems: MAX_LIST,
    kind: 'limit',
    none: null,
    column: 'recipients',
    description: 'addresses that may receive the output, besides the owner',
    faults: (addresses, { network }) =>
      each(
        addresses,
        (address) => isStacksAddress(address, network),
        'must be a Stacks address of this network',
      ),
  },
  maxAmountIn: {
    type: 'amounts',
    token: TOKEN,
    maxItems: MAX_LIST,
    kind: 'limit',
    none: null,
    column: 'max_amount_in',
    description:
      'what may be spent, by input token, as {"TOKEN":{"perOrder":"5","perDay":"50"}}; no other token may be spent',
    canonical: withoutProto,
    faults: amountFaults,
  },
  ownOrdersOnly: {
    type: 'flag',
    kind: 'limit',
    none: false,
    column: 'own_orders_only',
    description: 'whether it may execute and cancel only orders that were created with it',
    faults: (isOwnOnly, _, { permissions }) =>
      isOwnOnly && !permissions.includes('create')
        ? [{ message: 'contradicts permissions without create: it could never own an order' }]
        : [],
  },
  maxOpenOrders: {
    type: 'integer',
    min: 1,
    max: 10_000,
    kind: 'limit',
    none: null,
    column: 'max_open_orders',
    description:
      'how many orders that were created with it may be open, executing or broadcasted at once, 1 to 10000',
  },
  publicKey: {
    type: 'publicKey',
    key: ED25519_KEY,
    kind: 'limit',
    none: null,
    column: 'public_key',
    description:
      'what verifies its requests, {"alg":"ed25519","key":"BASE64URL"}, in place of a secret',
    faults: ({ key }) =>
      SMALL_ORDER.test(key)
        ? [
            {
              path: '.key',
              message: 'is of small order',
            },
          ]
        : [],
  },
  requireSignature: {
    type: 'flag',
    kind: 'limit',
    none: false,
    column: 'require_signature',
    description: 'whether its secret signs requests, by HMAC-SHA-256',
    faults: (isRequired, _, { publicKey }) =>
      isRequired && publicKey !== null ? [{ message: 'contradicts publicKey' }] : [],
  },
  maxSignatureAgeSeconds: {
    type: 'integer',
    min: 5,
    max: 300,
    kind: 'limit',
    none: null,
    column: 'max_signature_age_seconds',
    description: 'how old a signature may be, 5 to 300 seconds, the default',
  },
  heartbeat: {
    ...HEARTBEAT,
    kind: 'rule',
    none: null,
    column: 'heartbeat',
    description: `what happens after a silence of the key, as {"seconds":60,"then":"cancel"}: cancel its open orders, or suspend it; ${MIN_HEARTBEAT_SECONDS} to ${MAX_HEARTBEAT_SECONDS} seconds`,
    faults: ({ then }, _, { permissions }) =>
      then === 'cancel' && !permissions.includes('create')
        ? [
            {
              path: '.then',
              message: 'contradicts permissions without create: it could never own an order',
            },
          ]
        : [],
  },
  alerts: {
    ...ALERTS,
    kind: 'rule',
    none: null,
    column: 'alerts',
    description:
      'what its owner is told of, each with the action notify or suspend, as {"newAddress":{"action":"suspend"},"requestsPerMinute":{"above":60,"action":"notify"}}',
    faults: alertFaults,
  },
  label: {
    type: 'text',
    maxCharacters: 200,
    kind: 'note',
    none: null,
    column: 'label',
    description: "a text of the owner's, up to 200 characters",
  },
  justification: {
    type: 'text',
    maxCharacters: 200,
    kind: 'note',
    none: null,
    column: 'justification',
    description: 'why the key is needed, up to 200 characters',
  },
}

export function isTermName(name: string): name is TermName {
  return Object.hasOwn(KEY_TERMS, name)
}

export const TERM_NAMES = Object.keys(KEY_TERMS) as TermName[]
export const TERM_MEMBERS = TERM_NAMES.map(memberOf)
const isKind = (kind: 'limit' | 'rule' | 'note') => (name: TermName) =>
  KEY_TERMS[name].kind === kind
export const LIMIT_NAMES = TERM_NAMES.filter(isKind('limit')) as (keyof LimitTerms)[]
export const RULE_NAMES = TERM_NAMES.filter(isKind('rule')) as (keyof RuleTerms)[]
export const NOTE_NAMES = TERM_NAMES.filter(isKind('note')) as (keyof NoteTerms)[]

/** The member of a message that sets a term. */
export function memberOf(name: TermName): keyof TermMembers {
  return (KEY_TERMS[name].member ?? name) as keyof TermMembers
}

/** What a message makes of a key's terms; without `before`, of a new key's. Absent members change nothing. */
export function termsAfter(members: TermMembers, before?: KeyTerms): KeyTerms {
  return termsFrom((name) => {
    const { none } = KEY_TERMS[name]
    const signed = members[memberOf(name)]
    if (signed === undefined) return before === undefined ? none : before[name]
    return signed === null ? none : storedValue(name, signed)
  })
}

/** The terms that a key claims in a response. The service's default rate is claimed as well: responses do not tell it apart. */
export function termsShown(
  key: KeyLimits & KeyRules & KeyNotes & { name: string; rateLimit: number; expiresAt?: string },
): KeyTerms {
  const shown: Partial<Record<TermName, unknown>> = key
  return termsFrom((name) =>
    shown[name] === undefined ? KEY_TERMS[name].none : storedValue(name, shown[name]),
  )
}

function storedValue(name: TermName, value: unknown): unknown {
  return KEY_TERMS[name].type === 'time' && typeof value === 'string' ? Date.parse(value) : value
}

function termsFrom(valueOfTerm: (name: TermName) => unknown): KeyTerms {
  return Object.fromEntries(
    TERM_NAMES.map((name) => [name, valueOfTerm(name)]),
  ) as unknown as KeyTerms
}

/** One form for all values of a term that mean the same. What is no value of the term is returned as it is. */
export function canonicalTerm(name: TermName, value: unknown): unknown {
  return KEY_TERMS[name].canonical?.(value) ?? value
}

/** Limits as a response shows them. */
export function presentLimits(terms: LimitTerms): KeyLimits {
  return presentSet(LIMIT_NAMES, terms)
}

/** Limits, rules and notes as a response to the owner shows them. */
export function presentTerms(
  terms: LimitTerms & RuleTerms & NoteTerms,
): KeyLimits & KeyRules & KeyNotes {
  return {
    ...presentLimits(terms),
    ...presentSet(RULE_NAMES, terms),
    ...presentSet(NOTE_NAMES, terms),
  }
}

function presentSet<Name extends TermName>(
  names: readonly Name[],
  terms: { [Each in Name]: KeyTerms[Each] },
): object {
  return Object.fromEntries(
    names.filter((name) => terms[name] !== KEY_TERMS[name].none).map((name) => [name, terms[name]]),
  )
}

export interface TermIssue {
  term: TermName
  /** In the message, as `permissions[0]`. */
  path: string
  message: string
}

/** Finds what is wrong with a key's terms as a whole: names of nothing, contradictions, times that have passed. */
export function validateTerms(terms: KeyTerms, policy: TermsPolicy): TermIssue[] {
  return TERM_NAMES.flatMap((term) => {
    const value = terms[term]
    const { faults } = KEY_TERMS[term] as Pick<Term<TermName>, 'faults'>
    if (value === null || faults === undefined) return []
    return faults(value, policy, terms).map(({ path = '', message }) => ({
      term,
      path: `${memberOf(term)}${path}`,
      message,
    }))
  })
}

function isToken(text: string, { network }: TermsPolicy): boolean {
  return text === '.stx' || isContractId(text, network)
}

/** An earlier release accepted a member named `__proto__` and granted nothing for it: it names no token. */
function withoutProto(amounts: unknown): unknown {
  if (typeof amounts !== 'object' || amounts === null) return amounts
  return Object.fromEntries(Object.entries(amounts).filter(([token]) => token !== '__proto__'))
}

function amountFaults(amounts: MaxAmountIn, policy: TermsPolicy, { tokens }: KeyTerms): Fault[] {
  return Object.entries(amounts).flatMap(([token, { perOrder, perDay }]) => {
    const path = `.${token}`
    if (!isToken(token, policy)) return [{ path, message: NO_TOKEN }]
    if (tokens !== null && !tokens.includes(token))
      return [{ path, message: 'contradicts tokens, which do not have it' }]
    if (perOrder !== undefined && perDay !== undefined && BigInt(perOrder) > BigInt(perDay))
      return [{ path, message: 'has a perOrder that is more than its perDay' }]
    return []
  })
}

function each(list: readonly string[], fits: (text: string) => boolean, message: string): Fault[] {
  return list.flatMap((text, at) => (fits(text) ? [] : [{ path: `[${at}]`, message }]))
}

/** Rules that could never find anything, or that say of one finding that the key is suspended and that it is not. */
function alertFaults(alerts: Alerts, policy: TermsPolicy, terms: KeyTerms): Fault[] {
  const { newAddress, newNetwork, spendPerHour, expiring } = alerts
  const faults: Fault[] = []
  if (newAddress?.action === 'suspend' && newNetwork?.action === 'notify')
    faults.push({
      path: '.newNetwork',
      message: 'contradicts newAddress, which suspends: a new network is always a new address',
    })
  if (expiring !== undefined && terms.expiresAt === null)
    faults.push({ path: '.expiring', message: 'contradicts a key without expiresAt' })
  for (const [token, above] of Object.entries(spendPerHour?.above ?? {}))
    faults.push(...spendFaults(token, above, policy, terms))
  return faults
}

/** What a key spends is known of tokens with a daily amount: these are reserved. */
function spendFaults(
  token: string,
  above: string,
  policy: TermsPolicy,
  { maxAmountIn }: KeyTerms,
): Fault[] {
  const path = `.spendPerHour.above.${token}`
  if (!isToken(token, policy)) return [{ path, message: NO_TOKEN }]
  const perDay =
    maxAmountIn !== null && Object.hasOwn(maxAmountIn, token)
      ? maxAmountIn[token]?.perDay
      : undefined
  if (perDay === undefined)
    return [{ path, message: 'needs a perDay in maxAmountIn: it counts what is spent of a token' }]
  return BigInt(above) >= BigInt(perDay)
    ? [{ path, message: 'contradicts perDay in maxAmountIn: the key can never spend more than it' }]
    : []
}
