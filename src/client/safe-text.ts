// No secret of a service is shorter. A shorter text may be a word of the response itself.
const MIN_SECRET_LENGTH = 16

/** Removes what a client has sent and what no error may contain. */
export interface Redaction {
  text(text: string): string
  /** Every string of a JSON value, names of members too. */
  value(value: unknown): unknown
}

/**
 * Creates the redaction of secrets, in any case, with or without 0x, and percent-encoded: a service, a proxy or a fetch may repeat
 * what it was sent. It works on parsed values, because JSON can write one text in many ways.
 */
export function redactionOf(secrets: readonly (string | undefined)[]): Redaction {
  const forms = secrets.flatMap((secret = '') => {
    const bare = secret.replace(/^0x/i, '')
    return [...new Set([secret, bare, encodeURIComponent(secret)])]
  })
  const long = forms.filter((form) => form.length >= MIN_SECRET_LENGTH)
  if (long.length === 0) return { text: (text) => text, value: (value) => value }
  const literal = (form: string) => form.replace(/[^\w]/g, '\\$&')
  const pattern = new RegExp(long.map(literal).join('|'), 'gi')
  const text = (given: string) => given.replace(pattern, '[redacted]')
  function value(given: unknown): unknown {
    if (typeof given === 'string') return text(given)
    if (typeof given !== 'object' || given === null) return given
    if (Array.isArray(given)) return given.map(value)
    return Object.fromEntries(
      Object.entries(given).map(([name, member]) => [text(name), value(member)]),
    )
  }
  return { text, value }
}

const MAX_CAUSES = 4

/**
 * Returns a copy of what fetch rejected with, to be a cause: its names, texts and codes without the secrets, and nothing else, because
 * some implementations keep the whole request in their errors.
 */
export function safeCause(error: unknown, secrets: Redaction, depth = 0): Error | undefined {
  if (!(error instanceof Error) || depth === MAX_CAUSES) return undefined
  const cause = safeCause(error.cause, secrets, depth + 1)
  const copy = new Error(oneLine(secrets.text(error.message), MAX_STRING_LENGTH), { cause })
  copy.name = oneLine(secrets.text(String(error.name)), MAX_NAME_LENGTH)
  copy.stack = secrets.text(String(error.stack ?? '')).slice(0, MAX_STRING_LENGTH)
  const code = 'code' in error ? error.code : undefined
  if (typeof code === 'number') return Object.assign(copy, { code })
  if (typeof code !== 'string') return copy
  return Object.assign(copy, { code: oneLine(secrets.text(code), MAX_NAME_LENGTH) })
}

/**
 * Returns a text as one line of at most `maxLength` characters. A service chooses much of what errors contain, and errors are
 * written to terminals and logs: control and format characters would steer the one and add lines to the other.
 */
export function oneLine(text: string, maxLength: number): string {
  const line = text
    .slice(0, maxLength + 1)
    .replace(/[\t\n\r]+/g, ' ')
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, '\ufffd')
  return text.length > maxLength ? `${line.slice(0, maxLength - 1)}…` : line
}

const MAX_NAME_LENGTH = 200
const MAX_STRING_LENGTH = 8_192
const MAX_MEMBERS = 200
const MAX_DEPTH = 8
const MAX_DETAILS_LENGTH = 32_768

/** Returns details whose strings are one line each, and which are bounded as a whole: what is beyond is left out. */
export function boundedDetails(details: Record<string, unknown>): Record<string, unknown> {
  let left = MAX_DETAILS_LENGTH
  function line(text: string, maxLength: number): string {
    const short = oneLine(text, Math.max(1, Math.min(maxLength, left)))
    left -= short.length + 1
    return short
  }
  function bounded(value: unknown, depth: number): unknown {
    if (typeof value === 'string') return line(value, MAX_STRING_LENGTH)
    left -= 1
    if (typeof value !== 'object' || value === null) return value
    if (depth > MAX_DEPTH) return '…'
    const kept: [string, unknown][] = []
    for (const [name, member] of Object.entries(value).slice(0, MAX_MEMBERS)) {
      if (left <= 0) break
      kept.push([line(name, MAX_NAME_LENGTH), bounded(member, depth + 1)])
    }
    return Array.isArray(value) ? kept.map(([, member]) => member) : Object.fromEntries(kept)
  }
  return bounded(details, 0) as Record<string, unknown>
}
