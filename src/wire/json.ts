import { ok, type Result, refuse } from '../result.ts'

export type Json = string | number | boolean | null | Json[] | { [name: string]: Json }
export type JsonReason =
  | 'notJson'
  | 'duplicateMember'
  | 'loneSurrogate'
  | 'tooDeep'
  | 'tooManyValues'

const MAX_DEPTH = 16

/**
 * Parses I-JSON (RFC 7493): JSON without duplicate member names or lone surrogates.
 * `JSON.parse` keeps the last of two equal names, so two readers of one signed text could see two different orders.
 * With `maxValues`, the text may be of any size: it is measured before it is parsed.
 */
export function parseJson(
  text: string,
  { maxDepth = MAX_DEPTH, maxValues }: { maxDepth?: number; maxValues?: number } = {},
): Result<Json, JsonReason> {
  const excess = maxValues === undefined ? undefined : measure(text, maxDepth, maxValues)
  if (excess !== undefined) return refuse(excess)
  let value: Json
  try {
    value = JSON.parse(text)
  } catch {
    return refuse('notJson')
  }
  if (!text.isWellFormed()) return refuse('loneSurrogate')
  const fault = scan(text, maxDepth)
  return fault === undefined ? ok(value) : refuse(fault)
}

/** Finds out whether any text, JSON or not, would become more values, or deeper ones, than the limits allow. It keeps nothing. */
function measure(
  text: string,
  maxDepth: number,
  maxValues: number,
): 'tooDeep' | 'tooManyValues' | undefined {
  let depth = 0
  let values = 0
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '"') {
      // A string ends at the next quote that is not escaped.
      for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === '\\') at++
    } else if (character === '{' || character === '[') {
      values++
      if (++depth > maxDepth) return 'tooDeep'
    } else if (character === '}' || character === ']') {
      depth--
    } else if (character === ',') {
      values++
    }
    if (values > maxValues) return 'tooManyValues'
  }
  return undefined
}

/** Walks a text that is known to be JSON, and looks at each object's names. */
function scan(text: string, maxDepth: number): JsonReason | undefined {
  const open: (Set<string> | undefined)[] = []
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '{' || character === '[') {
      if (open.push(character === '{' ? new Set() : undefined) > maxDepth) return 'tooDeep'
    } else if (character === '}' || character === ']') {
      open.pop()
    } else if (character === '"') {
      const end = endOfString(text, at)
      const string: string = JSON.parse(text.slice(at, end))
      if (!string.isWellFormed()) return 'loneSurrogate'
      const names = open.at(-1)
      if (names !== undefined && isName(text, end)) {
        if (names.has(string)) return 'duplicateMember'
        names.add(string)
      }
      at = end - 1
    }
  }
  return undefined
}

function endOfString(text: string, start: number): number {
  let at = start + 1
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at + 1
}

function isName(text: string, end: number): boolean {
  let at = end
  while (text[at] === ' ' || text[at] === '\n' || text[at] === '\r' || text[at] === '\t') at++
  return text[at] === ':'
}
