import { type SQL, sql } from 'drizzle-orm'
import { openBatches } from '../batches.ts'
import { sha256, toHex } from '../crypto/bytes.ts'
import { type Database, isDeadlock, isOutage } from '../db/database.ts'
import type { Distribution } from '../db/distribution.ts'
import { type ForgetServices, forgetRows } from '../db/forget.ts'
import { statement } from '../db/statement.ts'
import { timestamptz } from '../db/time.ts'
import { MAX_SIGNATURE_AGE_SECONDS } from './base.ts'

/** A nonce of a signature that was verified. */
export interface UsedNonce {
  keyId: string
  nonce: string
  /** Of the key's wallet. */
  shard: number
  /** Of the signature, in milliseconds since 1970. */
  createdAt: number
}

/** Uses a nonce up; resolves to whether it was unused, and its signature still fresh by Postgres' clock. */
export type UseNonce = (nonce: UsedNonce) => Promise<boolean>

const MAX_BATCH = 200
/** More would share the connections of the pool with the gate. */
const MAX_IN_FLIGHT = 3
/** 128 bits of SHA-256: two nonces of a key that collide refuse a request of its holder, who alone can look for such. */
const NONCE_DIGITS = 32
/** A process whose clock or statement was late can still not use a nonce again: its row is there for longer than it is fresh. */
const KEPT_AFTER_MS = 600_000

/** Nonces that arrive together share a statement, those of a group of shards where tables are distributed. */
export function openNonces(
  db: Database,
  {
    distribution,
    fixedTime = () => undefined,
    now,
  }: {
    distribution: Distribution | undefined
    /** A time in place of Postgres', for tests. */
    fixedTime?: (() => number | undefined) | undefined
    now: () => number
  },
): UseNonce {
  const { groupOf, hasManyServers = false } = distribution ?? {}
  // A statement that changes rows on several servers may not read a clock.
  const decidesBy = () => fixedTime() ?? (hasManyServers ? now() : undefined)
  return openBatches(
    {
      maxItems: MAX_BATCH,
      maxRuns: MAX_IN_FLIGHT,
      nameOf: ({ keyId, nonce }) => `${keyId} ${nonce}`,
      ...(groupOf !== undefined && { groupOf: ({ shard }: UsedNonce) => groupOf(shard) }),
      isShared: (error) => isOutage(error) && !isDeadlock(error),
    },
    (nonces) => useNonces(db, nonces, decidesBy(), hasManyServers),
  )
}

/** The guard is the primary key: of all that use one nonce, on whatever process, one row is inserted. */
async function useNonces(
  db: Database,
  nonces: readonly UsedNonce[],
  at: number | undefined,
  hasManyServers: boolean,
): Promise<boolean[]> {
  const named = nonces.map((one) => ({ ...one, hash: hashOf(one.nonce) }))
  const use = hasManyServers ? useByGivenTime : useByPostgresTime
  // In the order of the key: two batches that have nonces in common cannot wait for each other.
  const sorted = named.toSorted((one, other) => (nameOf(one) < nameOf(other) ? -1 : 1))
  const array = (element: (one: (typeof sorted)[number]) => string | number) =>
    `{${sorted.map(element).join(',')}}`
  const used = await use(db, {
    at: at === undefined ? null : new Date(at).toISOString(),
    keys: array(({ keyId }) => `"${keyId}"`),
    nonces: array(({ hash }) => `"\\\\x${hash}"`),
    shards: array(({ shard }) => shard),
    ends: array(
      ({ createdAt }) =>
        `"${new Date(createdAt + MAX_SIGNATURE_AGE_SECONDS * 1000).toISOString()}"`,
    ),
  })
  const taken = new Set(used.map(({ keyId, hash }) => `${keyId} ${hash}`))
  return named.map((one) => taken.has(nameOf(one)))
}

function hashOf(nonce: string): string {
  return toHex(sha256(nonce)).slice(0, NONCE_DIGITS)
}

function nameOf({ keyId, hash }: { keyId: string; hash: string }): string {
  return `${keyId} ${hash}`
}

type Values = Record<'keys' | 'nonces' | 'shards' | 'ends', string> & { at: string | null }

const insertion = (clock: SQL) => sql`
  INSERT INTO request_nonces (key_id, nonce, shard, fresh_until)
  SELECT key_id, nonce, shard, fresh_until FROM unnest(${sql.placeholder('keys')}::text::text[], ${sql.placeholder('nonces')}::text::bytea[],
    ${sql.placeholder('shards')}::text::int[], ${sql.placeholder('ends')}::text::timestamptz[]) AS given (key_id, nonce, shard, fresh_until)
  WHERE fresh_until >= ${clock}
  ON CONFLICT ON CONSTRAINT request_nonces_pk DO NOTHING RETURNING key_id AS "keyId", encode(nonce, 'hex') AS hash`

interface Used {
  keyId: string
  hash: string
}

const useByPostgresTime = statement<Used, Values>('use_nonces', () =>
  insertion(sql`coalesce(${sql.placeholder('at')}::timestamptz, clock_timestamp())`),
)
const useByGivenTime = statement<Used, Values>('use_nonces_at', () =>
  insertion(sql`${sql.placeholder('at')}::timestamptz`),
)

/** Deletes a page of the nonces whose signatures are long over. Resolves to whether no more are left. */
export function forgetNonces(services: ForgetServices, now: number): Promise<boolean> {
  return forgetRows(services, {
    table: 'request_nonces',
    key: { key_id: 'text', nonce: 'bytea' },
    by: sql`fresh_until`,
    isOver: sql`fresh_until < ${timestamptz(now - KEPT_AFTER_MS)}`,
  })
}
