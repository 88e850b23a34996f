import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import type { ServiceProcess } from '../process.ts'
import { createKey, newWallet } from '../wallet.ts'

export interface Contention {
  requests: number
  /** Answers other than the one that a counted request gets, by status. */
  unexpected: Record<string, number>
  /** Deadlocks that Postgres had to break. */
  deadlocks: number
  /** Keys whose counters are not the number of their requests. */
  miscounted: number
  p99Ms: number
}

/** Many keys at once through all processes, each caller in an order of its own. */
export async function contend({
  databaseUrl,
  processes,
  requests,
  keys = 64,
  callers = 48,
}: {
  databaseUrl: string
  processes: ServiceProcess[]
  requests: number
  keys?: number
  callers?: number
}): Promise<Contention> {
  const [first] = processes as [ServiceProcess]
  const made: { apiKey: string; keyId: string; asked: number }[] = []
  while (made.length < keys) {
    const wallet = newWallet(first)
    for (let key = 0; key < 8; key++) made.push({ ...(await createKey(first, wallet)), asked: 0 })
  }
  const unexpected: Record<string, number> = {}
  const times: number[] = []
  let left = requests
  const caller = async (place: number) => {
    const process = processes[place % processes.length] as ServiceProcess
    while (left > 0) {
      const burst = shuffled(made).slice(0, Math.min(left, 8))
      left -= burst.length
      await Promise.all(
        burst.map(async (key) => {
          const answer = await process.ask(`/orders/${randomUUID()}/execute`, {
            method: 'POST',
            key: key.apiKey,
          })
          key.asked++
          times.push(answer?.ms ?? 0)
          if (answer?.status === 404) return
          const what = String(answer?.status)
          unexpected[what] = (unexpected[what] ?? 0) + 1
        }),
      )
    }
  }
  await Promise.all(Array.from({ length: callers }, (_, place) => caller(place)))

  const client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  // A backend writes its statistics when it is idle for a while, or when it ends.
  await Promise.all(processes.map((process) => process.stop()))
  const [counted] =
    await client`SELECT deadlocks::int FROM pg_stat_database WHERE datname = current_database()`
  const rows = await client`SELECT key_id AS id, total_requests::int AS total FROM key_counters`
  await client.end()
  const totals = new Map(rows.map(({ id, total }) => [id, total]))
  times.sort((a, b) => a - b)
  return {
    requests,
    unexpected,
    deadlocks: counted?.deadlocks,
    miscounted: made.filter(({ keyId, asked }) => totals.get(keyId) !== asked).length,
    p99Ms: Math.round(times[Math.floor(times.length * 0.99)] ?? 0),
  }
}

function shuffled<T>(list: readonly T[]): T[] {
  const copy = [...list]
  for (let at = copy.length - 1; at > 0; at--) {
    const other = Math.floor(Math.random() * (at + 1))
    ;[copy[at], copy[other]] = [copy[other] as T, copy[at] as T]
  }
  return copy
}
