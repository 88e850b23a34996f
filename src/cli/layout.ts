import type { Line, Span } from './output.ts'

export function paint(colour: Span['colour'], text: string): Span {
  return { colour, text }
}

/** Labels and values, a line each; a value that is undefined has no line. */
export function keyValues(entries: Record<string, unknown>): Line[] {
  const shown = Object.entries(entries).filter(([, value]) => value !== undefined)
  const width = longest(shown.map(([label]) => label))
  return shown.map(([label, value]) => `${label.padEnd(width)}  ${shortText(value)}`)
}

/** Rows under their headings; numbers to the right. */
export function table(rows: readonly Record<string, unknown>[]): Line[] {
  const headings = Object.keys(rows[0] ?? {})
  const columns = headings.map((heading) => {
    const cells = rows.map((row) => shortText(row[heading] ?? '-'))
    const width = longest([heading, ...cells])
    const isNumeric = rows.every((row) => typeof row[heading] === 'number')
    return [heading, ...cells].map((cell) =>
      isNumeric ? cell.padStart(width) : cell.padEnd(width),
    )
  })
  return ['', ...rows].map((_, at) =>
    columns
      .map((cells) => cells[at])
      .join('  ')
      .trimEnd(),
  )
}

/** Lists and objects as JSON. */
function shortText(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

// Not Math.max(...lengths): a hundred thousand arguments overflow the stack.
function longest(texts: readonly string[]): number {
  return texts.reduce((width, text) => Math.max(width, text.length), 0)
}
