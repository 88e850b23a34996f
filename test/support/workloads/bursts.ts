import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { type DatabaseClockOfTest, untilRead } from '../database-clock.ts'
import type { ServiceProcess } from '../process.ts'
import { createKey, newWallet } from '../wallet.ts'

export interface Bursts {
  rounds: number
  requests: number
  refusals: number
  /** Rounds that let more or fewer pass than there was room for, or told two the same remaining. */
  wrong: string[]
}

const MINUTE = 60_000
const LENGTHS = { minute: MINUTE, hour: 60 * MINUTE, day: 1_440 * MINUTE }
type Counts = Record<keyof typeof LENGTHS, number>

/**
 * Bursts through all processes, with the database's clock before, on and after the boundaries of minutes, hours and days, held
 * against a model of three fixed windows.
 */
export async function burstAtBoundaries({
  databaseUrl,
  clock,
  processes,
  limits,
  rounds,
  onRound = () => {},
}: {
  databaseUrl: string
  /** Of the database: the processes count by no other. */
  clock: DatabaseClockOfTest
  processes: ServiceProcess[]
  limits: Counts
  rounds: number
  onRound?: (tally: Bursts) => void
}): Promise<Bursts> {
  const [first] = processes as [ServiceProcess]
  const client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  const tally: Bursts = { rounds: 0, requests: 0, refusals: 0, wrong: [] }
  let now = Date.UTC(2031, 0, 1, 0, 0, 30)
  const newKey = async () => {
    await first.setClock(now)
    await untilRead(first, now)
    return createKey(first, newWallet(first))
  }
  await clock.set(now)
  let key = await newKey()
  let used: Counts = { minute: 0, hour: 0, day: 0 }

  for (let round = 1; round <= rounds; round++) {
    if (round % 50 === 0) {
      key = await newKey()
      used = { minute: 0, hour: 0, day: 0 }
    }
    const before = now
    now = later(now)
    await clock.set(now)
    for (const name of Object.keys(LENGTHS) as (keyof Counts)[])
      if (Math.floor(before / LENGTHS[name]) !== Math.floor(now / LENGTHS[name])) used[name] = 0
    const room = Math.max(
      0,
      Math.min(limits.minute - used.minute, limits.hour - used.hour, limits.day - used.day),
    )
    const requests = 1 + Math.floor(Math.random() * 4 * limits.minute)
    const answers = await Promise.all(
      Array.from({ length: requests }, (_, place) =>
        (processes[place % processes.length] as ServiceProcess).ask(
          `/orders/${randomUUID()}/execute`,
          { method: 'POST', key: key.apiKey },
        ),
      ),
    )
    const admitted = answers.filter((answer) => answer?.status === 404)
    const refused = answers.filter((answer) => answer?.status === 429)
    const expected = Math.min(requests, room)
    const remaining = new Set(admitted.map((answer) => answer?.headers['x-ratelimit-remaining']))
    for (const name of Object.keys(LENGTHS) as (keyof Counts)[]) used[name] += expected
    const [row] = await client`SELECT minute_count AS minute, hour_count AS hour, day_count AS day
      FROM key_counters WHERE key_id = ${key.keyId}`
    const holds =
      admitted.length === expected &&
      refused.length === requests - expected &&
      remaining.size === expected &&
      (expected === 0 ||
        (row?.minute === used.minute && row?.hour === used.hour && row?.day === used.day))
    if (!holds)
      tally.wrong.push(
        `round ${round}: ${admitted.length} of ${requests} passed with room for ${room}, ${remaining.size} remainings, stored ${JSON.stringify(row)}, expected ${JSON.stringify(used)}`,
      )
    tally.rounds++
    tally.requests += requests
    tally.refusals += refused.length
    onRound(tally)
  }
  await first.setClock(undefined)
  await clock.set(undefined)
  await client.end()
  return tally
}

/** The same moment, the last or the first millisecond beside a boundary, or somewhere in the next window. */
function later(now: number): number {
  const length = anyOf([MINUTE, MINUTE, MINUTE, LENGTHS.hour, LENGTHS.day])
  const boundary = (Math.floor(now / length) + 1) * length
  return Math.max(now, anyOf([now, boundary - 1, boundary, boundary, boundary + 17 * 1_000]))
}

function anyOf<T>(list: readonly [T, ...T[]]): T {
  return list[Math.floor(Math.random() * list.length)] as T
}
