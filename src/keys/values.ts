import * as z from 'zod/mini'
import { AMOUNT_PATTERN, EXPIRY_MESSAGE, MAX_TIME, PUBLIC_KEY_MESSAGE } from './form.ts'
import {
  KEY_TERMS,
  type MemberForm,
  type MemberOf,
  memberOf,
  type RecordForm,
  type SignedTerm,
  TERM_NAMES,
  type TermForm,
  type TermMembers,
  type TermName,
  type TextForm,
} from './terms.ts'
import { textFault } from './text.ts'

/*
 * Schemas of what a message may set, made from the table of terms. In zod/mini, which combines with the classic schemas of the
 * service and is what a page could afford. Every message is given, because zod/mini has none of its own.
 */

const AMOUNT = 'must be a whole number above 0, as text, in the smallest unit'

/** ISO 8601 with a zone, or milliseconds since 1970. */
export const Expiry = z.union(
  // Of a text zod shows the issue of the text's own member alone.
  [
    z.iso.datetime({ offset: true, error: EXPIRY_MESSAGE }),
    z.int().check(z.positive(), z.maximum(MAX_TIME)),
  ],
  EXPIRY_MESSAGE,
)

const Amount = z.string(AMOUNT).check(z.regex(AMOUNT_PATTERN, AMOUNT))
const AmountLimit = z
  .strictObject({ perOrder: z.optional(Amount), perDay: z.optional(Amount) }, 'must be an object')
  .check(
    z.refine(
      ({ perOrder, perDay }) => perOrder !== undefined || perDay !== undefined,
      'must have perOrder or perDay',
    ),
  )

type SchemasByType = {
  readonly [Type in TermForm['type']]: (form: Extract<TermForm, { type: Type }>) => z.ZodMiniType
}

const SCHEMAS: SchemasByType = {
  text: (form) =>
    z.string('must be text').check(z.minLength(1, 'must not be empty'), ({ value, issues }) => {
      const message = value === '' ? undefined : textFault(value, form)
      if (message !== undefined) issues.push({ code: 'custom', message, input: value })
    }),
  list: listOf,
  ranges: listOf,
  integer: ({ min = Number.MIN_SAFE_INTEGER, max = Number.MAX_SAFE_INTEGER }) =>
    integerOf(min, max),
  time: () => Expiry,
  amounts: ({ token, maxItems }) => byToken(token, AmountLimit, maxItems),
  flag: () => z.boolean('must be true or false'),
  publicKey: ({ key }) =>
    z.strictObject(
      { alg: z.literal('ed25519', 'must be ed25519'), key: textOf(key) },
      PUBLIC_KEY_MESSAGE,
    ),
  record: recordSchema,
}

const MEMBER_SCHEMAS: {
  readonly [Type in MemberForm['type']]: (
    form: Extract<MemberForm, { type: Type }>,
  ) => z.ZodMiniType
} = {
  integer: ({ min, max }) => integerOf(min, max),
  choice: ({ from }) => z.enum(from, `must be ${from.join(' or ')}`),
  sums: ({ token, maxItems }) => byToken(token, Amount, maxItems),
  record: recordSchema,
}

function memberSchema(form: MemberForm): z.ZodMiniType {
  return (MEMBER_SCHEMAS[form.type] as (form: MemberForm) => z.ZodMiniType)(form)
}

function recordSchema({ members, arePartial = false }: RecordForm): z.ZodMiniType {
  const shape = Object.entries(members).map(([name, form]) => {
    const schema = memberSchema(form)
    return [name, arePartial ? z.optional(schema) : schema] as const
  })
  const names = Object.keys(members)
  return z
    .strictObject(Object.fromEntries(shape), 'must be an object')
    .check(
      z.refine(
        (record) => Object.values(record).some((value) => value !== undefined),
        `must have one of ${names.join(', ')} at least`,
      ),
    )
}

function integerOf(min: number, max: number) {
  return z
    .int('must be a whole number')
    .check(z.minimum(min, `must be ${min} or more`), z.maximum(max, `must be ${max} or less`))
}

function byToken(token: TextForm, value: z.ZodMiniType, maxItems: number) {
  return recordOf(textOf(token), value).check(
    z.refine((amounts) => {
      const tokens = Object.keys(amounts).length
      return tokens > 0 && tokens <= maxItems
    }, `must name 1 to ${maxItems} tokens`),
  )
}

function textOf({ pattern, maxLength, message }: TextForm) {
  return z.string('must be text').check(z.maxLength(maxLength, message), z.regex(pattern, message))
}

function listOf({ item, minItems, maxItems }: Extract<TermForm, { type: 'list' | 'ranges' }>) {
  const list = z
    .array(textOf(item), 'must be a list')
    .check(
      z.refine((items) => new Set(items).size === items.length, 'must not have anything twice'),
    )
  const filled =
    minItems === 0
      ? list
      : list.check(z.minLength(minItems, 'must not be empty: leave it out, or lift it with null'))
  return maxItems === undefined
    ? filled
    : filled.check(z.maxLength(maxItems, `must have ${maxItems} or fewer`))
}

/** A member named `__proto__` is refused: `z.record` leaves it out of its output, and nothing signed may be ignored. */
function recordOf<Value extends z.ZodMiniType>(key: z.ZodMiniType<string>, value: Value) {
  const refuseProto = z.transform((input: unknown, { issues }) => {
    if (typeof input === 'object' && input !== null && Object.hasOwn(input, '__proto__'))
      issues.push({ code: 'custom', message: 'must not have a member named __proto__', input })
    return input
  })
  return z.pipe(refuseProto, z.record(key, value, 'must be an object'))
}

/** The schema of a term's value in a message, with its description. */
export function valueSchema(name: TermName): z.ZodMiniType {
  const term = KEY_TERMS[name]
  const schemaOf = SCHEMAS[term.type] as (form: TermForm) => z.ZodMiniType
  return schemaOf(term).check(z.describe(term.description))
}

/** The members of a create_api_key message that set terms, for a strict object schema. */
export const GRANT_MEMBERS = membersOf((schema, isRequired) =>
  isRequired ? schema : z.optional(schema),
) as unknown as {
  [Name in TermName as MemberOf<Name>]: z.ZodMiniType<
    Name extends 'name' | 'permissions' ? SignedTerm<Name> : SignedTerm<Name> | undefined
  >
}

/** The members of an update_api_key message that set terms: all are optional, and null lifts those that a grant may leave out. */
export const CHANGE_MEMBERS = membersOf((schema, isRequired) =>
  z.optional(isRequired ? schema : z.nullable(schema)),
) as unknown as { [Member in keyof TermMembers]-?: z.ZodMiniType<TermMembers[Member]> }

function membersOf(member: (schema: z.ZodMiniType, isRequired: boolean) => z.ZodMiniType) {
  return Object.fromEntries(
    TERM_NAMES.map((name) => {
      const { isRequired = false } = KEY_TERMS[name]
      return [memberOf(name), member(valueSchema(name), isRequired)]
    }),
  )
}
