import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { administer } from '../../src/cli/admin.ts'
import { collectingTerminal, latchkey, temporaryFolder } from '../cli/latchkey.ts'
import { type Service, startService } from '../support/service.ts'
import { DAY, liveThrough, type OldLife } from './old-life.ts'

describe('Archives on the command line', { timeout: 120_000 }, () => {
  const [folder, own] = [temporaryFolder(), temporaryFolder()]
  const exported = join(own, 'export')
  let service: Service
  let life: OldLife
  beforeAll(async () => {
    service = await startService('Postgres')
    life = await liveThrough(service)
    for (const daysAgo of [70, 10]) {
      const before = new Date(service.clock.now - daysAgo * DAY).toISOString()
      const made = await admin('archive', 'make', '--before', before, '--to', folder)
      expect(made).toMatchObject({ exitCode: 0, err: '' })
      expect(made.out).toMatch(/event +1[24] +1[24]/)
    }
    writeFileSync(exported, JSON.stringify(await life.client.audit.export()))
  }, 200_000)
  afterAll(() => service.close())

  async function admin(...args: string[]) {
    const { ENCRYPTION_KEY = '' } = service.world.config
    const env = { DATABASE_URL: service.databaseUrl, ENCRYPTION_KEY }
    const { terminal, written } = collectingTerminal({ env })
    const exitCode = await administer({ ...terminal, args }, () => service.clock.now)
    return { exitCode, ...written }
  }
  const verify = (...archives: string[]) =>
    latchkey([
      'audit',
      'verify',
      exported,
      ...(archives.length > 0 ? ['--archive', archives.join(',')] : []),
    ])
  const pathOf = async (number: number) =>
    (await admin('archive', 'list', '--json')).out
      .split('"digest": "')
      .slice(1)
      .map((rest, at) =>
        join(folder, `archive-${String(at + 1).padStart(6, '0')}-${rest.slice(0, 16)}.jsonl.gz`),
      )[number - 1] ?? ''

  it('verify reads the archives beside the export, and says what it could not check without them', async () => {
    const whole = await verify(folder)
    expect(whole).toMatchObject({ exitCode: 0 })
    expect(whole.out).toMatch(/faults +0/)
    const alone = await verify()
    expect(alone.exitCode).toBe(1)
    expect(alone.out).toContain('26 events are in archives of the operator (1, 2)')
    expect(alone.out).toMatch(/faults +0/)
  })

  it('verify tells a missing, a cut off and a changed archive apart', async () => {
    const [first, second] = [await pathOf(1), await pathOf(2)]
    expect((await verify(first, second)).exitCode).toBe(0)
    const partly = await verify(first)
    expect([partly.exitCode, partly.out]).toEqual([1, expect.stringContaining('12 events are in')])
    expect((await verify(second)).err).toContain('is missing, or comes later')
    renameSync(first, `${first}.away`)
    expect((await verify(first, second)).err).toContain('cannot be read: it does not exist')
    writeFileSync(first, 'no archive at all')
    const changed = await verify(first, second)
    expect([changed.exitCode, changed.err]).toEqual([1, expect.stringContaining('was changed')])
    renameSync(`${first}.away`, first)
  })

  it('extract writes the events of one wallet, which its owner verifies with', async () => {
    const to = temporaryFolder()
    const extracted = await admin(
      'archive',
      'extract',
      folder,
      '--wallet',
      life.wallet.address,
      '--to',
      to,
    )
    expect(extracted).toMatchObject({ exitCode: 0, out: expect.stringContaining('events 1 to 26') })
    expect((await verify(to)).exitCode).toBe(0)
    const none = await admin('archive', 'extract', folder, '--wallet', 'ST1', '--to', to)
    expect([none.exitCode, none.err]).toEqual([1, expect.stringContaining('have no events')])
  })

  it('check and list name every archive, and a moment that is too late or none is refused', async () => {
    expect(await admin('archive', 'check', folder)).toMatchObject({ exitCode: 0 })
    expect(await admin('archive', 'check', own)).toMatchObject({
      exitCode: 1,
      out: expect.stringContaining('missing'),
    })
    expect((await admin('archive', 'list')).out).toMatch(/done[\s\S]*done/)
    const now = new Date(service.clock.now).toISOString()
    const late = await admin('archive', 'make', '--before', now, '--to', folder)
    expect([late.exitCode, late.err]).toEqual([1, expect.stringContaining('less than a day ago')])
    expect((await admin('archive', 'make', '--before', 'soon', '--to', folder)).exitCode).toBe(2)
  })
})
