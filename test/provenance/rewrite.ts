import { type SQL, sql } from 'drizzle-orm'
import { bodyText, chainHash, FIRST_HASH } from '../../src/audit/event.ts'
import { type Database, rows } from '../../src/db/database.ts'

/** An event as it is stored. */
export interface StoredEvent {
  body: string
  keyId: string | null
  actionId: string | null
}

/** Runs statements as the owner of the tables, who can disable the triggers. */
export async function asOwner(db: Database, statements: readonly SQL[]): Promise<void> {
  await db.transaction(async (tx) => {
    for (const table of ['audit_events', 'signed_actions'])
      await rows(tx, sql.raw(`ALTER TABLE ${table} DISABLE TRIGGER ${table}_append_only`))
    for (const statement of statements) await rows(tx, statement)
    for (const table of ['audit_events', 'signed_actions'])
      await rows(tx, sql.raw(`ALTER TABLE ${table} ENABLE TRIGGER ${table}_append_only`))
  })
}

/** Replaces a wallet's chain by another one, hashed anew. */
export async function rewriteChain(
  db: Database,
  wallet: string,
  change: (events: StoredEvent[]) => StoredEvent[],
): Promise<void> {
  const before = await rows<StoredEvent>(
    db,
    sql`SELECT body, key_id AS "keyId", action_id::text AS "actionId" FROM audit_events
      WHERE wallet_address = ${wallet} ORDER BY sequence`,
  )
  let hash = FIRST_HASH
  const inserts = change(before).map(({ body, keyId, actionId }, at) => {
    hash = chainHash(hash, body)
    return sql`INSERT INTO audit_events (wallet_address, sequence, key_id, action_id, body, hash)
      VALUES (${wallet}, ${at + 1}::bigint, ${keyId}, ${actionId}::bigint, ${body}, decode(${hash}, 'hex'))`
  })
  await asOwner(db, [sql`DELETE FROM audit_events WHERE wallet_address = ${wallet}`, ...inserts])
}

/** A body with some members replaced. */
export function editedBody(event: StoredEvent | undefined, members: object): StoredEvent {
  const { body, keyId = null, actionId = null } = event ?? { body: '{}' }
  return { keyId, actionId, body: bodyText({ ...JSON.parse(body), ...members }) }
}
