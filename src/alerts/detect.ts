import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { insertFindings } from '../db/finding.ts'
import { milliseconds } from '../db/time.ts'
import type { Alerts } from '../keys/terms.ts'
import { formatIpRange, parseIp } from '../wire/ip.ts'

/*
 * What the alerts of keys find in statistics as they are written: no request has a statement more for it. Counts of all processes are
 * added up in the database, and of two processes that pass a bound together one finds it.
 */

/** A key with alerts. */
export interface WatchedKey {
  keyId: string
  walletAddress: string
  alerts: Alerts
}

/** Requests with such a key in a minute, of this process. */
export interface CountedMinute {
  key: WatchedKey
  shard: number
  /** Minutes since 1970. */
  minute: number
  requests: number
  refused: number
}

/** An address that was not among those of a key. Times are milliseconds since 1970. */
export interface AddedAddress {
  keyId: string
  shard: number
  value: string
  first: number
}

type InShards = (table: string) => SQL

/** The window of `errorRate`. */
export const ERROR_RATE_MINUTES = 5
const MINUTE_SECONDS = 60
/** Networks are compared, not single addresses: those of a provider change within them. */
const NETWORK_BITS = { v4: 24, v6: 48 } as const

/** The keys among some that have alerts. */
export async function findAlerts(
  db: Database,
  keyIds: ReadonlySet<string>,
  inShards: InShards,
): Promise<WatchedKey[]> {
  return rows<WatchedKey>(
    db,
    sql`SELECT id AS "keyId", wallet_address AS "walletAddress", alerts FROM api_keys
      WHERE id = ANY (${`{${[...keyIds].join(',')}}`}::text::text[]) AND alerts IS NOT NULL${inShards('api_keys')}`,
  )
}

/** A finding that is to be stored. */
interface Found {
  keyId: string
  walletAddress: string
  shard: number
  rule: string
  subject: string
  at: number
  details: object
}

/**
 * Finds new addresses and networks, in the transaction that stored them. The first address of a key is its own; of addresses that two
 * processes store at once, the earlier one is known to the later one.
 */
export async function findInSightings(
  tx: Database,
  added: readonly AddedAddress[],
  alerts: ReadonlyMap<string, WatchedKey>,
  inShards: InShards,
): Promise<void> {
  const watched = added.filter(({ keyId }) => {
    const { newAddress, newNetwork } = alerts.get(keyId)?.alerts ?? {}
    return newAddress !== undefined || newNetwork !== undefined
  })
  if (watched.length === 0) return
  const known = await knownAddresses(tx, new Set(watched.map(({ keyId }) => keyId)), inShards)
  const found = watched.flatMap((address) =>
    findingsOf(address, alerts.get(address.keyId) as WatchedKey, known.get(address.keyId) ?? []),
  )
  await store(tx, found, inShards)
}

type KnownAddress = Pick<AddedAddress, 'keyId' | 'value' | 'first'>

async function knownAddresses(
  tx: Database,
  keyIds: ReadonlySet<string>,
  inShards: InShards,
): Promise<Map<string, KnownAddress[]>> {
  const found = await rows<KnownAddress>(
    tx,
    sql`SELECT key_id AS "keyId", value, ${milliseconds(sql`first_seen_at`)} AS first FROM key_sightings
      WHERE key_id = ANY (${`{${[...keyIds].join(',')}}`}::text::text[]) AND kind = 'ip'${inShards('key_sightings')}`,
  )
  return Map.groupBy(found, ({ keyId }) => keyId)
}

function findingsOf(
  { keyId, shard, value, first }: AddedAddress,
  { walletAddress, alerts }: WatchedKey,
  known: readonly KnownAddress[],
): Found[] {
  const isEarlier = (one: KnownAddress) =>
    one.value !== value && (one.first < first || (one.first === first && one.value < value))
  const earlier = known.filter(isEarlier)
  if (earlier.length === 0) return []
  const about = { keyId, walletAddress, shard, at: first }
  const network = subnetOf(value)
  const isNewNetwork = !earlier.some((one) => subnetOf(one.value) === network)
  return [
    ...(alerts.newAddress === undefined
      ? []
      : [{ ...about, rule: 'newAddress', subject: value, details: { address: value } }]),
    ...(alerts.newNetwork === undefined || network === undefined || !isNewNetwork
      ? []
      : [
          {
            ...about,
            rule: 'newNetwork',
            subject: network,
            details: { network, address: value },
          },
        ]),
  ]
}

/** The network of an address: /24, or /48 of IPv6. */
export function subnetOf(address: string): string | undefined {
  const ip = parseIp(address)
  if (ip === undefined) return undefined
  const prefix = ip.length === 4 ? NETWORK_BITS.v4 : NETWORK_BITS.v6
  return formatIpRange({ ip: ip.map((byte, at) => (at < prefix / 8 ? byte : 0)), prefix })
}

async function store(tx: Database, found: readonly Found[], inShards: InShards): Promise<void> {
  if (found.length === 0) return
  await rows(
    tx,
    sql`WITH found AS (
        SELECT "keyId" AS key_id, shard, "walletAddress" AS wallet_address, rule, subject, at, details
        FROM jsonb_to_recordset(${JSON.stringify(found.map(writeTime))}::text::jsonb) AS found
          ("keyId" text, shard int, "walletAddress" text, rule text, subject text, at timestamptz, details jsonb)
      ) ${insertFindings(sql`found`, inShards)}`,
  )
}

function writeTime<Item extends { at: number }>({ at, ...rest }: Item) {
  return { ...rest, at: new Date(at).toISOString() }
}

/** A window of a rule, and the bounds that its owner signed. */
interface CountedWindow {
  keyId: string
  walletAddress: string
  shard: number
  rule: 'requestsPerMinute' | 'errorRate'
  /** The length of the window. */
  seconds: number
  number: number
  requests: number
  refused: number
  /** Found where there are more requests than this. */
  above: number
  /** And where this share of them, or more, was refused. */
  percent: number
  /** When the window began. */
  at: number
}

/** Adds the requests of keys with alerts to those of other processes, and stores what passes its bound: one statement. */
export async function findRates(
  db: Database,
  minutes: readonly CountedMinute[],
  inShards: InShards,
): Promise<void> {
  const windows = windowsOf(minutes)
  if (windows.length === 0) return
  await rows(
    db,
    sql`WITH counted AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(${JSON.stringify(windows.map(writeTime))}::text::jsonb) AS counted
          ("keyId" text, "walletAddress" text, shard int, rule text, seconds int, number int, requests bigint, refused bigint,
            above bigint, percent int, at timestamptz)
      ), added AS (
        INSERT INTO key_rates AS rate (key_id, shard, seconds, "window", requests, refused)
        SELECT "keyId", shard, seconds, number, requests, refused FROM counted ORDER BY "keyId", seconds, number
        ON CONFLICT ON CONSTRAINT key_rates_pk DO UPDATE SET requests = rate.requests + excluded.requests,
          refused = rate.refused + excluded.refused
        RETURNING key_id, seconds, "window" AS number, requests, refused
      ), found AS (
        SELECT key_id, shard, "walletAddress" AS wallet_address, rule, at,
          counted.seconds || ' ' || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"') AS subject,
          jsonb_build_object('seconds', counted.seconds, 'requests', added.requests, 'refused', added.refused) AS details
        FROM added JOIN counted ON "keyId" = key_id AND counted.seconds = added.seconds AND counted.number = added.number
        WHERE added.requests > above AND added.refused * 100 >= percent * added.requests
      ) ${insertFindings(sql`found`, inShards)}`,
  )
}

/** The windows that counted minutes belong to, each once. */
function windowsOf(minutes: readonly CountedMinute[]): CountedWindow[] {
  const windows = new Map<string, CountedWindow>()
  for (const { key, shard, minute, requests, refused } of minutes)
    for (const { rule, seconds, above, percent } of boundsOf(key.alerts)) {
      const number = Math.floor((minute * MINUTE_SECONDS) / seconds)
      const name = `${key.keyId} ${seconds} ${number}`
      const { keyId, walletAddress } = key
      const about = { keyId, walletAddress, shard, rule, seconds, number, above, percent }
      const at = number * seconds * 1000
      const sum = windows.get(name) ?? { ...about, at, requests: 0, refused: 0 }
      windows.set(name, {
        ...sum,
        requests: sum.requests + requests,
        refused: sum.refused + refused,
      })
    }
  return [...windows.values()]
}

function boundsOf({
  requestsPerMinute,
  errorRate,
}: Alerts): Pick<CountedWindow, 'rule' | 'seconds' | 'above' | 'percent'>[] {
  return [
    ...(requestsPerMinute === undefined
      ? []
      : [
          {
            rule: 'requestsPerMinute' as const,
            seconds: MINUTE_SECONDS,
            above: requestsPerMinute.above,
            percent: 0,
          },
        ]),
    ...(errorRate === undefined
      ? []
      : [
          {
            rule: 'errorRate' as const,
            seconds: ERROR_RATE_MINUTES * MINUTE_SECONDS,
            above: errorRate.requests - 1,
            percent: errorRate.percent,
          },
        ]),
  ]
}
