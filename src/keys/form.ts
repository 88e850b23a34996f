import {
  KEY_TERMS,
  type MemberForm,
  memberOf,
  type RecordForm,
  TERM_NAMES,
  type TermForm,
  type TermName,
  type TextForm,
} from './terms.ts'
import { textFault } from './text.ts'

/*
 * The form of what a message may set, from the table of terms and without zod, because the SDK bundles it: a wallet is not asked to
 * sign what the service refuses. A test holds that the schemas of src/keys/values.ts accept and refuse the same.
 */

/** What is wrong with a member, in the words of the service. */
export interface FormIssue {
  /** In the message, as `permissions[0]`. */
  path: string
  message: string
}

/** The longest time for which the secret before a rotation works. */
export const MAX_GRACE_SECONDS = 604_800
/** The last millisecond of the year 9999, as far as ISO 8601 reaches. */
export const MAX_TIME = 253_402_300_799_999
export const EXPIRY_MESSAGE =
  'must be ISO 8601 with a zone, as 2027-01-31T12:00:00Z, or milliseconds since 1970: of a local time, new Date(text).toISOString()'
export const PUBLIC_KEY_MESSAGE = 'must be {"alg":"ed25519","key":"BASE64URL"}'
export const AMOUNT_PATTERN = /^[1-9][0-9]{0,38}$/

const ISO_TIME =
  /^(\d{4}-\d\d-\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/

/** Whether a value is ISO 8601 with a zone, of a day that there is. */
export function isIsoTime(value: unknown): value is string {
  const day = typeof value === 'string' ? ISO_TIME.exec(value)?.[1] : undefined
  const time = day === undefined ? Number.NaN : Date.parse(`${day}T00:00:00Z`)
  return !Number.isNaN(time) && new Date(time).toISOString().slice(0, 10) === day
}

/** Finds what has not the form of a grant or, with `isChange`, of a change: there a term may be absent, or null. */
export function formIssues(members: Record<string, unknown>, isChange: boolean): FormIssue[] {
  const known = new Set<string>(TERM_NAMES.map(memberOf))
  const unknown = Object.keys(members).filter((member) => !known.has(member))
  return [
    ...unknown.map((path) => ({ path, message: 'is not known' })),
    ...TERM_NAMES.flatMap((name) => issuesOf(name, members[memberOf(name)], isChange)),
  ]
}

function issuesOf(name: TermName, value: unknown, isChange: boolean): FormIssue[] {
  const { isRequired = false, type } = KEY_TERMS[name]
  if (value === undefined && (isChange || !isRequired)) return []
  if (value === null && isChange && !isRequired) return []
  const faults = FAULTS[type] as (value: unknown, form: TermForm) => Fault[]
  return faults(value, KEY_TERMS[name]).map(([path, message]) => ({
    path: `${memberOf(name)}${path}`,
    message,
  }))
}

type Fault = readonly [path: string, message: string]

const fault = (isOne: boolean, message: string, path = ''): Fault[] =>
  isOne ? [[path, message]] : []

const FAULTS: {
  readonly [Type in TermForm['type']]: (
    value: unknown,
    form: Extract<TermForm, { type: Type }>,
  ) => Fault[]
} = {
  text(value, form) {
    if (typeof value !== 'string') return [['', 'must be text']]
    const message = textFault(value, form)
    return fault(message !== undefined, message ?? '')
  },
  list: listFaults,
  ranges: listFaults,
  integer: integerFaults,
  time: (value) =>
    fault(
      !isIsoTime(value) &&
        !(Number.isSafeInteger(value) && Number(value) > 0 && Number(value) <= MAX_TIME),
      EXPIRY_MESSAGE,
    ),
  amounts: (value, form) => byTokenFaults(value, form, amountFaults),
  flag: (value) => fault(typeof value !== 'boolean', 'must be true or false'),
  publicKey(value, { key: form }) {
    const { alg, key, ...others } = isRecord(value) ? value : {}
    const isOne = alg === 'ed25519' && hasForm(key, form) && Object.keys(others).length === 0
    return fault(!isOne, PUBLIC_KEY_MESSAGE)
  },
  record: recordFaults,
}

const MEMBER_FAULTS: {
  readonly [Type in MemberForm['type']]: (
    value: unknown,
    form: Extract<MemberForm, { type: Type }>,
  ) => Fault[]
} = {
  integer: integerFaults,
  choice: (value, { from }) =>
    fault(typeof value !== 'string' || !from.includes(value), `must be ${from.join(' or ')}`),
  sums: (value, form) => byTokenFaults(value, form, sumFaults),
  record: recordFaults,
}

function recordFaults(value: unknown, { members, arePartial = false }: RecordForm): Fault[] {
  if (!isRecord(value)) return [['', 'must be an object']]
  const names = Object.keys(members)
  const given = names.filter((name) => Object.hasOwn(value, name) && value[name] !== undefined)
  return [
    ...fault(given.length === 0, `must have one of ${names.join(', ')} at least`),
    ...Object.keys(value)
      .filter((name) => !Object.hasOwn(members, name))
      .flatMap((name) => fault(true, 'is not known', `.${name}`)),
    ...Object.entries(members).flatMap(([name, form]) => {
      const member = Object.hasOwn(value, name) ? value[name] : undefined
      if (member === undefined && arePartial) return []
      const faults = MEMBER_FAULTS[form.type] as (value: unknown, form: MemberForm) => Fault[]
      return faults(member, form).map(([path, message]): Fault => [`.${name}${path}`, message])
    }),
  ]
}

function integerFaults(
  value: unknown,
  { min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number },
): Fault[] {
  if (!Number.isSafeInteger(value)) return [['', 'must be a whole number']]
  return [
    ...fault(Number(value) < min, `must be ${min} or more`),
    ...fault(Number(value) > max, `must be ${max} or less`),
  ]
}

function byTokenFaults(
  value: unknown,
  { token, maxItems }: { token: TextForm; maxItems: number },
  faultsOf: (value: unknown, path: string) => Fault[],
): Fault[] {
  if (!isRecord(value)) return [['', 'must be an object']]
  const tokens = Object.keys(value)
  return [
    ...fault(tokens.length === 0 || tokens.length > maxItems, `must name 1 to ${maxItems} tokens`),
    ...tokens.flatMap((name) => [
      ...fault(name === '__proto__' || !hasForm(name, token), token.message, `.${name}`),
      ...faultsOf(value[name], `.${name}`),
    ]),
  ]
}

function listFaults(
  value: unknown,
  {
    item,
    minItems,
    maxItems = Number.POSITIVE_INFINITY,
  }: { item: TextForm; minItems: number; maxItems?: number },
): Fault[] {
  if (!Array.isArray(value)) return [['', 'must be a list']]
  return [
    ...fault(new Set(value).size !== value.length, 'must not have anything twice'),
    ...fault(value.length < minItems, 'must not be empty: leave it out, or lift it with null'),
    ...fault(value.length > maxItems, `must have ${maxItems} or fewer`),
    ...Array.from(value, (one, at) => fault(!hasForm(one, item), item.message, `[${at}]`)).flat(),
  ]
}

function amountFaults(value: unknown, path: string): Fault[] {
  if (!isRecord(value)) return [[path, 'must be an object']]
  const { perOrder, perDay, ...others } = value
  return [
    ...fault(Object.keys(others).length > 0, 'must have perOrder and perDay only', path),
    ...fault(perOrder === undefined && perDay === undefined, 'must have perOrder or perDay', path),
    ...Object.entries({ perOrder, perDay }).flatMap(([name, amount]) =>
      amount === undefined ? [] : sumFaults(amount, `${path}.${name}`),
    ),
  ]
}

function sumFaults(amount: unknown, path: string): Fault[] {
  return fault(
    !(typeof amount === 'string' && AMOUNT_PATTERN.test(amount)),
    'must be a whole number above 0, as text, in the smallest unit',
    path,
  )
}

function hasForm(value: unknown, { pattern, maxLength }: TextForm): boolean {
  return typeof value === 'string' && value.length <= maxLength && pattern.test(value)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
