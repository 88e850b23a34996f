import { createHash } from 'node:crypto'

/** What the page bundles besides dependencies of the service. Its build lists all of it, with licences, for /licenses.md. */
export const BUNDLED = ['preact']

/** The parts of package-lock.json that a bill of materials is made of. */
export interface Lock {
  packages: Record<string, LockedPackage>
}

interface LockedPackage {
  version?: string
  license?: string
  integrity?: string
  dev?: boolean
  optional?: boolean
  devOptional?: boolean
  dependencies?: Record<string, string>
  optionalDependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
}

/** What a bill is of: its own name, its licence, and the packages that it depends on directly. */
export interface BillSubject {
  name: string
  version: string
  license: string
  dependencies: readonly string[]
  /** Packages of the development that are copied into what is shipped. */
  bundled?: readonly string[]
}

/**
 * Returns a CycloneDX 1.6 document of everything that a subject brings along when npm installs it by the lock. One commit gives one
 * document: its time is the commit's, and its serial number is made of its content.
 */
export function sbomOf(lock: Lock, subject: BillSubject, commitTime: string): object {
  const { bundled = [] } = subject
  const root = purlOf(subject.name, subject.version)
  const found = new Map<string, { path: string; entry: LockedPackage }>()
  const edges = new Map<string, string[]>()

  function follow(from: string, names: readonly string[]): string[] {
    const refs = names.flatMap((name) => {
      const path = resolve(lock, from, name, bundled)
      return path === undefined ? [] : [visit(path)]
    })
    return [...new Set(refs)].sort()
  }
  function visit(path: string): string {
    const entry = lock.packages[path] ?? {}
    const ref = purlOf(nameOf(path), entry.version ?? '')
    if (found.has(ref)) return ref
    found.set(ref, { path, entry })
    const { dependencies, optionalDependencies, peerDependencies } = entry
    const names = Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })
    edges.set(ref, follow(path, names))
    return ref
  }

  edges.set(root, follow('', [...subject.dependencies, ...bundled]))
  const { name, version, license } = subject
  const body = {
    metadata: {
      timestamp: commitTime,
      component: {
        type: 'application',
        'bom-ref': root,
        name,
        version,
        licenses: licensesOf(license),
        purl: root,
      },
    },
    components: [...found.entries()].sort(byRef).map(([ref, one]) => componentOf(ref, one)),
    dependencies: [...edges.entries()].sort(byRef).map(([ref, dependsOn]) => ({ ref, dependsOn })),
  }
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.6.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${uuidOf(JSON.stringify(body))}`,
    version: 1,
    ...body,
  }
}

/** The entry that `require(name)` finds from a package: its own node_modules, then those of the packages around it. */
function resolve(
  lock: Lock,
  from: string,
  name: string,
  bundled: readonly string[],
): string | undefined {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    const path = `${at === '' ? '' : `${at}/`}node_modules/${name}`
    const entry = lock.packages[path]
    // An optional peer that only the tests need is in the lock, and no install without them has it.
    if (entry !== undefined) return entry.dev === true && !bundled.includes(name) ? undefined : path
    if (at === '') return undefined
  }
}

function componentOf(ref: string, { path, entry }: { path: string; entry: LockedPackage }): object {
  const { version, license, integrity = '', optional, devOptional } = entry
  const [algorithm, digest = ''] = integrity.split('-')
  if (algorithm !== 'sha512') throw new Error(`package-lock.json has no SHA-512 of ${path}`)
  return {
    type: 'library',
    'bom-ref': ref,
    name: nameOf(path),
    version,
    scope: optional === true || devOptional === true ? 'optional' : 'required',
    hashes: [{ alg: 'SHA-512', content: Buffer.from(digest, 'base64').toString('hex') }],
    ...(license !== undefined && { licenses: licensesOf(license) }),
    purl: ref,
  }
}

function licensesOf(license: string): object[] {
  return / (?:OR|AND|WITH) /.test(license)
    ? [{ expression: license }]
    : [{ license: { id: license } }]
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
}

function purlOf(name: string, version: string): string {
  return `pkg:npm/${name.replace('@', '%40')}@${version}`
}

/** RFC 9562 version 8: the rest is the hash. */
function uuidOf(text: string): string {
  const hex = createHash('sha256').update(text).digest('hex')
  const parts = [
    hex.slice(0, 8),
    hex.slice(8, 12),
    `8${hex.slice(13, 16)}`,
    `8${hex.slice(17, 20)}`,
  ]
  return [...parts, hex.slice(20, 32)].join('-')
}

function byRef([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1
}
