import { globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** The subject of a sentence is a component or a role. */
const DENIED = /\b(nobody|somebody|whoever|everybody|he|his|him|himself)\b/gi

function deniedIn(path: string): string[] {
  return readFileSync(`${ROOT}/${path}`, 'utf8')
    .split('\n')
    .flatMap((line, at) =>
      [...line.matchAll(DENIED)].map(([word]) => `${path}:${at + 1} says ${word.toLowerCase()}`),
    )
}

it.each([
  'src/**/*.{ts,tsx,clar}',
  '*.md',
  'docs/**/*.md',
])('comments and documents name components and roles: %s', (pattern) => {
  const files = globSync(pattern, { cwd: ROOT }).sort()
  expect(files.flatMap(deniedIn)).toEqual([])
})
