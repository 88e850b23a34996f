import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import * as client from '../../src/client/index.ts'
import * as react from '../../src/react/index.ts'
import * as store from '../../src/store/index.ts'
import { readComponents, readExamples } from './examples.ts'

const SRC = fileURLToPath(new URL('../../src', import.meta.url))
const INDEX = 'client/index.ts'
const read = (file: string) => readFileSync(join(SRC, file), 'utf8')

const DECLARATION =
  /^(?<doc>.*\*\/\n(?:\/\/ biome-ignore .*\n)?)?export (?:async )?(?:function\*?|const|class|interface|type) (?<name>\w+)/gm

/** The declarations of a file that no TSDoc comment precedes. */
function undocumentedIn(source: string): string[] {
  return [...source.matchAll(DECLARATION)].flatMap(({ groups }) =>
    groups?.doc === undefined ? [groups?.name ?? ''] : [],
  )
}

/** The files that index.ts exports from, with the names that it takes from each. */
function exportedByIndex(): [file: string, names: string[]][] {
  return [...read(INDEX).matchAll(/^export (?:type )?\{([^}]*)\} from '([^']+)'/gm)].map(
    ([, names = '', path = '']) => [
      join(dirname(INDEX), path),
      names.split(',').map((name) => name.replace(/^\s*type\s/, '').trim()),
    ],
  )
}

describe('TSDoc', () => {
  it.each(
    globSync('{{client,react,stacks,store}/*,keys/secret}.ts', { cwd: SRC }).sort(),
  )('is on every export of %s', (file) => {
    expect(undocumentedIn(read(file))).toEqual([])
  })

  it('is on everything that the client exports, wherever it is defined', () => {
    const undocumented = exportedByIndex().flatMap(([file, names]) =>
      undocumentedIn(read(file)).filter((name) => names.includes(name)),
    )
    expect(undocumented).toEqual([])
  })

  it('is missed where it is missing', () => {
    expect(undocumentedIn('/** Found. */\nexport const a = 1\n\nexport type B = 1\n')).toEqual([
      'B',
    ])
  })
})

describe('An example', async () => {
  const examples = [...(await readExamples()), ...(await readComponents())]
  const code = examples.map((example) => example.code).join('\n')
  const made = client.createClient({ baseUrl: 'https://dex.example' })
  const methods = (['keys', 'orders', 'audit', 'sessions', 'devnet'] as const).flatMap((room) =>
    Object.keys(made[room]).map((name) => `${room}.${name}(`),
  )
  const functions = Object.entries({ ...client, ...store, ...react }).flatMap(([name, value]) =>
    typeof value === 'function' ? [name] : [],
  )

  it.each([...methods, '.info(', '.time('])('shows client.%s', (call) => {
    expect(code).toContain(call)
  })

  const page = store.createWalletStore({ baseUrl: 'https://dex.example' })
  it.each(Object.keys(page))('shows store.%s', (name) => {
    expect(code).toContain(`store.${name}`)
  })

  it.each(functions)('shows %s', (name) => {
    expect(code).toContain(name)
  })
})
