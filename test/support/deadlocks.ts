import postgres from 'postgres'
import { expect } from 'vitest'

/** The deadlocks of a database whose services are closed: sessions report what they saw when they end. */
export async function deadlocksOf(databaseUrl: string): Promise<number> {
  const name = new URL(databaseUrl).pathname.slice(1)
  const outside = postgres(databaseUrl.replace(`/${name}`, '/postgres'), { max: 1 })
  const sessions = async () =>
    (
      await outside`SELECT FROM pg_stat_activity WHERE datname = ${name} AND application_name = 'latchkey'`
    ).length
  await expect.poll(sessions, { timeout: 10_000 }).toBe(0)
  const [seen] = await outside`SELECT deadlocks::int FROM pg_stat_database WHERE datname = ${name}`
  await outside.end()
  return seen?.deadlocks
}
