import { chmodSync, copyFileSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The parts of package.json that the published manifest is made of. */
interface Manifest {
  name: string
  version: string
  description: string
  license: string
  dependencies: Record<string, string>
}

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const DIST = join(ROOT, 'dist')

/** What an application brings: a second copy of it would not work. */
const PEERS: Readonly<Record<string, string>> = { hono: '^4.0.0', react: '^18.0.0 || ^19.0.0' }

/** An import or export statement as tsc emits it, at the start of a line: no example in a comment is. */
const STATEMENT = /^(?:import|export)\b(?:[\w\s{},*$]*\bfrom)?\s*['"](?<specifier>[^'"]+)['"]/gm

/**
 * Makes dist/ a package: a manifest that depends on what the emitted files import and on nothing else of the repository,
 * with README and licence. `npm publish ./dist` publishes it.
 */
function main(): void {
  const root = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest
  writeFileSync(join(DIST, 'package.json'), `${JSON.stringify(manifestOf(root), null, 2)}\n`)
  for (const file of ['README.md', 'LICENSE']) copyFileSync(join(ROOT, file), join(DIST, file))
  // Modes are bytes of the package, and those of new files depend on the umask.
  for (const entry of globSync('**', { cwd: DIST, withFileTypes: true }))
    chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644)
}

function manifestOf({ name, version, description, license, dependencies }: Manifest): object {
  const entry = (path: string) => ({ types: `./${path}.d.ts`, default: `./${path}.js` })
  const client = entry('client/index')
  const own = importedPackages().filter((imported) => !Object.hasOwn(PEERS, imported))
  return {
    name,
    version,
    description,
    license,
    type: 'module',
    // What can `require` an ES module without a flag.
    engines: { node: '^20.19.0 || >=22.12.0' },
    main: client.default,
    types: client.types,
    exports: {
      '.': client,
      './client': client,
      './store': entry('store/index'),
      './react': entry('react/index'),
      './middleware': entry('middleware/index'),
      './middleware/hono': entry('middleware/hono'),
      './middleware/express': entry('middleware/express'),
      './middleware/fastify': entry('middleware/fastify'),
      './package.json': './package.json',
    },
    bin: { latchkey: 'cli/main.js' },
    sideEffects: false,
    dependencies: Object.fromEntries(
      own.map((imported) => [imported, versionOf(imported, dependencies)]),
    ),
    peerDependencies: PEERS,
    // A bot installs none of them.
    peerDependenciesMeta: Object.fromEntries(
      Object.keys(PEERS).map((peer) => [peer, { optional: true }]),
    ),
  }
}

/** The packages that the emitted files import, sorted. */
function importedPackages(): string[] {
  const specifiers = globSync('**/*.js', { cwd: DIST }).flatMap((file) =>
    [...readFileSync(join(DIST, file), 'utf8').matchAll(STATEMENT)].map(
      ({ groups }) => groups?.specifier ?? '',
    ),
  )
  const packages = specifiers
    .filter((specifier) => !/^(\.|node:)/.test(specifier))
    .map((specifier) => /^(?:@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier)
  return [...new Set(packages)].sort()
}

function versionOf(name: string, dependencies: Record<string, string>): string {
  const version = dependencies[name]
  if (version === undefined) throw new Error(`dist/ imports ${name}, which is no dependency`)
  return version
}

main()
