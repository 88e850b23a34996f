import { type SQL, sql } from 'drizzle-orm'

/** A time as milliseconds since 1970: a text of it would depend on the session's settings. */
function ms(column: string): SQL {
  return sql.raw(`(extract(epoch FROM ${column}) * 1000)::bigint`)
}

/**
 * Everything in a row of `api_keys` that gives or takes a right, as one JSON array: `RightsRow` in src/keys/rights.ts. The
 * gate reads it, `rights_mac` covers it, and nothing else decides what a key may do.
 */
export const RIGHTS: SQL = sql`json_build_array('key 1', id, encode(key_hash, 'hex'), encode(previous_key_hash, 'hex'),
  ${ms('previous_until')}, wallet_address, name, permissions, ${ms('expires_at')}, ${ms('suspended_at')}, suspended_by,
  ${ms('revoked_at')}, rate_limit_per_minute, ip_allowlist::text[], tokens, recipients, max_amount_in, own_orders_only,
  grant_id, ${ms('created_at')})`
