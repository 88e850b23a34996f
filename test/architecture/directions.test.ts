import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { breaches, cycleIn, importsOf, partOf, type Sources } from './directions.ts'
import { PARTS, ROOMS } from './table.ts'

const SRC = fileURLToPath(new URL('../../src', import.meta.url))
const sources: Sources = new Map(
  globSync('**/*.ts', { cwd: SRC })
    .sort()
    .map((file) => [file, readFileSync(`${SRC}/${file}`, 'utf8')]),
)

describe('imports in src', () => {
  it('go only where the table lets them', () => {
    expect(breaches(sources)).toEqual([])
  })

  it('never run in a circle', () => {
    expect(cycleIn(sources)).toBeUndefined()
  })

  it('are all seen: as many as there are quoted paths after import and from', () => {
    for (const [file, source] of sources) {
      const code = source.replace(/\/\*[\s\S]*?\*\//g, '')
      const quoted = code.match(/(\bfrom|^\s*import)\s+'[^']+'|\bimport\(/gm) ?? []
      expect([file, importsOf(code).length]).toEqual([file, quoted.length])
    }
  })
})

describe('the table', () => {
  it('has no part without files, and no room without a folder', () => {
    const files = [...sources.keys()]
    const empty = PARTS.filter((part) => !files.some((file) => partOf(file) === part))
    expect(empty.map((part) => part.name)).toEqual([])
    const folders = new Set(files.map((file) => file.split('/')[0]))
    expect(Object.keys(ROOMS).filter((room) => !folders.has(room))).toEqual([])
  })

  it('names in every row only parts that there are', () => {
    const names = new Set(PARTS.map((part) => part.name))
    for (const { imports, types = [] } of PARTS)
      for (const name of [...imports, ...types]) expect(names).toContain(name)
  })
})

describe('a breach', () => {
  const planted = (file: string, source: string) =>
    breaches(new Map([...sources, [file, source]])).join('\n')

  it.each([
    ['zod in a noun', 'keys/key.ts', "import { z } from 'zod'"],
    ['zod in stacks/', 'stacks/address.ts', "import type { z } from 'zod'"],
    ['node: in a room', 'keys/create.ts', "import { randomBytes } from 'node:crypto'"],
    ['node: in the SDK', 'client/keys.ts', "import { readFileSync } from 'node:fs'"],
    ['hono in a verb', 'orders/cancel.ts', "import type { Context } from 'hono'"],
    ['drizzle in a route', 'keys/routes.ts', "import {\n  sql,\n} from 'drizzle-orm'"],
    ['a verb in the SDK', 'client/keys.ts', "import { createKey } from '../keys/create.ts'"],
    [
      'a schema that the SDK runs',
      'client/keys.ts',
      "import { KeyName } from '../keys/schemas.ts'",
    ],
    ['a route in a verb', 'keys/create.ts', "import { keyEndpoints } from './routes.ts'"],
    ['a room in stacks/', 'stacks/intent.ts', "export * from '../orders/order.ts'"],
    ['a room that looks up', 'keys/find.ts', "import { findOrder } from '../orders/find.ts'"],
    ['the service in the devnet', 'devnet/node.ts', "import { readConfig } from '../env.ts'"],
    ['the simulator in the service', 'node/devnet.ts', "await import('@stacks/clarinet-sdk')"],
    ['the noun of a room in the CLI', 'cli/run.ts', "import '../keys/token.ts'"],
  ])('is named with its file and its import: %s', (_, file, source) => {
    const path = /'([^']+)'/.exec(source)?.[1]
    expect(planted(file, source)).toMatch(`src/${file} imports ${path}, `)
  })

  it.each([
    ['keys/key.ts', 'export const now = () => Date.now()', 'Date.now'],
    ['orders/create.ts', 'const at = new Date()', 'new Date()'],
    ['stacks/sign.ts', 'const seed = crypto.getRandomValues(new Uint8Array(32))', 'randomness'],
    ['http/body.ts', 'if (process.env.DEBUG) log(body)', 'process'],
  ])('is named with what it reads: %s, %s', (file, source, what) => {
    expect(planted(file, source)).toMatch(`src/${file} reads ${what}, but `)
  })

  it('is named as a circle', () => {
    const circle = new Map([
      ['a.ts', "import './b.ts'"],
      ['b.ts', "import type { C } from './c/c.ts'"],
      ['c/c.ts', "export * from '../a.ts'"],
    ])
    expect(cycleIn(circle)).toBe('a.ts -> b.ts -> c/c.ts -> a.ts')
  })
})
