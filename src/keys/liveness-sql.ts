import { type SQL, sql } from 'drizzle-orm'
import { latest } from '../db/time.ts'

/** `inactiveReason` of src/keys/liveness.ts over a row of api_keys; null while the key is active. */
export function inactiveReasonSql(at: SQL): SQL {
  return sql`CASE
    WHEN revoked_at IS NOT NULL THEN 'revoked'
    WHEN suspended_at IS NOT NULL THEN 'suspended'
    WHEN expires_at <= ${at} THEN 'expired'
  END`
}

/** Whether `inactiveReason` is undefined: the key has not ended and is not suspended. */
export function isActiveSql(at: SQL): SQL {
  return sql`${isUnendedSql(at)} AND suspended_at IS NULL`
}

/** Whether `endReason` of src/keys/liveness.ts is undefined. */
export function isUnendedSql(at: SQL): SQL {
  return sql`revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ${at})`
}

/** Whether a hash is of a key's current secret, or of the previous one while a rotation's grace lasts. */
export function hasHashSql(hash: SQL, at: SQL): SQL {
  return sql`(key_hash = ${hash} OR previous_key_hash = ${hash} AND previous_until > ${latest(at)})`
}
