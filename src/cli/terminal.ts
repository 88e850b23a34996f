import { styleText } from 'node:util'
import type { Fetch } from '../client/index.ts'

/** What a command is started with and may write to. */
export interface Terminal {
  args: string[]
  env: Record<string, string | undefined>
  out(text: string): void
  err(text: string): void
  isColourful: boolean
  /** In place of the network, for tests. */
  fetch?: Fetch
}

/** What a command comes to: for machines, and for people. */
export interface CommandResult {
  json: unknown
  text: string
  exitCode?: number
}

/** What the command line got wrong: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export function paint(terminal: Terminal, colour: 'green' | 'red' | 'dim' | 'bold', text: string) {
  return terminal.isColourful ? styleText(colour, text, { validateStream: false }) : text
}

/** Labels and values, a line each; a value that is undefined has no line. */
export function keyValues(entries: Record<string, unknown>): string {
  const lines = Object.entries(entries).filter(([, value]) => value !== undefined)
  const width = Math.max(...lines.map(([label]) => label.length))
  return lines.map(([label, value]) => `${label.padEnd(width)}  ${clean(value)}\n`).join('')
}

/** Rows under their headings; numbers to the right. */
export function table(rows: Record<string, unknown>[]): string {
  const headings = Object.keys(rows[0] ?? {})
  const cells = rows.map((row) => headings.map((heading) => clean(row[heading] ?? '-')))
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...cells.map((row) => row[column]?.length ?? 0)),
  )
  const isNumber = headings.map((heading) => rows.every((row) => typeof row[heading] === 'number'))
  const line = (row: string[]) =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0
        return isNumber[column] ? cell.padStart(width) : cell.padEnd(width)
      })
      .join('  ')
      .trimEnd()
  return `${[headings, ...cells].map(line).join('\n')}\n`
}

/** Text of strangers must not steer the terminal. */
export function clean(value: unknown): string {
  return String(value).replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd')
}
