import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BUNDLED, type Lock, sbomOf } from './sbom.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const RELEASE = join(ROOT, 'release')

interface Manifest {
  name: string
  version: string
  license: string
  dependencies: Record<string, string>
  optionalDependencies?: Record<string, string>
}

/**
 * Writes release/: the package, bills of materials of the package and of the service, and a statement of what they were made of.
 * One commit gives the same bytes, in whatever folder it is checked out.
 */
function main(): void {
  const commit = git('rev-parse', 'HEAD')
  if (git('status', '--porcelain') !== '')
    throw new Error('There are changes that are not committed: a release is made of a commit')
  const lock = readJson<Lock>('package-lock.json')
  requireInstalled(lock)
  rmSync(RELEASE, { recursive: true, force: true })
  mkdirSync(RELEASE)
  npm('pack', './dist', '--silent', '--ignore-scripts', '--pack-destination', RELEASE)
  const commitTime = new Date(git('show', '-s', '--format=%cI', 'HEAD')).toISOString()
  for (const [file, manifest, bundled] of [
    ['package.cdx.json', 'dist/package.json', []],
    ['service.cdx.json', 'package.json', BUNDLED],
  ] as const) {
    const { name, version, license, ...rest } = readJson<Manifest>(manifest)
    const dependencies = Object.keys({ ...rest.dependencies, ...rest.optionalDependencies })
    write(file, sbomOf(lock, { name, version, license, dependencies, bundled }, commitTime))
  }
  const files = readdirSync(RELEASE).sort()
  write('provenance.json', provenanceOf(commit, files))
  for (const file of [...files, 'provenance.json'])
    process.stdout.write(`${sha256(join(RELEASE, file))}  release/${file}\n`)
}

/** An in-toto statement with the predicate of SLSA 1.0. It is not signed: the publisher of a release signs it. */
function provenanceOf(commit: string, files: readonly string[]): object {
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: files.map((name) => ({ name, digest: { sha256: sha256(join(RELEASE, name)) } })),
    predicateType: 'https://slsa.dev/provenance/v1',
    predicate: {
      buildDefinition: {
        buildType: 'urn:latchkey:npm-run-release:1',
        externalParameters: { command: 'npm ci && npm run release' },
        internalParameters: {
          node: process.version,
          npm: npm('--version'),
          platform: `${process.platform}-${process.arch}`,
        },
        resolvedDependencies: [
          { name: 'source', digest: { gitCommit: commit } },
          {
            name: 'package-lock.json',
            digest: { sha256: sha256(join(ROOT, 'package-lock.json')) },
          },
        ],
      },
      runDetails: { builder: { id: 'urn:latchkey:local-build' } },
    },
  }
}

/** Throws when a package that is installed is another than the lock's: the statement would name what was not used. */
function requireInstalled(lock: Lock): void {
  const installed = readJson<Lock>('node_modules/.package-lock.json')
  for (const [path, { integrity }] of Object.entries(installed.packages))
    if (lock.packages[path]?.integrity !== integrity)
      throw new Error(`${path} is not the one of package-lock.json: run npm ci`)
}

function git(...args: string[]): string {
  return execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim()
}

/** Runs the npm that runs this script, on the Node of this process: the compression of a package is zlib's. */
function npm(...args: string[]): string {
  const { npm_execpath: path } = process.env
  const [program, first] = path === undefined ? ['npm', []] : [process.execPath, [path]]
  return execFileSync(program, [...first, ...args], { cwd: ROOT, encoding: 'utf8' }).trim()
}

function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(join(ROOT, path), 'utf8')) as T
}

function write(file: string, value: object): void {
  writeFileSync(join(RELEASE, file), `${JSON.stringify(value, null, 2)}\n`)
}

function sha256(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex')
}

try {
  main()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
