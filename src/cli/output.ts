import { styleText } from 'node:util'
import { CommandError, reasonOf } from './errors.ts'

export interface Span {
  colour: 'green' | 'red' | 'dim' | 'bold'
  text: string
}

/** A line of text for people. Colours are spans and not escape sequences: every character of `text` is cleaned. */
export type Line = string | readonly (string | Span)[]

/** Standard output or standard error. */
export interface Output {
  /** Resolves when the operating system has taken all of it; rejects with an `OutputError`. */
  print(lines: readonly Line[]): Promise<void>
  printJson(value: unknown): Promise<void>
  /** Shows a line which the next one replaces; on a terminal only. */
  showProgress(line: Line): Promise<void>
  /** Begins the screen anew; on a terminal only. */
  clear(): Promise<void>
  /** Whether a person watches: a terminal that can erase a line. */
  readonly isTerminal: boolean
  /** Whether what is written is thrown away, as by /dev/null. */
  readonly isDiscarded: boolean
  readonly columns: number | undefined
}

/** Standard output takes nothing more. */
export class OutputError extends CommandError {
  readonly reason: string
  /** The reader of the pipe has closed it, which is how `head` ends: no failure of the command. */
  readonly isReaderGone: boolean

  constructor(cause: unknown) {
    const reason = reasonOf(cause)
    super('OUTPUT_FAILED', `The result cannot be written to standard output: ${reason}`)
    this.reason = reason
    this.isReaderGone = (cause as { code?: string }).code === 'EPIPE'
  }
}

const ERASE_LINE = '\r\u001b[K'
const CLEAR_SCREEN = '\u001b[H\u001b[J'

export function openOutput({
  write,
  isTerminal,
  hasColours,
  isDiscarded = false,
  columns,
}: {
  write(text: string): Promise<void>
  isTerminal: boolean
  hasColours: boolean
  isDiscarded?: boolean
  columns?: number | undefined
}): Output {
  let erase = ''
  const render = (line: Line) => {
    const spans = typeof line === 'string' ? [line] : line
    return spans.map((span) => renderSpan(span, hasColours)).join('')
  }
  async function send(text: string): Promise<void> {
    const before = erase
    erase = ''
    await write(before + text)
  }
  return {
    print: (lines) => send(lines.map((line) => `${render(line)}\n`).join('')),
    printJson: (value) => send(`${jsonText(value)}\n`),
    async showProgress(line) {
      if (!isTerminal) return
      await send(render(line))
      erase = ERASE_LINE
    },
    async clear() {
      if (isTerminal) await send(CLEAR_SCREEN)
    },
    isTerminal,
    isDiscarded,
    columns,
  }
}

function renderSpan(span: string | Span, hasColours: boolean): string {
  if (typeof span === 'string') return cleanText(span)
  const text = cleanText(span.text)
  return hasColours ? styleText(span.colour, text, { validateStream: false }) : text
}

/**
 * Replaces what would steer a terminal or imitate another line: C0 and C1 controls, line separators, and format characters
 * (bidirectional, zero-width, tags). Services, files and arguments may hold any of them.
 */
export function cleanText(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '\ufffd')
}

/** JSON in ASCII: it steers no terminal, and a shell that re-encodes what it redirects leaves it as it is. */
export function jsonText(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(
    /[^\n\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

/** FORCE_COLOR first, as Node itself has it; then NO_COLOR and TERM=dumb; by default colours are for terminals. */
export function wantsColours(
  isTTY: boolean,
  { FORCE_COLOR = '', NO_COLOR = '', TERM }: Record<string, string | undefined>,
): boolean {
  if (FORCE_COLOR !== '') return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false'
  return isTTY && NO_COLOR === '' && TERM !== 'dumb'
}
