import { globSync, readdirSync, readFileSync } from 'node:fs'
import { join, posix, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { VERSION } from '../../src/version.ts'
import {
  anchorsIn,
  blocksIn,
  commandsIn,
  curlIn,
  isIn,
  linksIn,
  pathsIn,
  scriptsIn,
  tablesIn,
  withoutBlocks,
} from './pages.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const read = (path: string) => readFileSync(`${ROOT}/${path}`, 'utf8')

/** Pages whose subject is what was when. */
const DATED = ['CHANGELOG.md', 'test/bench/RESULTS.md']

const files = listFiles()
const pages = files.filter((file) => file.endsWith('.md'))
const { version, scripts } = JSON.parse(read('package.json')) as {
  version: string
  scripts: Record<string, string>
}

describe('the pages', () => {
  it.each([
    'README.md',
    'ARCHITECTURE.md',
    'SECURITY.md',
    'CHANGELOG.md',
  ])('are there: %s', (page) => {
    expect(pages).toContain(page)
  })

  it.each(pages)('name only paths that exist: %s', (page) => {
    expect(pathsIn(read(page)).filter((path) => !isIn(files, path))).toEqual([])
  })

  it.each(pages)('name only npm scripts that exist: %s', (page) => {
    expect(scriptsIn(read(page)).filter((name) => !(name in scripts))).toEqual([])
  })

  it.each(pages)('link only to files and headings that exist: %s', (page) => {
    expect(linksIn(read(page)).filter((link) => !leadsSomewhere(page, link))).toEqual([])
  })

  it.each(
    pages.filter((page) => page.startsWith('docs/')),
  )('are reachable from README.md: %s', (page) => {
    expect(linksIn(read('README.md')).map(({ path }) => path)).toContain(page)
  })

  it.each(
    pages.filter((page) => !DATED.includes(page)),
  )('have no dates, which grow old: %s', (page) => {
    expect(withoutBlocks(read(page)).match(/\b20\d\d-\d\d(-\d\d)?\b/g)).toBeNull()
  })

  it.each(pages)('name of the CLI only variables that src/cli reads: %s', (page) => {
    const known = files
      .filter((file) => file.startsWith('src/cli/'))
      .flatMap((file) => read(file).match(/\bLATCHKEY_[A-Z_]+\b/g) ?? [])
    const named = [...new Set(read(page).match(/\bLATCHKEY_[A-Z_]+\b/g))]
    expect(named.filter((name) => !known.includes(name))).toEqual([])
  })
})

/** cmd.exe knows no builtins of sh, such as exec. */
it.each(Object.entries(scripts))('the script %s starts only programs', (_, line) => {
  const programs = line.split(' && ').map((command) => command.split(' ')[0] ?? '')
  const known = [...readdirSync(`${ROOT}/node_modules/.bin`), 'npm']
  expect(programs.filter((program) => !known.includes(program))).toEqual([])
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
    'The door is `src/gate/gate.ts`, a room may have `src/*/schemas.ts` (see keys/create.ts).',
    'POST https://example.com/src/nothing.ts and GET /openapi.json of @stacks/transactions, and/or text/html.',
    '    src/\n      stacks/    address.ts, intent.ts\n    drizzle/   migrations',
    'Run .ci/run, then look into dist/client/index.js.',
  ])('is not one whose paths are all there: %s', (page) => {
    expect(missing(page)).toEqual([])
  })

  it('is told of the script', () => {
    expect(scriptsIn('npm run nothing && npm run -s more && npm start')).toEqual([
      'nothing',
      'more',
      'start',
    ])
  })

  it.each([
    { path: 'docs/gone.md', anchor: '' },
    { path: 'docs/api.md', anchor: 'gone' },
    { path: '', anchor: 'gone' },
  ])('is told of the link: %j', (link) => {
    expect(leadsSomewhere('README.md', link)).toBe(false)
    const text = `[text](${link.path}${link.anchor === '' ? '' : `#${link.anchor}`})`
    expect(linksIn(text)).toEqual([link])
  })
})

describe('the reader of pages', () => {
  it('makes the anchors that GitHub makes', () => {
    const page = '# Key `a`, and its end\n\n```sh\n# no heading\n```\n\n## Same\n\n## Same\n'
    expect(anchorsIn(page)).toEqual(['key-a-and-its-end', 'same', 'same-1'])
  })

  it('reads tables with the heading above them', () => {
    const page = '## Limits\n\n| `a` | b |\n|---|---:|\n| `x` | 1 |\n\n| c |\n|---|\n'
    expect(tablesIn(page)).toEqual([
      { heading: 'Limits', head: ['a', 'b'], rows: [['x', '1']] },
      { heading: 'Limits', head: ['c'], rows: [] },
    ])
  })

  it('reads the commands of shell blocks, also of indented ones', () => {
    const page = '1. First\n\n   ```sh\n   # why\n   one a \\\n     b  # what\n   two\n   ```\n'
    expect(blocksIn(page).map(commandsIn)).toEqual([['one a b', 'two']])
  })

  it('reads the requests of curl', () => {
    expect(curlIn(`curl -s -X PATCH -H "X-API-Key: $KEY" -d '{"a":1}' http://h/p`)).toEqual({
      method: 'PATCH',
      url: 'http://h/p',
      headers: { 'X-API-Key': '$KEY' },
      body: '{"a":1}',
    })
    expect(curlIn('curl http://h/p')?.method).toBe('GET')
    expect(curlIn('openssl rand')).toBeUndefined()
  })
})

/** Whether a link of a page leads to a file of the repository and, in a page, to a heading. */
function leadsSomewhere(page: string, { path, anchor }: { path: string; anchor: string }): boolean {
  const target = path === '' ? page : posix.join(posix.dirname(page), path)
  if (!files.includes(target)) return false
  return anchor === '' || anchorsIn(read(target)).includes(anchor)
}

/** All that is written by hand, whether or not git knows it yet. */
function listFiles(): string[] {
  const made = ['node_modules', 'dist', 'coverage', '.git', '.latchkey', '.wrangler']
  return globSync('{*,.*,.ci/*,deploy/.*,{src,test,docs,drizzle,examples,deploy}/**}', {
    cwd: ROOT,
    withFileTypes: true,
    exclude: (entry) => made.includes(entry.name),
  })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
}
