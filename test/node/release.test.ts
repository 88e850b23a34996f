import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, cpSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { BUNDLED } from '../../src/node/sbom.ts'
import { emptyFolder, ROOT } from './entry.ts'

const SOURCES = [
  'src',
  'package.json',
  'package-lock.json',
  'tsconfig.json',
  'README.md',
  'LICENSE',
]

const run = (cwd: string, program: string, ...args: string[]) =>
  promisify(execFile)(program, args, { cwd, env: { ...process.env, ...GIT } }).then(
    ({ stdout }) => stdout,
    (error) => {
      throw new Error(`${program} ${args.join(' ')}\n${error.stdout}${error.stderr}`)
    },
  )

/** One author and time: two checkouts are the same commit. */
const GIT = Object.fromEntries(
  ['AUTHOR', 'COMMITTER'].flatMap((role) => [
    [`GIT_${role}_NAME`, 'release'],
    [`GIT_${role}_EMAIL`, 'release@example.test'],
    [`GIT_${role}_DATE`, '2026-01-02T03:04:05+06:00'],
  ]),
)

/** A checkout of these sources as one commit, and what `npm run release` makes of it. */
async function release(folder: string, umask: string) {
  for (const file of SOURCES)
    cpSync(join(ROOT, file), join(folder, file), { recursive: true, mode: 0 })
  if (umask === '077') chmodSync(join(folder, 'LICENSE'), 0o600)
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  writeFileSync(join(folder, '.gitignore'), 'node_modules\ndist/\nrelease/\n')
  await run(folder, 'git', 'init', '--quiet', '-b', 'main')
  await run(folder, 'git', '-c', 'core.fileMode=false', 'add', '.')
  await run(folder, 'git', 'commit', '--quiet', '-m', 'release')
  await run(folder, 'git', 'config', 'core.fileMode', 'false')
  const printed = await run(folder, 'sh', '-c', `umask ${umask} && npm run --silent release`)
  return { folder, printed, commit: (await run(folder, 'git', 'rev-parse', 'HEAD')).trim() }
}

describe('a release', () => {
  let one: Awaited<ReturnType<typeof release>>
  let other: Awaited<ReturnType<typeof release>>
  const bytes = ({ folder }: { folder: string }, file: string) =>
    readFileSync(join(folder, 'release', file))
  const json = (file: string) => JSON.parse(bytes(one, file).toString())
  const sha256 = (file: string) => createHash('sha256').update(bytes(one, file)).digest('hex')
  beforeAll(async () => {
    one = await release(emptyFolder(), '022')
    other = await release(join(emptyFolder(), 'another and longer', 'folder'), '077')
  }, 240_000)

  it('is the same bytes for one commit, whatever the folder and the umask', () => {
    expect(other.commit).toBe(one.commit)
    const files = readdirSync(join(one.folder, 'release')).sort()
    const version = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version
    const tarball = `latchkey-${version}.tgz`
    expect(files).toEqual([tarball, 'package.cdx.json', 'provenance.json', 'service.cdx.json'])
    for (const file of files) expect(bytes(other, file).equals(bytes(one, file)), file).toBe(true)
  })

  it('states what it is made of: digests, commit, lock and command', () => {
    const { _type, subject, predicateType, predicate } = json('provenance.json')
    expect(_type).toBe('https://in-toto.io/Statement/v1')
    expect(predicateType).toBe('https://slsa.dev/provenance/v1')
    expect(subject).toHaveLength(3)
    for (const { name, digest } of subject) {
      expect(digest.sha256).toBe(sha256(name))
      expect(one.printed).toContain(`${digest.sha256}  release/${name}`)
    }
    const lock = createHash('sha256').update(readFileSync(join(ROOT, 'package-lock.json')))
    expect(predicate.buildDefinition).toMatchObject({
      externalParameters: { command: 'npm ci && npm run release' },
      resolvedDependencies: [
        { name: 'source', digest: { gitCommit: one.commit } },
        { name: 'package-lock.json', digest: { sha256: lock.digest('hex') } },
      ],
    })
    expect(JSON.stringify(predicate)).not.toContain(one.folder)
  })

  it('lists every package that an install without those of the tests has or the page bundles, with digest and licence', () => {
    const bill = json('service.cdx.json')
    expect(bill).toMatchObject({ bomFormat: 'CycloneDX', specVersion: '1.6', version: 1 })
    expect(bill.serialNumber).toMatch(
      /^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/,
    )
    expect(bill.metadata.timestamp).toBe('2026-01-01T21:04:05.000Z')
    const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'))
    const entries = Object.entries<Record<string, string>>(lock.packages)
    const bundled = BUNDLED.map((name) => `node_modules/${name}`)
    const installed = entries.filter(
      ([path, { dev }]) => path !== '' && (dev === undefined || bundled.includes(path)),
    )
    const expected = installed.map(([path, { version, integrity = '', license = '' }]) => {
      const name = path.slice(path.lastIndexOf('node_modules/') + 13)
      const content = Buffer.from(integrity.slice('sha512-'.length), 'base64').toString('hex')
      return [`pkg:npm/${name.replace('@', '%40')}@${version}`, content, license]
    })
    interface Component {
      purl: string
      hashes: [{ content: string }]
      licenses: [{ license: { id: string } }]
    }
    const listed = bill.components.map(({ purl, hashes, licenses }: Component) => [
      purl,
      hashes[0].content,
      licenses[0].license.id,
    ])
    const unique = new Map(expected.map((one) => [one[0], one]))
    expect(listed).toEqual([...unique.values()].sort(([a = ''], [b = '']) => (a < b ? -1 : 1)))
  })

  it('lists all that is in the built page, and nothing that is not', () => {
    const page = readFileSync(join(ROOT, 'build/site/licenses.md'), 'utf8')
    const inPage = [...page.matchAll(/^## (\S+) - (\S+) \((\S+)\)$/gm)]
    const listed = new Map<string, { version: string; licenses: unknown }>(
      json('service.cdx.json').components.map((one: { name: string }) => [one.name, one]),
    )
    for (const [, name = '', version, id] of inPage)
      expect(listed.get(name), name).toMatchObject({ version, licenses: [{ license: { id } }] })
    const { dependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    const beyond = inPage.map(([, name = '']) => name).filter((name) => !(name in dependencies))
    expect(beyond).toEqual(BUNDLED)
  })

  it('lists what the package brings along, and nothing of the service', () => {
    const bill = json('package.cdx.json')
    const names = bill.components.map(({ name }: { name: string }) => name)
    expect(names).toEqual(['@noble/hashes', '@noble/secp256k1', 'commander'])
    const refs = new Set(bill.dependencies.map(({ ref }: { ref: string }) => ref))
    for (const { dependsOn } of bill.dependencies)
      for (const ref of dependsOn) expect(refs).toContain(ref)
  })

  it('is not made of what is not committed, or of packages that are not those of the lock', async () => {
    const { folder } = one
    const again = () => run(folder, 'node', 'src/node/release.ts')
    writeFileSync(join(folder, 'src/more.ts'), '')
    await expect(again()).rejects.toThrow('changes that are not committed')
    const lock = readFileSync(join(folder, 'package-lock.json'), 'utf8')
    writeFileSync(join(folder, 'package-lock.json'), lock.replaceAll('sha512-', 'sha512-A'))
    await run(folder, 'git', 'add', '.')
    await run(folder, 'git', 'commit', '--quiet', '-m', 'another lock')
    await expect(again()).rejects.toThrow('run npm ci')
  })
})
