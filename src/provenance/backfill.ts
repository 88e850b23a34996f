import { sql } from 'drizzle-orm'
import { appendAudit } from '../audit/append.ts'
import { bodyText, chainHash, FIRST_HASH } from '../audit/event.ts'
import { fromHex } from '../crypto/bytes.ts'
import { type Database, rows } from '../db/database.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { KEY_ROW, type KeyRow, readKey } from '../keys/change.ts'
import { rightsText } from '../keys/rights.ts'
import type { KeyServices } from '../keys/services.ts'
import type { Recover } from '../stacks/recover.ts'
import { differences, replayAudit } from './replay.ts'

/** Any number that nothing else in the database locks: whoever adopts holds it. */
const ADOPTION_LOCK = 7_201_404_512

interface OldKey extends KeyRow {
  message: string
  signature: string
  publicKey: string
  messageHash: string
  isRevokedBySignature: boolean
  sharesGrant: boolean
}

/** The wallets that have keys of a release without seals; none once any key was sealed or anything audited. */
export async function walletsToBackfill(db: Database): Promise<string[]> {
  const found = await rows<{ wallet: string }>(
    db,
    sql`SELECT DISTINCT wallet_address AS wallet FROM api_keys WHERE rights_mac IS NULL
      AND NOT EXISTS (SELECT FROM audit_events) AND NOT EXISTS (SELECT FROM api_keys WHERE rights_mac IS NOT NULL)`,
  )
  return found.map(({ wallet }) => wallet)
}

/**
 * Seals the keys of a database that comes from a release without seals, once: those whose rows say exactly what their
 * owners signed. The others stay unsealed, and the gate refuses them. A database that has seals or an audit already is
 * left alone: nobody gets a row sealed by taking its seal away.
 */
export async function backfillMacs(
  services: Pick<KeyServices, 'db' | 'mac' | 'log'> & {
    recover: Recover
    config: Pick<KeyServices['config'], 'STACKS_NETWORK'>
  },
  now: number,
): Promise<{ adopted: number; left: number }> {
  const { db, config, recover, mac, log } = services
  const old = await walletsToBackfill(db)
  if (old.length === 0) return { adopted: 0, left: 0 }
  let [adopted, left] = [0, 0]
  await db.transaction(async (tx) => {
    await rows(tx, sql`SELECT pg_advisory_xact_lock(${ADOPTION_LOCK}::bigint)`)
    if ((await rows(tx, sql`SELECT 1 FROM audit_events LIMIT 1`)).length > 0) return
    for (const walletAddress of old) {
      await lockWallet(tx, walletAddress)
      const keys = await rows<OldKey>(
        tx,
        sql`SELECT ${KEY_ROW}, message, signature, public_key AS "publicKey", encode(message_hash, 'hex') AS "messageHash",
            EXISTS (SELECT FROM signed_actions AS later WHERE later.wallet_address = api_keys.wallet_address
              AND later.action = 'delete_api_key' AND later.message::jsonb ->> 'keyId' = api_keys.id) AS "isRevokedBySignature",
            (SELECT count(*) FROM api_keys AS other WHERE other.grant_id = api_keys.grant_id) > 1 AS "sharesGrant"
          FROM (SELECT * FROM api_keys WHERE wallet_address = ${walletAddress} AND rights_mac IS NULL) AS api_keys
          JOIN LATERAL (SELECT message, signature, public_key, message_hash FROM signed_actions
            WHERE signed_actions.id = grant_id) AS granted ON true
          ORDER BY grant_id`,
      )
      for (const key of keys) {
        const { rights, terms } = readKey(services, key)
        const { id: keyId, keyHash, createdAt, suspendedAt, revokedAt } = rights
        const details = { keyHash, createdAt, suspendedAt, revokedAt }
        const body = bodyText({
          v: 1,
          event: 'adopt_api_key',
          walletAddress,
          keyId,
          actor: 'service',
          at: now,
          messageHash: key.messageHash,
          details,
        })
        const { message, signature } = key
        const hash = chainHash(FIRST_HASH, body)
        const { keys: made, faults } = replayAudit(
          [{ sequence: 1, body, hash, message, signature }],
          {
            walletAddress,
            network: config.STACKS_NETWORK,
            recover,
          },
        )
        const replayed = made.get(keyId)
        const isGranted =
          faults.length === 0 &&
          replayed !== undefined &&
          differences({ ...rights, ...terms }, replayed).length === 0
        if (!isGranted || key.sharesGrant || (key.isRevokedBySignature && revokedAt === null)) {
          log('error', 'api_key_not_adopted', { keyId })
          left += 1
          continue
        }
        await appendAudit(
          tx,
          {
            event: 'adopt_api_key',
            walletAddress,
            keyId,
            actor: 'service',
            at: now,
            action: { id: rights.grantId, messageHash: fromHex(key.messageHash) },
            details,
          },
          [{ keyId, mac: mac(rightsText(key.rights)) }],
        )
        adopted += 1
      }
    }
  })
  log('warn', 'api_keys_adopted', { adopted, left })
  return { adopted, left }
}
