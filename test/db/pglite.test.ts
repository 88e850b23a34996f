import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { openDatabase } from '../../src/db/open.ts'

const ROOT = join(import.meta.dirname, '../..')
const isRoot = process.getuid?.() === 0

describe('a folder of PGlite', () => {
  let made: string
  beforeAll(async () => {
    made = mkdtempSync(join(tmpdir(), 'latchkey-pglite-'))
    await (await openDatabase(`pglite:${made}`)).close()
  })
  afterAll(() => rmSync(made, { recursive: true, force: true }))

  /** A copy of a stopped service's folder. */
  function copy(): string {
    const folder = mkdtempSync(join(tmpdir(), 'latchkey-pglite-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    cpSync(made, folder, { recursive: true })
    return folder
  }
  function mount(options: string): string {
    const at = mkdtempSync(join(tmpdir(), 'latchkey-mount-'))
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'none', at])
    onTestFinished(() => {
      execFileSync('umount', ['-l', at])
      rmSync(at, { recursive: true, force: true })
    })
    return at
  }
  const faultOf = (folder: string) =>
    openDatabase(`pglite:${folder}`).then(
      ({ close }) => close().then(() => 'opened'),
      (error: Error) => error.message,
    )

  it('of an older Postgres is named with both versions, and what to do', async () => {
    const folder = copy()
    writeFileSync(join(folder, 'postgres/PG_VERSION'), '16\n')
    expect(await faultOf(folder)).toBe(
      `The folder ${folder} of DATABASE_URL holds a database of Postgres 16, and this release has Postgres 18: export it with the release that wrote it, or set DATABASE_URL=pglite:<another folder>`,
    )
    writeFileSync(join(folder, 'postgres/PG_VERSION'), '18\n')
    expect(await faultOf(folder)).toBe('opened')
  })

  it('is of the Postgres that this release has', () => {
    expect(readFileSync(join(made, 'postgres/PG_VERSION'), 'utf8').trim()).toBe('18')
  })

  it.each([
    ['without its version', (files: string) => rmSync(join(files, 'PG_VERSION'))],
    ['without its control file', (files: string) => rmSync(join(files, 'global/pg_control'))],
    [
      'with a control file that is cut off',
      (files: string) => truncateSync(join(files, 'global/pg_control'), 10),
    ],
    [
      'without its write-ahead log',
      (files: string) => rmSync(join(files, 'pg_wal'), { recursive: true }),
    ],
  ])('that is damaged, %s, is named so', async (_, damage) => {
    const folder = copy()
    damage(join(folder, 'postgres'))
    expect(await faultOf(folder)).toMatch(
      /^The folder \S+ of DATABASE_URL holds a database that is damaged or incomplete \(.+\): restore a copy, or set DATABASE_URL=/,
    )
  })

  it.runIf(process.platform === 'linux')(
    'where there can be none is named so, at once',
    async () => {
      for (const folder of ['/proc/latchkey', '/proc/latchkey/deeper/data'])
        expect(await faultOf(folder)).toContain(
          `The folder ${folder} of DATABASE_URL cannot be made`,
        )
    },
  )

  it('that is a file is named so', async () => {
    const folder = copy()
    const file = join(folder, 'file')
    writeFileSync(file, '')
    expect(await faultOf(file)).toBe(
      `The folder ${file} of DATABASE_URL is not a folder: set DATABASE_URL=pglite:<another folder>`,
    )
  })

  it('that another process has is named with the process', async () => {
    const folder = copy()
    const { close } = await openDatabase(`pglite:${folder}`)
    onTestFinished(close)
    const script = `
      const { openDatabase } = await import(${JSON.stringify(join(ROOT, 'src/db/open.ts'))})
      await openDatabase('pglite:${folder}').catch((error) => process.stdout.write(error.message))`
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      encoding: 'utf8',
    })
    expect(stdout).toContain(`is in use by process ${process.pid}`)
  })

  it.runIf(process.platform !== 'win32')(
    'that others may write to or read is closed to them before the database is opened',
    async () => {
      const folder = copy()
      chmodSync(folder, 0o777)
      chmodSync(join(folder, 'postgres'), 0o755)
      expect(await faultOf(folder)).toBe('opened')
      expect(statSync(folder).mode & 0o777).toBe(0o755)
      expect(statSync(join(folder, 'postgres')).mode & 0o777).toBe(0o700)
    },
  )

  it.runIf(isRoot && process.platform === 'linux')(
    'of another user is named so, to a process that is not root',
    () => {
      const folder = copy()
      chmodSync(folder, 0o755)
      const script = `
        const { openDatabase } = await import(${JSON.stringify(join(ROOT, 'src/db/open.ts'))})
        process.setgid(65534); process.setuid(65534)
        await openDatabase('pglite:${folder}').catch((error) => process.stdout.write(error.message))`
      const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
        encoding: 'utf8',
      })
      expect(stdout).toMatch(/may not be written by this user: change its owner, or set/)
    },
  )

  it.runIf(isRoot && canMount())('on a disk that is full or read-only is named so', async () => {
    const full = join(mount('size=8m'), 'data')
    mkdirSync(full)
    expect(await faultOf(full)).toMatch(/disk that is full: make room there, or set/)
    const readOnly = join(mount('ro'), 'data')
    expect(await faultOf(readOnly)).toMatch(/file system that is read-only: set/)
  })
})

/** Containers often may not. */
function canMount(): boolean {
  if (process.platform !== 'linux') return false
  const at = mkdtempSync(join(tmpdir(), 'latchkey-mount-'))
  const { status } = spawnSync('mount', ['-t', 'tmpfs', 'none', at])
  if (status === 0) spawnSync('umount', [at])
  rmSync(at, { recursive: true, force: true })
  return status === 0
}
