import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkArchives } from '../../src/archive/check.ts'
import { archiveFiles } from '../../src/archive-file.ts'
import { archivesIn } from '../../src/cli/archive-files.ts'
import { rows } from '../../src/db/database.ts'
import { forgetUsage } from '../../src/usage/forget.ts'
import { temporaryFolder } from '../cli/latchkey.ts'
import { ENGINES, type Service, startService } from '../support/service.ts'
import { DAY, endLease, makeArchive, servicesOf } from './old-life.ts'

const HOUR = 3_600_000

describe.each(ENGINES)('The usage of keys in archives on %s', { timeout: 60_000 }, (engine) => {
  const folder = temporaryFolder()
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
    for (const daysAgo of [120, 100, 96, 91, 80, 40, 2, 0]) await useAt(daysAgo)
  })
  afterAll(() => service.close())

  /** Two keys are used so many days ago, each with two outcomes. */
  async function useAt(daysAgo: number): Promise<void> {
    const at = Math.floor(service.clock.now / HOUR) * HOUR - daysAgo * DAY
    await rows(
      service.world.db,
      sql`WITH used AS (
          INSERT INTO key_usage (key_id, shard, hour, outcome, requests)
          SELECT key_id, 1, ${new Date(at).toISOString()}::timestamptz, outcome, ${daysAgo}::int
          FROM unnest(ARRAY['key_a', 'key_b']) AS key_id, unnest(ARRAY['OK', 'IP_NOT_ALLOWED']) AS outcome
        )
        INSERT INTO key_sightings (key_id, shard, kind, value, first_seen_at, last_seen_at)
        SELECT key_id, 1, 'ip', ${String(daysAgo)}, ${new Date(at).toISOString()}::timestamptz, ${new Date(at + 9).toISOString()}::timestamptz
        FROM unnest(ARRAY['key_a', 'key_b']) AS key_id`,
    )
  }

  const listed = async (statement: ReturnType<typeof sql>) => {
    const found = await rows<{ days: number; rows: number }>(service.world.db, statement)
    return found.map(({ days, rows }) => (rows === 4 ? days : `${rows} rows of ${days}`))
  }
  /** How many days ago what is stored was. */
  const stored = () =>
    listed(
      sql`SELECT requests::int AS days, count(*)::int AS rows FROM key_usage GROUP BY requests ORDER BY requests DESC`,
    )
  /** The same of what the files have. */
  const inFiles = async () => {
    const texts: string[] = []
    for (const path of archivesIn(folder))
      await archiveFiles.read(path, ({ kind, text }) => void (kind === 'usage' && texts.push(text)))
    return listed(
      sql`SELECT (line ->> 'requests')::int AS days, count(*)::int AS rows FROM jsonb_array_elements(${`[${texts.join(',')}]`}::text::jsonb) AS line
        GROUP BY 1 ORDER BY 1 DESC`,
    )
  }
  const forget = async () => {
    while (!(await forgetUsage(service.world, service.clock.now)));
  }

  it('stays in the database for its 90 days, and is then deleted once a file has it', async () => {
    const made = await makeArchive(service, folder, { daysAgo: 98, usage: true })
    expect(made.rows).toEqual({ usage: 8 })
    expect([await stored(), await inFiles()]).toEqual([
      [120, 100, 96, 91, 80, 40, 2, 0],
      [120, 100],
    ])
    await forget()
    expect(await stored()).toEqual([96, 91, 80, 40, 2, 0])
    const seen = await rows<{ value: string }>(
      service.world.db,
      sql`SELECT DISTINCT value FROM key_sightings WHERE key_id = 'key_a'`,
    )
    expect(seen.map(({ value }) => value).sort()).toEqual(['0', '2', '40', '80'])
  })

  it('is in one file, also when a command is killed before and after its file is verified', async () => {
    const killedAt = (which: number) => {
      let reads = 0
      return {
        ...archiveFiles,
        read: (...given: Parameters<typeof archiveFiles.read>) => {
          reads += 1
          if (reads === which) throw new Error('killed')
          return archiveFiles.read(...given)
        },
      }
    }
    const killed = (which: number) =>
      makeArchive(service, folder, { daysAgo: 50, usage: true, files: killedAt(which) })
    const elsewhere = temporaryFolder()
    await expect(
      makeArchive(service, elsewhere, { daysAgo: 50, usage: true, files: killedAt(1) }),
    ).rejects.toThrow('killed')
    await endLease(service)
    // What a file that was not verified has is not deleted.
    await forget()
    expect(await stored()).toEqual([96, 91, 80, 40, 2, 0])
    await expect(killed(2)).rejects.toThrow('killed')
    await endLease(service)
    await forget()
    expect(await stored()).toEqual([80, 40, 2, 0])
    expect(await makeArchive(service, folder, { daysAgo: 50, usage: true })).toMatchObject({
      number: 2,
      resumed: true,
    })
    await makeArchive(service, folder, { daysAgo: 60, usage: true })
    await makeArchive(service, folder, { daysAgo: 1, usage: true })
    expect(await inFiles()).toEqual([120, 100, 96, 91, 80, 40, 2])
    const check = await checkArchives(servicesOf(service), folder)
    expect(check).toMatchObject({ archives: 4, usage: 28, faults: [] })
  })

  it('is deleted after 90 days without a file where the last archive has none', async () => {
    service.clock.now += 200 * DAY
    await useAt(95)
    await forget()
    expect(await stored()).toEqual([95, 0])
    // Archives are of the past of the real clock.
    await makeArchive(service, folder, { daysAgo: 202 })
    await forget()
    expect(await stored()).toEqual([])
  })
})
