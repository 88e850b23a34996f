import { execFileSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build, type Plugin } from 'esbuild'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** The commit of release 0.1.0, and its last migration. */
const COMMIT = '71f70ee4029ff697d6e5afea7a92249a62739e28'
export const LAST_MIGRATION_BEFORE = 4
/** The last commit without shards in its tables, and its last migration. */
const COMMIT_WITHOUT_SHARDS = '50ec283d7ff52c1a7d9050185ac4960a7a8dd0a4'
export const LAST_MIGRATION_WITHOUT_SHARDS = 10
/** Read from its folder, or native. */
const EXTERNAL = ['@electric-sql/pglite', 'secp256k1', '@bitauth/libauth']

/** Whether the history that this checkout has reaches back to the release before: a shallow clone's does not. */
export function hasReleaseBefore(): boolean {
  return hasCommit(COMMIT)
}

/** As `hasReleaseBefore`, of the last commit without shards. */
export function hasCommitWithoutShards(): boolean {
  return hasCommit(COMMIT_WITHOUT_SHARDS)
}

function hasCommit(commit: string): boolean {
  try {
    git(['cat-file', '-e', `${commit}^{commit}`])
    return true
  } catch {
    return false
  }
}

/**
 * Writes the last commit without shards into a folder, with its migrations and the packages of this checkout. Resolves to its entry on
 * Node: it has the same packages, and runs from its sources.
 */
export function writeCommitWithoutShards(folder: string): string {
  const files = git(['archive', COMMIT_WITHOUT_SHARDS, 'src', 'drizzle', 'docs', 'package.json'])
  execFileSync('tar', ['-x', '-C', folder], { input: files })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return join(folder, 'src/node.ts')
}

/**
 * Builds the Node service and the worker of the release before from the history, with the packages of this checkout, into
 * `src/db/node.js` and `worker.js` of a folder: the service finds its migrations from there.
 */
export async function buildReleaseBefore(folder: string): Promise<void> {
  const sources = join(folder, 'sources')
  mkdirSync(sources, { recursive: true })
  // It looks for the folder of a package that this checkout has no more, and reads from it only for /docs.
  const docs = join(folder, 'src/node_modules/swagger-ui-dist')
  mkdirSync(docs, { recursive: true })
  writeFileSync(join(docs, 'package.json'), '{}')
  execFileSync('tar', ['-x', '-C', sources], { input: git(['archive', COMMIT, 'src']) })
  const shared: BuildOptions = {
    bundle: true,
    format: 'esm',
    nodePaths: [join(ROOT, 'node_modules')],
    logLevel: 'error',
  }
  await build({
    ...shared,
    entryPoints: [join(sources, 'src/node.ts')],
    outfile: join(folder, 'src/db/node.js'),
    platform: 'node',
    external: EXTERNAL,
    plugins: [PACKAGES_BEFORE],
    banner: {
      js: `import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);`,
    },
  })
  await build({
    ...shared,
    entryPoints: [join(sources, 'src/worker.ts')],
    outfile: join(folder, 'worker.js'),
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['workerd', 'worker', 'browser', 'import'],
    external: ['*.wasm', 'node:*'],
    plugins: [PACKAGES_BEFORE, WITHOUT_NODE],
    // wrangler.toml declares it now; the release before uses none.
    footer: { js: 'export class GateObject {}' },
  })
}

/** The release before used the noble hashes that @stacks/transactions still uses. */
const PACKAGES_BEFORE: Plugin = {
  name: 'packages of the release before',
  setup({ onResolve, resolve }) {
    onResolve({ filter: /^@noble\/hashes\// }, ({ path, kind, pluginData }) =>
      pluginData === 'resolved'
        ? undefined
        : resolve(path, {
            kind,
            resolveDir: join(ROOT, 'node_modules/@stacks/transactions'),
            pluginData: 'resolved',
          }),
    )
  },
}

/** Packages fall back to node:crypto where there is no WebCrypto. */
const WITHOUT_NODE: Plugin = {
  name: 'without node:crypto',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^crypto$/ }, () => ({ path: 'crypto', namespace: 'empty' }))
    onLoad({ filter: /.*/, namespace: 'empty' }, () => ({ contents: '' }))
  },
}

function git(command: readonly string[]): Buffer {
  return execFileSync('git', ['-C', ROOT, ...command], {
    maxBuffer: 64 * 2 ** 20,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
}
