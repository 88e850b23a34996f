import { type SQL, sql } from 'drizzle-orm'
import { milliseconds } from '../db/time.ts'
import { canonicalIpRange } from '../wire/ip.ts'
import { RIGHT_NAMES, type Rights } from './rights.ts'
import {
  isTermName,
  KEY_TERMS,
  type KeyTerms,
  NOTE_NAMES,
  TERM_NAMES,
  type TermForm,
  type TermName,
} from './terms.ts'

interface ColumnType {
  sqlType: string
  /** The value as text, which the statement casts: drivers differ in what else they accept. */
  write(value: unknown): string
  /** The column as JSON has it, where that is not the column itself. */
  read?(column: string): SQL
}

const TYPES: Readonly<Record<TermForm['type'], ColumnType>> = {
  text: { sqlType: 'text', write: String },
  list: { sqlType: 'text[]', write: (texts) => arrayText(texts as string[]) },
  ranges: {
    sqlType: 'cidr[]',
    write: (ranges) => arrayText((ranges as string[]).map(canonicalIpRange)),
    read: (column) => sql.raw(`${column}::text[]`),
  },
  integer: { sqlType: 'int', write: String },
  time: {
    sqlType: 'timestamptz',
    write: (ms) => new Date(ms as number).toISOString(),
    read: (column) => milliseconds(sql.raw(column)),
  },
  amounts: { sqlType: 'jsonb', write: JSON.stringify },
  flag: { sqlType: 'boolean', write: String },
  publicKey: { sqlType: 'jsonb', write: JSON.stringify },
  record: { sqlType: 'jsonb', write: JSON.stringify },
}

/** The rights of a row that are no terms. */
const STATE: Readonly<Record<Exclude<keyof Rights, TermName>, SQL>> = {
  id: sql`id`,
  keyHash: sql`encode(key_hash, 'hex')`,
  previousKeyHash: sql`encode(previous_key_hash, 'hex')`,
  previousUntil: milliseconds(sql`previous_until`),
  walletAddress: sql`wallet_address`,
  suspendedAt: milliseconds(sql`suspended_at`),
  suspendedBy: sql`suspended_by`,
  revokedAt: milliseconds(sql`revoked_at`),
  grantId: sql`grant_id`,
  createdAt: milliseconds(sql`created_at`),
}

/**
 * Everything in a row of `api_keys` that gives or takes a right, as a JSON array that `readRights` reads. The gate selects
 * it, `rights_mac` covers it, and nothing else decides what a key may do.
 */
export const RIGHTS: SQL = sql`json_build_array(${list(
  RIGHT_NAMES.map((name) => (isTermName(name) ? termSql(name) : STATE[name])),
)})`

/** The notes of a row, as a JSON object by their names. */
export const NOTES: SQL = sql`json_build_object(${list(
  NOTE_NAMES.map((name) => sql`${sql.raw(`'${name}'`)}, ${termSql(name)}`),
)})`

/** A key's terms as parts of a statement: the columns and values of an INSERT, and the assignments of an UPDATE. */
export function termLists(terms: KeyTerms): { columns: SQL; values: SQL; assignments: SQL } {
  const pairs = TERM_NAMES.map((name) => {
    const { column, type } = KEY_TERMS[name]
    const { sqlType, write } = TYPES[type]
    const value = terms[name]
    const text = value === null ? null : write(value)
    return { column: sql.raw(column), value: sql`${text}::text::${sql.raw(sqlType)}` }
  })
  return {
    columns: list(pairs.map(({ column }) => column)),
    values: list(pairs.map(({ value }) => value)),
    assignments: list(pairs.map(({ column, value }) => sql`${column} = ${value}`)),
  }
}

function termSql(name: TermName): SQL {
  const { column, type } = KEY_TERMS[name]
  return TYPES[type].read?.(column) ?? sql.raw(column)
}

/** An array literal of scopes, contract ids, addresses or ranges: none has a quote or a backslash. Quoted, because null is a name too. */
function arrayText(texts: readonly string[]): string {
  return `{${texts.map((text) => `"${text}"`).join(',')}}`
}

function list(parts: SQL[]): SQL {
  return sql.join(parts, sql`, `)
}
