import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { createAdminProgram } from '../../src/cli/admin.ts'
import type { CliCommand } from '../../src/cli/command.ts'
import { createProgram } from '../../src/cli/program.ts'
import { parseLine } from '../../src/cli/run.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PAGES = globSync(['README.md', 'docs/*.md'], { cwd: ROOT })
  .map((page) => readFileSync(`${ROOT}/${page}`, 'utf8'))
  .join('\n')

const programs: [string, () => CliCommand][] = [
  ['latchkey', () => createProgram()],
  ['latchkey-admin', () => createAdminProgram(() => 0)],
]

/** Splits as a shell does, as far as examples go. */
function wordsOf(line: string): string[] {
  return [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '')
}

describe.each(programs)('every command of %s', (name, create) => {
  const program = create()
  const leaves = program.leaves()

  it.each(
    leaves.map((leaf) => [leaf.path(), leaf] as const),
  )('has a summary, and examples that parse as it: %s', (path, leaf) => {
    expect(leaf.summary()).toMatch(/^[a-z].*[^.]$/)
    expect(leaf.examples.length).toBeGreaterThan(0)
    for (const example of leaf.examples) {
      const [first, ...args] = wordsOf(example)
      const parsed = parseLine(create(), args)
      const reached = 'command' in parsed ? parsed.command.path() : `${name} help`
      expect([first, reached]).toEqual([name, path])
    }
  })

  it('appears in the help of the program and of its group', () => {
    const help = program.helpInformation()
    for (const leaf of leaves) {
      const line = new RegExp(`^ {2}${leaf.path().replace(`${name} `, '')}\\b`, 'm')
      expect(help).toMatch(line)
      expect((leaf.parent as CliCommand).helpInformation()).toMatch(line)
    }
  })

  it('has the help of its group, with and without its own name behind it', () => {
    const groups = new Set(leaves.map((leaf) => leaf.parent as CliCommand))
    groups.delete(program)
    expect(groups.size).toBeGreaterThan(3)
    const helpOf = (...line: string[]) => {
      const parsed = parseLine(create(), line)
      return 'printed' in parsed ? parsed.printed.lines?.join('\n') : parsed.command.path()
    }
    for (const group of groups) {
      const names = group.path().split(' ').slice(1)
      expect(helpOf(...names, 'help')).toBe(group.helpInformation())
      for (const leaf of group.leaves())
        expect(helpOf(...names, 'help', leaf.name())).toBe(leaf.helpInformation())
    }
  })

  it('describes each of its options and arguments', () => {
    for (const command of [program, ...leaves]) {
      for (const { flags, description } of command.options)
        expect([command.path(), flags, description]).toEqual([
          command.path(),
          flags,
          expect.stringMatching(/\S/),
        ])
    }
  })
})

it('README and docs name only commands that exist', () => {
  const named = [
    ...PAGES.matchAll(/npm run (?:-s )?(latchkey(?:-admin)?)((?: (?!--)[a-z][a-z-]*)*)/g),
  ]
  expect(named.length).toBeGreaterThan(3)
  for (const [line, name = '', rest = ''] of named) {
    const create = programs.find(([known]) => known === name)?.[1] ?? (() => createProgram())
    let at = create()
    for (const word of wordsOf(rest)) {
      if (at.commands.length === 0) break
      const next = at.commands.find((command) => command.name() === word)
      expect([line, word, next?.name()]).toEqual([line, word, word])
      at = next as CliCommand
    }
  }
})
