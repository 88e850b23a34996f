import { type SQL, sql } from 'drizzle-orm'
import { isOutage, messageOf, rows } from '../db/database.ts'
import { inShardsSql, splitByGroup } from '../db/distribution.ts'
import { later, milliseconds, searchTime } from '../db/time.ts'
import { isUnendedSql } from '../keys/liveness-sql.ts'
import { actsAtSql, SILENT_SINCE } from '../keys/watches.ts'
import { isOpenSql } from '../orders/lifecycle.ts'
import { actOnFindings } from './act.ts'
import { type DueWatch, dropWatch } from './due-watch.ts'
import { noticeEnd } from './expiring.ts'
import { actOnSilence } from './heartbeat.ts'
import type { AlertServices } from './services.ts'

/** Keys that one statement takes, and that are acted on at once. Few, so that it looks each of them up by an index. */
const MAX_WATCHES = 100
const CONCURRENCY = 4
/** How long a process has for what it took. One that was killed is taken over after that. */
const CLAIM_MS = 10_000

/**
 * Looks at the keys that are due: acts on silences and on ends that are near, and sets when to look at each key next. Any number of
 * processes may do so at once; each takes keys that no other one has. Then acts on what alerts have found. Resolves to whether nothing
 * more was due.
 */
export async function watchKeys(services: AlertServices): Promise<boolean> {
  const isLooked = await lookAtDue(services)
  const isActed = await actOnFindings(services)
  return isLooked && isActed
}

async function lookAtDue(services: AlertServices): Promise<boolean> {
  const taken = await takeDue(services)
  const acts = taken.filter(({ verdict }) => verdict === 'act' || verdict === 'drop')
  for (let at = 0; at < acts.length; at += CONCURRENCY)
    await Promise.all(acts.slice(at, at + CONCURRENCY).map((watch) => actOn(services, watch)))
  return taken.length < MAX_WATCHES
}

/** One key that cannot be acted on must not delay the others. It is taken again once its claim has ended. */
async function actOn(services: AlertServices, watch: DueWatch): Promise<void> {
  const { keyId, rule, verdict } = watch
  try {
    if (verdict === 'drop') await dropWatch(services, watch)
    else if (rule === 'heartbeat') await actOnSilence(services, watch)
    else await noticeEnd(services, watch)
  } catch (error) {
    if (isOutage(error)) throw error
    services.log('error', 'watch_failed', { keyId, rule, fault: messageOf(error) })
  }
}

/** Where tables are distributed, the shards of what is due are found first, and each group of them has a statement of its own. */
async function takeDue(services: AlertServices): Promise<DueWatch[]> {
  const { db, distribution } = services
  if (distribution === undefined) return takeIn(services, MAX_WATCHES, () => sql``)
  const shards = await rows<{ shard: number }>(
    db,
    sql`SELECT DISTINCT shard FROM (
      SELECT shard FROM key_watches WHERE due_at <= ${searchTime(services)} LIMIT ${MAX_WATCHES}::int) AS due`,
  )
  const taken: DueWatch[] = []
  for (const group of splitByGroup(distribution, shards, ({ shard }) => shard)) {
    const inShards = inShardsSql(
      distribution,
      group.map(({ shard }) => shard),
    )
    if (taken.length < MAX_WATCHES)
      taken.push(...(await takeIn(services, MAX_WATCHES - taken.length, inShards)))
  }
  return taken
}

/**
 * Takes what is due and says what is to be done: most keys were used meanwhile, or are silent as before, and are only looked at again
 * later. Nothing is decided here: what acts reads the key under locks, and its MAC. LATERAL with a limit looks each key up; a join would
 * read whole tables, where Postgres expects many keys. The UPDATE itself chooses among times that were computed before it: its nodes
 * may run no function of a zone.
 */
function takeIn(
  services: AlertServices,
  limit: number,
  inShards: (table: string) => SQL,
): Promise<DueWatch[]> {
  const at = services.databaseTime()
  const seconds = sql`(heartbeat ->> 'seconds')::int`
  return rows<DueWatch>(
    services.db,
    sql`WITH due AS (
        SELECT * FROM key_watches WHERE due_at <= ${searchTime(services)}${inShards('key_watches')}
        ORDER BY due_at LIMIT ${sql.raw(String(limit))} FOR NO KEY UPDATE SKIP LOCKED
      ), seen AS (
        SELECT watch.key_id, watch.rule, watch.silent_since, heartbeat, suspended_at, alerts,
          ${isUnendedSql(at)} AS is_live, ${SILENT_SINCE} AS since
        FROM due AS watch CROSS JOIN LATERAL (
          SELECT * FROM api_keys WHERE api_keys.id = watch.key_id${inShards('api_keys')} LIMIT 1
        ) AS keys CROSS JOIN LATERAL (
          SELECT * FROM key_counters WHERE key_counters.key_id = watch.key_id${inShards('key_counters')} LIMIT 1
        ) AS counters
      ), judged AS (
        SELECT key_id, rule, heartbeat, ${actsAtSql(sql`since`, seconds)} AS acts_at,
          ${at} + ${seconds} * interval '1 second' AS again_at, ${later(at, CLAIM_MS)} AS claimed_until, CASE
            WHEN rule = 'expiring' THEN CASE WHEN is_live AND alerts -> 'expiring' IS NOT NULL THEN 'act' ELSE 'drop' END
            WHEN heartbeat IS NULL THEN 'drop'
            WHEN since IS NULL THEN CASE WHEN is_live THEN 'again' ELSE 'drop' END
            WHEN ${actsAtSql(sql`since`, seconds)} > ${at} THEN 'later'
            WHEN heartbeat ->> 'then' = 'suspend'
              THEN CASE WHEN NOT is_live THEN 'drop' WHEN suspended_at IS NULL THEN 'act' ELSE 'again' END
            WHEN silent_since IS DISTINCT FROM since OR (
              SELECT true FROM orders WHERE created_by = seen.key_id${inShards('orders')} AND ${isOpenSql(at)} LIMIT 1
            ) THEN 'act'
            WHEN is_live THEN 'again' ELSE 'drop'
          END AS verdict
        FROM seen
      )
      UPDATE key_watches AS watch SET due_at = CASE verdict
          WHEN 'later' THEN acts_at WHEN 'again' THEN again_at ELSE claimed_until END
      FROM judged WHERE watch.key_id = judged.key_id AND watch.rule = judged.rule${inShards('watch')}
      RETURNING watch.key_id AS "keyId", watch.wallet_address AS "walletAddress", watch.rule, verdict,
        heartbeat ->> 'then' AS effect, ${milliseconds(sql`watch.due_at`)} AS "dueAt"`,
  )
}
