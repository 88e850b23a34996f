import { createHash, hash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { sql } from 'drizzle-orm'
import { readEncryptionKeys } from '../../src/crypto/keys.ts'
import { type Database, rows } from '../../src/db/database.ts'
import { SHARDS, walletShard } from '../../src/db/shard.ts'
import { type Rights, type RightsValues, readRights, rightsText } from '../../src/keys/rights.ts'
import { parseSecret, shardOf } from '../../src/keys/secret.ts'
import { RIGHTS } from '../../src/keys/terms-sql.ts'
import { memoize } from '../../src/memoize.ts'
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

/** Where the numbers of shards begin among those of four characters. */
const FIRST_SHARD = 62 ** 4 - SHARDS

/** The token of key number `n`: as the service would have made it, were randomness to come out so, but 50 times faster. */
export function tokenOf(n: number): string {
  const body = PREFIX + base62(FIRST_SHARD + walletShard(walletOf(n)), 4) + base62(n, 39)
  return body + base62(crc32(body), 6)
}

/** The address of the wallet of key number `n`. */
export const walletOf = (n: number): string => addressOfWallet(String(n % WALLETS))

const addressOfWallet = memoize(WALLETS, (n) => addressOf(walletKey(Number(n)), 'devnet'))

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

{
  const secret = parseSecret(PREFIX, tokenOf(1))
  if (secret === undefined || shardOf(PREFIX, secret) !== walletShard(walletOf(1)))
    throw new Error('src/keys/secret.ts has a new format: tokenOf() here must follow it')
}

/** What the keys are sealed with, and the service that knows them is configured with. */
export const ENCRYPTION_KEY = Buffer.alloc(32, 'bench').toString('base64')

/** The id of key number `n`. */
export function idOf(n: number): string {
  return `key_${hash('md5', tokenOf(n)).slice(0, 17)}`
}

/** Puts so many live keys into an empty database, straight into its tables. */
export async function seedKeys(db: Database, count: number): Promise<void> {
  const mac = openNativeMac(readEncryptionKeys(ENCRYPTION_KEY))
  const wallets = Array.from({ length: WALLETS }, (_, n) => walletOf(n))
  await db.execute(sql`
    INSERT INTO signed_actions (wallet_address, action, message, message_hash, signature, public_key, accepted_at)
    SELECT wallet, 'create_api_key', '{}', '\\x00', '', '', now()
    FROM unnest(${`{${wallets.join(',')}}`}::text::text[]) AS wallet`)
  const grants = await rows<{ id: number; wallet: string }>(
    db,
    sql`SELECT id::int AS id, wallet_address AS wallet FROM signed_actions`,
  )
  const grantOf = new Map(grants.map(({ id, wallet }) => [wallet, id]))
  const createdAt = Date.now()
  let like: Rights | undefined
  for (let from = 0; from < count; from += CHUNK) {
    const made = Array.from({ length: Math.min(CHUNK, count - from) }, (_, at) => {
      const [n, keyHash] = [from + at, hash('sha256', tokenOf(from + at))]
      const id = idOf(n)
      const [walletAddress, name] = [walletOf(n), `bench ${n + 1}`]
      return { id, keyHash, walletAddress, name, grantId: grantOf.get(walletAddress) as number }
    })
    const macs = made.map((key) => like && mac(rightsText({ ...like, ...key })))
    const array = (texts: readonly unknown[]) =>
      `{${texts.map((text) => text ?? 'NULL').join(',')}}`
    await db.execute(sql`
      INSERT INTO api_keys (id, key_hash, rights_mac, key_preview, wallet_address, name, permissions, grant_id, created_at)
      SELECT id, decode(hash, 'hex'), decode(mac, 'hex'), 'ck_live_0000...0000', wallet, name,
        '{create,execute,cancel}', grant_id, ${new Date(createdAt).toISOString()}::timestamptz
      FROM unnest(${array(made.map(({ id }) => id))}::text::text[], ${array(made.map(({ keyHash }) => keyHash))}::text::text[],
        ${array(macs)}::text::text[], ${array(made.map(({ walletAddress }) => walletAddress))}::text::text[],
        ${array(made.map(({ name }) => name))}::text::text[], ${array(made.map(({ grantId }) => grantId))}::text::bigint[])
        AS made (id, hash, mac, wallet, name, grant_id)`)
    // The others are sealed as they are inserted: all terms of theirs are those of the first ones.
    if (like === undefined) {
      await writeMacs(db, mac, sql`true`)
      const [first] = await rows<{ rights: RightsValues }>(
        db,
        sql`SELECT ${RIGHTS} AS rights FROM api_keys LIMIT 1`,
      )
      like = first && readRights(first.rights)
    }
  }
}
