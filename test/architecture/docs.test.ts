import { existsSync, globSync, readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { VERSION } from '../../src/version.ts'
import { configurationIn, isIn, pathsIn, scriptsIn } from './pages.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFileSync(`${ROOT}/${path}`, 'utf8')

const files = listFiles()
const pages = files.filter((file) => file.endsWith('.md'))
const { version, scripts } = JSON.parse(read('package.json')) as {
  version: string
  scripts: Record<string, string>
}

describe('the pages', () => {
  it.each(['README.md', 'ARCHITECTURE.md', 'SECURITY.md'])('are there: %s', (page) => {
    expect(pages).toContain(page)
  })

  it.each(pages)('name only paths that exist: %s', (page) => {
    expect(pathsIn(read(page)).filter((path) => !isIn(files, path))).toEqual([])
  })

  it.each(pages)('name only npm scripts that exist: %s', (page) => {
    expect(scriptsIn(read(page)).filter((name) => !(name in scripts))).toEqual([])
  })
})

describe('README.md', () => {
  const readme = existsSync(`${ROOT}/README.md`) ? read('README.md') : ''

  it('has every variable of src/env.ts in its configuration table, and no other', () => {
    const read = variablesOf('src/env.ts', /^ {2}([A-Z][A-Z0-9_]+): /gm)
    expect(configurationIn(readme).sort()).toEqual(read)
  })

  it('names of the CLI only variables that src/cli reads', () => {
    const known = files
      .filter((file) => file.startsWith('src/cli/'))
      .flatMap((file) => variablesOf(file, /\b(LATCHKEY_[A-Z_]+)\b/g))
    const named = [...new Set(readme.match(/\bLATCHKEY_[A-Z_]+\b/g))]
    expect(named.filter((name) => !known.includes(name))).toEqual([])
  })
})

it('the version that the service tells is that of the package', () => {
  expect(VERSION).toBe(version)
})

describe('a page that is wrong', () => {
  const missing = (page: string) => pathsIn(page).filter((path) => !isIn(files, path))

  it.each([
    ['See `src/keys/gone.ts`.', 'src/keys/gone.ts'],
    ['Stories are in test/stories/.', 'test/stories/'],
    ['[how it is built](./DESIGN.md#map)', 'DESIGN.md'],
    ['    keys/       gone.ts', 'gone.ts'],
    ['`src/*/gone.ts`', 'src/*/gone.ts'],
  ])('is told of the path: %s', (page, path) => {
    expect(missing(page)).toEqual([path])
  })

  it.each([
    'The door is `src/gate/gate.ts`, every room has `src/*/routes.ts` (see keys/create.ts).',
    'POST https://example.com/src/nothing.ts and GET /openapi.json of @stacks/transactions, and/or text/html.',
    '    src/\n      stacks/    address.ts, intent.ts\n    drizzle/   migrations',
    'Run .ci/run, then look into dist/client/index.js.',
  ])('is not one whose paths are all there: %s', (page) => {
    expect(missing(page)).toEqual([])
  })

  it('is told of the script', () => {
    expect(scriptsIn('npm run nothing && npm start')).toEqual(['nothing', 'start'])
  })
})

function variablesOf(file: string, pattern: RegExp): string[] {
  return [...new Set([...read(file).matchAll(pattern)].map(([, name = '']) => name))].sort()
}

/** All that is written by hand, whether or not git knows it yet. */
function listFiles(): string[] {
  const made = ['node_modules', 'dist', 'coverage', '.git', '.latchkey', '.wrangler']
  return globSync('{*,.ci/*,{src,test,drizzle}/**}', {
    cwd: ROOT,
    withFileTypes: true,
    exclude: (entry) => made.includes(entry.name),
  })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
}
