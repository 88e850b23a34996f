import { createHash, hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { sql } from 'drizzle-orm'
import { readEncryptionKeys } from '../../src/crypto/keys.ts'
import type { Database } from '../../src/db/database.ts'
import { parseSecret } from '../../src/keys/secret.ts'
import { openNativeMac } from '../../src/node/crypto.ts'
import { addressOf } from '../../src/stacks/sign.ts'
import { writeMacs } from '../support/remac.ts'

export const PREFIX = 'ck_live_'
export const TOKEN_CHARACTERS = PREFIX.length + 43 + 6
/** Keys belong to so many wallets, in turn. */
export const WALLETS = 50

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
/** A statement with as many has a tenth of the time that it may take, also where other programs share the machine. */
const CHUNK = 1_000

/** The token of key number `n`: as the service would have made it, were randomness to come out so, but 50 times faster. */
export function tokenOf(n: number): string {
  const body = PREFIX + base62(n, 43)
  return body + base62(crc32(body), 6)
}

if (parseSecret(PREFIX, tokenOf(1)) === undefined)
  throw new Error('src/keys/token.ts has a new format: tokenOf() here must follow it')

function base62(number: number, length: number): string {
  let text = ''
  for (let left = number; left > 0; left = Math.floor(left / 62))
    text = BASE62.charAt(left % 62) + text
  return text.padStart(length, '0')
}

/** The private key of wallet number `n`. */
export function walletKey(n: number): string {
  return `${createHash('sha256').update(`bench wallet ${n}`).digest('hex')}01`
}

/** What the keys are sealed with, and the service that knows them is configured with. */
export const ENCRYPTION_KEY = Buffer.alloc(32, 'bench').toString('base64')

/** Puts so many live keys into an empty database, straight into its tables. */
export async function seedKeys(db: Database, count: number): Promise<void> {
  const mac = openNativeMac(readEncryptionKeys(ENCRYPTION_KEY))
  const wallets = Array.from({ length: WALLETS }, (_, n) => addressOf(walletKey(n), 'devnet'))
  await db.execute(sql`
    INSERT INTO signed_actions (wallet_address, action, message, message_hash, signature, public_key, accepted_at)
    VALUES (${wallets[0]}, 'create_api_key', '{}', '\\x00', '', '', now())`)
  for (let from = 0; from < count; from += CHUNK) {
    const numbers = Array.from({ length: Math.min(CHUNK, count - from) }, (_, at) => from + at)
    const hashes = `{${numbers.map((n) => `"\\\\x${hash('sha256', tokenOf(n))}"`).join(',')}}`
    await db.execute(sql`
      INSERT INTO api_keys
        (id, key_hash, key_preview, wallet_address, name, permissions, grant_id, created_at)
      SELECT 'key_' || left(md5(key_hash), 17), key_hash, 'ck_live_0000...0000',
        (${`{${wallets.join(',')}}`}::text::text[])[1 + (${from}::int + ordinal - 1) % ${WALLETS}::int],
        'bench ' || (${from}::int + ordinal), '{create,execute,cancel}',
        (SELECT min(id) FROM signed_actions), now()
      FROM unnest(${hashes}::text::bytea[]) WITH ORDINALITY AS made (key_hash, ordinal)`)
    // By their hashes: no index has those without a MAC, and reading the table for each chunk takes longer as it grows.
    await writeMacs(db, mac, sql`key_hash = ANY (${hashes}::text::bytea[])`)
  }
}
