import { randomBytes } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { checkArchives } from '../../src/archive/check.ts'
import { archiveFiles } from '../../src/archive-file.ts'
import { administer } from '../../src/cli/admin.ts'
import { archivesIn } from '../../src/cli/archive-files.ts'
import { type AuditEvent, verifyAudit } from '../../src/client/index.ts'
import { rows } from '../../src/db/database.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { collectingTerminal, temporaryFolder } from '../cli/latchkey.ts'
import { refused } from '../support/assertions.ts'
import { type Service, secretsOf, startService } from '../support/service.ts'
import { clientOf, DAY, endLease, liveThrough, makeArchive, servicesOf } from './old-life.ts'

const newKey = () => randomBytes(32).toString('base64')

it('archives of before a rotation of the encryption key, and one that it interrupted, verify with the new key alone', {
  timeout: 180_000,
}, async () => {
  const folder = temporaryFolder()
  const [old, young] = [newKey(), newKey()]
  const before = await startService('Postgres', { env: { ENCRYPTION_KEY: `old:${old}` } })
  const { db } = before.world
  const life = await liveThrough(before)
  const edited = await liveThrough(before)
  const first = await makeArchive(before, folder)
  expect(first.removed).toMatchObject({ event: 2 * life.oldEvents, order: 2 })
  const late = await liveThrough(before, { daysAgo: 60, laterChanges: 0 })
  // Its file is verified and its uuids are stored, but nothing is removed yet.
  let reads = 0
  const dying = {
    ...archiveFiles,
    read: (...given: Parameters<typeof archiveFiles.read>) => {
      reads += 1
      return reads > 2 ? Promise.reject(new Error('killed')) : archiveFiles.read(...given)
    },
  }
  await expect(makeArchive(before, folder, { daysAgo: 10, files: dying })).rejects.toThrow('killed')
  await endLease(before)
  await rows(
    db,
    sql`UPDATE archived_audits SET action_id = action_id + 1 WHERE wallet_address = ${edited.wallet.address}`,
  )

  const both = `new:${young},old:${old}`
  // A record that was edited gets no MAC that would make it look whole.
  expect(await rotate(before, both)).toMatchObject({ unverified: 1 })
  await rows(
    db,
    sql`UPDATE archived_audits SET action_id = action_id - 1 WHERE wallet_address = ${edited.wallet.address}`,
  )
  expect(await rotate(before, both)).toMatchObject({ unverified: 0 })

  const { databaseUrl } = before
  const after = await startService('Postgres', {
    databaseUrl,
    env: { ...secretsOf(before), ENCRYPTION_KEY: `new:${young}` },
  })
  await before.close()
  const resumed = await makeArchive(after, folder, { daysAgo: 10 })
  expect(resumed).toMatchObject({ number: 2, resumed: true })
  // Its order is not what the file has any more: it stays until the next archive takes it.
  expect(resumed.removed.order ?? 0).toBe(0)
  expect((await after.call(`/orders/${late.confirmed}`)).status).toBe(200)
  const third = await makeArchive(after, folder, { daysAgo: 9 })
  expect(third).toMatchObject({ number: 3, held: { wallets: [], orders: [] } })
  expect(third.removed.order).toBe(1)
  const gone = await refused(await after.call(`/orders/${late.confirmed}`), 'orderArchived')
  expect(gone.details).toEqual({ archive: 3 })

  expect(await checkArchives(servicesOf(after), folder)).toMatchObject({ archives: 3, faults: [] })
  expect(await checkAudit(after.world)).toMatchObject({ faults: [], unchecked: [] })
  for (const { wallet } of [life, edited, late]) {
    const audit = await clientOf(after, wallet).audit.export()
    const archived = await eventsOf(wallet.address, folder)
    expect(archived.length).toBeGreaterThan(12)
    const verdict = verifyAudit(audit, { archived, now: after.clock.now })
    expect(verdict).toMatchObject({ ok: true, faults: [], unproven: [] })
  }
  expect(after.clock.now - Date.parse(first.before)).toBeGreaterThan(69 * DAY)
  await after.close()
})

async function rotate({ databaseUrl, clock }: Service, ENCRYPTION_KEY: string): Promise<unknown> {
  const { terminal, written } = collectingTerminal({
    env: { DATABASE_URL: databaseUrl, ENCRYPTION_KEY },
  })
  const args = ['encryption', 'rotate', '--json']
  expect(await administer({ ...terminal, args }, () => clock.now)).toBe(0)
  return JSON.parse(written.out)
}

async function eventsOf(walletAddress: string, folder: string): Promise<AuditEvent[]> {
  const events: AuditEvent[] = []
  for (const path of archivesIn(folder))
    await archiveFiles.read(path, ({ kind, text }) => {
      if (kind !== 'event') return
      const { event, action } = JSON.parse(text)
      if (event.wallet_address !== walletAddress) return
      const { message, signature, public_key: publicKey } = action ?? {}
      const { sequence, body, hash } = event
      const proof = action && { message, signature, publicKey }
      events.push({ sequence, body, hash: hash.slice(2), ...proof })
    })
  return events
}
