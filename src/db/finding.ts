import { type SQL, sql } from 'drizzle-orm'

/** Findings of one rule of a key in a day, at most: a thief with ten thousand addresses fills no table. */
const MAX_FINDINGS_A_DAY = 20

/**
 * The part of a statement that stores what the rules of keys have found, each subject once. `found` names a CTE with the columns
 * key_id, shard, wallet_address, rule, subject, at and details. `inShards` is the condition that restricts a table to their shards.
 */
export function insertFindings(
  found: SQL,
  inShards: (table: string) => SQL,
  actedAt = sql`NULL::timestamptz`,
): SQL {
  return sql`INSERT INTO key_findings (key_id, shard, wallet_address, rule, subject, at, details, acted_at)
    SELECT key_id, shard, wallet_address, rule, subject, at, details, ${actedAt} FROM (
      SELECT *, row_number() OVER (PARTITION BY key_id, rule ORDER BY at, subject) + (
        SELECT count(*) FROM key_findings AS before WHERE before.key_id = ${found}.key_id AND before.rule = ${found}.rule
          AND before.at > ${found}.at - interval '1 day'${inShards('before')}
      ) AS of_day FROM ${found}
    ) AS numbered WHERE of_day <= ${MAX_FINDINGS_A_DAY}::int ORDER BY key_id, rule, subject
    ON CONFLICT ON CONSTRAINT key_findings_pk DO NOTHING`
}
