import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Archived, archive } from '../../src/archive/archive.ts'
import { checkArchives } from '../../src/archive/check.ts'
import { ArchiveFault, type ArchiveFiles } from '../../src/archive/format.ts'
import { archiveFiles } from '../../src/archive-file.ts'
import { archivesIn } from '../../src/cli/archive-files.ts'
import { type Database, rows } from '../../src/db/database.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { temporaryFolder } from '../cli/latchkey.ts'
import { type Service, startService } from '../support/service.ts'
import { DAY, endLease, liveThrough, makeArchive, servicesOf } from './old-life.ts'

/** What all rows of the tables are, by their texts. */
const ALL_ROWS = sql`SELECT 'event ' || jsonb_build_object('event', to_jsonb(e), 'action', to_jsonb(a))::text AS row FROM audit_events AS e
    LEFT JOIN signed_actions AS a ON a.id = e.action_id
  UNION ALL SELECT 'action ' || to_jsonb(a)::text FROM signed_actions AS a
  UNION ALL SELECT 'session ' || to_jsonb(s)::text FROM sessions AS s
  UNION ALL SELECT 'order_event ' || to_jsonb(o)::text FROM order_events AS o
  UNION ALL SELECT 'transaction ' || to_jsonb(t)::text FROM transactions AS t
  UNION ALL SELECT 'uuid ' || uuid FROM orders`

describe('An archive that is killed', { timeout: 300_000 }, () => {
  let service: Service
  beforeAll(async () => {
    service = await startService('Postgres')
    for (let n = 0; n < 3; n++) await liveThrough(service, { laterChanges: 0 })
  }, 200_000)
  afterAll(() => service.close())

  const stored = async () =>
    new Set((await rows<{ row: string }>(service.world.db, ALL_ROWS)).map(({ row }) => row))

  /** What the verified archives of a folder have, as `stored` writes it. */
  async function inFiles(folder: string): Promise<Set<string>> {
    const found = new Set<string>()
    for (const path of archivesIn(folder)) {
      const texts: { kind: string; text: string }[] = []
      await archiveFiles.read(path, (row) => void texts.push(row))
      const given = JSON.stringify(texts)
      const lines = await rows<{ row: string }>(
        service.world.db,
        sql`SELECT line ->> 'kind' || ' ' || (line ->> 'text')::jsonb::text AS row FROM jsonb_array_elements(${given}::text::jsonb) AS line
          UNION ALL SELECT 'action ' || ((line ->> 'text')::jsonb -> 'action')::text FROM jsonb_array_elements(${given}::text::jsonb) AS line WHERE line ->> 'kind' = 'event'
          UNION ALL SELECT 'order_event ' || part::text FROM jsonb_array_elements(${given}::text::jsonb) AS line, jsonb_array_elements((line ->> 'text')::jsonb -> 'events') AS part WHERE line ->> 'kind' = 'order'
          UNION ALL SELECT 'transaction ' || part::text FROM jsonb_array_elements(${given}::text::jsonb) AS line, jsonb_array_elements((line ->> 'text')::jsonb -> 'transactions') AS part WHERE line ->> 'kind' = 'order'
          UNION ALL SELECT 'uuid ' || ((line ->> 'text')::jsonb -> 'order' ->> 'uuid') FROM jsonb_array_elements(${given}::text::jsonb) AS line WHERE line ->> 'kind' = 'order'`,
      )
      for (const { row } of lines) found.add(row)
    }
    return found
  }

  it('at any statement or any row of its file has lost nothing, and its repetition ends it', async () => {
    const folder = temporaryFolder()
    const all = await stored()
    // Checks between two kills go on with a copy of what the process would leave: the statements that were committed.
    let done: Archived | undefined
    let kills = 0
    for (let survives = 0; done === undefined; survives += 1 + Math.floor(survives / 8)) {
      const outcome = await runUntil(service, folder, survives)
      if (outcome === undefined) {
        kills += 1
        await endLease(service)
        const [left, kept] = [await stored(), await inFiles(folder)]
        expect([...all].filter((row) => !left.has(row) && !kept.has(row))).toEqual([])
      } else done = outcome
    }
    expect(kills).toBeGreaterThan(10)
    const [left, kept] = [await stored(), await inFiles(folder)]
    expect([...all].filter((row) => !left.has(row) && !kept.has(row))).toEqual([])
    expect([...all].filter((row) => !left.has(row)).length).toBeGreaterThan(60)
    expect((await checkArchives(servicesOf(service), folder)).faults).toEqual([])
    expect(await checkAudit(service.world)).toMatchObject({ faults: [], unchecked: [] })
  })

  it('while rows are removed goes on with the file that was verified, and with no other one', async () => {
    await liveThroughAgain(service)
    const [folder, elsewhere] = [temporaryFolder(), temporaryFolder()]
    const before = service.clock.now - 10 * DAY
    await expect(
      archive(servicesOf(service, failingAtRead(2)), { before, folder }),
    ).rejects.toThrow('killed')
    await expect(archive(servicesOf(service), { before, folder: elsewhere })).rejects.toThrow(
      ArchiveFault,
    )
    const [open] = await rows<{ state: string }>(
      service.world.db,
      sql`SELECT state FROM archives ORDER BY number DESC LIMIT 1`,
    )
    expect(open?.state).toBe('removing')
    const made = await makeArchive(service, folder, { daysAgo: 5 })
    expect(made).toMatchObject({ resumed: true, before: new Date(before).toISOString() })
  })
})

/** A wallet whose life begins after the archives that were made. */
function liveThroughAgain(service: Service) {
  return liveThrough(service, { daysAgo: 60, laterChanges: 0 })
}

/** Archives whose reads end with the process, from the given one on. */
function failingAtRead(which: number): ArchiveFiles {
  let reads = 0
  return {
    ...archiveFiles,
    read: (path, take) => {
      reads += 1
      return reads >= which ? Promise.reject(new Error('killed')) : archiveFiles.read(path, take)
    },
  }
}

/** Runs an archive as a process that ends after so many statements: what it has not committed is undone, and nothing follows. */
async function runUntil(
  service: Service,
  folder: string,
  survives: number,
): Promise<Archived | undefined> {
  let left = survives
  const kill = () => {
    left -= 1
    if (left < 0) throw new Error('killed')
  }
  const files: ArchiveFiles = {
    async write(...args) {
      const writer = await archiveFiles.write(...args)
      return {
        ...writer,
        async write(row) {
          kill()
          await writer.write(row)
        },
        async finish() {
          kill()
          const path = await writer.finish()
          kill()
          return path
        },
      }
    },
    async read(path, take) {
      kill()
      return archiveFiles.read(path, take)
    },
  }
  const services = { ...servicesOf(service, files), db: mortal(service.world.db, kill) }
  try {
    const made = await archive(services, { before: service.clock.now - 70 * DAY, folder })
    return made.ok ? made.value : undefined
  } catch (error) {
    if (isKill(error)) return undefined
    throw error
  }
}

function isKill(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if (at.message === 'killed') return true
  return false
}

/** A database whose statements end with the process. */
function mortal(db: Database, kill: () => void): Database {
  return new Proxy(db, {
    get(target, name) {
      const member = Reflect.get(target, name)
      if (name === 'execute')
        return (...args: Parameters<Database['execute']>) => {
          kill()
          return target.execute(...args)
        }
      if (name === 'transaction')
        return (work: (tx: Database) => Promise<unknown>, config: never) => {
          kill()
          return target.transaction(async (tx) => {
            const result = await work(mortal(tx as unknown as Database, kill))
            kill()
            return result
          }, config)
        }
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}
