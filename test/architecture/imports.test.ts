import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import {
  breaches,
  clientBreaches,
  cycleIn,
  importsOf,
  namesDefinedTwice,
  ringEdge,
  roomOf,
  type Sources,
} from './imports.ts'
import { ROOMS } from './rooms.ts'

const SRC = fileURLToPath(new URL('../../src', import.meta.url))
const sources: Sources = new Map(
  globSync('**/*.{ts,tsx}', { cwd: SRC })
    .sort()
    .map((file) => [file, readFileSync(`${SRC}/${file}`, 'utf8')]),
)
const planted = (file: string, source: string): Sources => new Map([...sources, [file, source]])

describe('imports in src', () => {
  it('go only where the table of rooms allows', () => {
    expect(breaches(sources)).toEqual([])
  })

  it('form no ring of rooms', () => {
    expect(ringEdge(sources)).toBeUndefined()
  })

  it('form no cycle of files, types included', () => {
    expect(cycleIn(sources)).toBeUndefined()
  })

  it('bring no server package into the SDK', () => {
    expect(clientBreaches(sources)).toEqual([])
  })

  it('are all seen: as many as there are quoted paths after import and from', () => {
    for (const [file, source] of sources) {
      const code = source.replace(/\/\*[\s\S]*?\*\//g, '')
      const quoted = code.match(/(\bfrom|^\s*import)\s+'[^']+'|\bimport\(/gm) ?? []
      expect([file, importsOf(code).length]).toEqual([file, quoted.length])
    }
  })
})

it('no exported name has two definitions', () => {
  expect(namesDefinedTwice(sources)).toEqual([])
})

describe('the table of rooms', () => {
  it('has no room without files', () => {
    const rooms = new Set([...sources.keys()].map(roomOf))
    expect(Object.keys(ROOMS).filter((room) => !rooms.has(room))).toEqual([])
  })

  it('is in order: a room imports values only from rooms above it', () => {
    const names = Object.keys(ROOMS)
    for (const [at, name] of names.entries())
      for (const other of ROOMS[name]?.imports ?? [])
        expect([name, other, names.indexOf(other) <= at && names.includes(other)]).toEqual([
          name,
          other,
          true,
        ])
  })
})

describe('a breach', () => {
  it.each([
    ['zod in stacks/', 'stacks/address.ts', "import { z } from 'zod'"],
    ['node: in a room', 'keys/create.ts', "import { randomBytes } from 'node:crypto'"],
    ['node: in the SDK', 'client/keys.ts', "import { readFileSync } from 'node:fs'"],
    ['hono in a verb', 'orders/cancel.ts', "import type { Context } from 'hono'"],
    ['drizzle in a route', 'routes/keys.ts', "import {\n  sql,\n} from 'drizzle-orm'"],
    ['keys in the audit', 'audit/append.ts', "import { getKey } from '../keys/find.ts'"],
    ['a room in stacks/', 'stacks/intent.ts', "export * from '../orders/order.ts'"],
    ['a room that looks up', 'keys/find.ts', "import { findOrder } from '../orders/find.ts'"],
    ['the service in the devnet', 'devnet/node.ts', "import { readConfig } from '../env.ts'"],
    ['the simulator in the service', 'node/devnet.ts', "await import('@stacks/clarinet-sdk')"],
    ['a room in the page', 'dashboard/app.tsx', "import { getKey } from '../keys/find.ts'"],
    ['a library in the page', 'dashboard/bars.tsx', "import { Chart } from 'chart.js'"],
    ['a room in the CLI', 'cli/run.ts', "import '../keys/secret.ts'"],
  ])('is named with its file and its import: %s', (_, file, source) => {
    const path = /'([^']+)'/.exec(source)?.[1]
    expect(breaches(planted(file, source)).join('\n')).toMatch(`src/${file} imports ${path}, `)
  })

  it.each([
    ['keys/key.ts', 'export const now = () => Date.now()', 'Date.now'],
    ['orders/create.ts', 'const at = new Date()', 'new Date()'],
    ['stacks/sign.ts', 'const seed = crypto.getRandomValues(new Uint8Array(32))', 'randomness'],
    ['http/body.ts', 'if (process.env.DEBUG) log(body)', 'process'],
  ])('is named with what it reads: %s, %s', (file, source, what) => {
    expect(breaches(planted(file, source)).join('\n')).toMatch(`src/${file} reads ${what}, but `)
  })

  it('is named as the edge that closes a ring of rooms', () => {
    const ring = planted('keys/find.ts', "import { findOrder } from '../orders/find.ts'")
    expect(ringEdge(ring)).toMatch(/^\w+ -> \w+ closes a ring: src\//)
    const types = planted('keys/find.ts', "import { type OrderFeed } from '../orders/feed.ts'")
    expect(ringEdge(types)).toBeUndefined()
  })

  it('is named as a package of the SDK, however far away it is imported', () => {
    const brought = planted('keys/key.ts', "import * as z from 'zod'")
    const used = new Map([...brought, ['client/keys.ts', "import { a } from '../keys/key.ts'"]])
    expect(clientBreaches(used)).toEqual(['src/keys/key.ts brings zod into the SDK'])
  })

  it('is named as a cycle of files', () => {
    const cycle = new Map([
      ['a.ts', "import './b.ts'"],
      ['b.ts', "import type { C } from './c/c.ts'"],
      ['c/c.ts', "export * from '../a.ts'"],
    ])
    expect(cycleIn(cycle)).toBe('a.ts -> b.ts -> c/c.ts -> a.ts')
  })
})
