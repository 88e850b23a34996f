import type { z } from 'zod'
import { ok, type Result, refuse } from '../result.ts'
import { issuesOf } from '../wire/issues.ts'
import { parseJson } from '../wire/json.ts'
import { type AppContext, type BodyReason, headerOf, stateOf } from './context.ts'

/** Of a message, JSON in JSON may escape every byte, so that a body is more than twice as long. */
export const MAX_BODY_BYTES = 65_536

/** Reads a JSON body of the given shape. Unknown and duplicate members are refused. */
export async function readBody<Schema extends z.ZodType>(
  c: AppContext,
  schema: Schema,
): Promise<Result<z.output<Schema>, BodyReason>> {
  const text = await readBodyText(c)
  return text.ok ? parseBody(text.value, schema) : text
}

/** Reads a body whose text was needed as it came. */
export function parseBody<Schema extends z.ZodType>(
  text: string,
  schema: Schema,
): Result<z.output<Schema>, 'invalidRequest' | 'bodyMissing'> {
  if (text === '') return refuse('bodyMissing', { problem: 'body is missing' })
  const json = parseJson(text)
  if (!json.ok)
    return refuse('invalidRequest', {
      problem: 'body is not I-JSON (RFC 7493)',
      reason: json.reason,
    })
  return conform(schema, json.value, 'body')
}

/** Reads the query string. A parameter given twice or not known is refused. */
export function readQuery<Schema extends z.ZodType>(
  c: AppContext,
  schema: Schema,
): Result<z.output<Schema>, 'invalidRequest'> {
  const given = c.req.queries()
  const twice = Object.keys(given).find((name) => (given[name]?.length ?? 0) > 1)
  if (twice !== undefined)
    return refuse('invalidRequest', {
      problem: 'query has a parameter twice',
      issues: [{ path: twice }],
    })
  return conform(schema, c.req.query(), 'query')
}

function conform<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  where: string,
): Result<z.output<Schema>, 'invalidRequest'> {
  const parsed = schema.safeParse(value)
  if (parsed.success) return ok(parsed.data)
  return refuse('invalidRequest', {
    problem: `${where} does not fit the request`,
    issues: issuesOf(parsed.error),
  })
}

/** What a JSON text may be sent as: fetch and curl send the last two for a text whose type they were not told. */
const MEDIA_TYPE =
  /^(application\/([\w.-]+\+)?json|text\/json|text\/plain|application\/x-www-form-urlencoded)$/
const CHARSET = /^charset="?(utf-?8|us-ascii)"?$/

/** Refuses what the service would have to decode: a body that it takes for broken JSON would mislead its sender. */
function checkMedia(c: AppContext): Result<undefined, 'unsupportedMedia'> {
  const coding = headerOf(c, 'content-encoding')?.trim().toLowerCase() ?? ''
  if (coding !== '' && coding !== 'identity')
    return refuse('unsupportedMedia', {
      problem: 'Content-Encoding is not understood',
      accept: 'Accept-Encoding',
      supported: ['identity'],
    })
  const given = headerOf(c, 'content-type')?.toLowerCase().split(';') ?? []
  const [type = '', ...parameters] = given.map((part) => part.trim())
  const charset = parameters.find((parameter) => parameter.startsWith('charset='))
  if (type === '' || (MEDIA_TYPE.test(type) && (charset === undefined || CHARSET.test(charset))))
    return ok(undefined)
  return refuse('unsupportedMedia', {
    problem: 'Content-Type is not understood',
    accept: 'Accept',
    supported: ['application/json'],
  })
}

/** The text of a body: UTF-8 without a byte-order mark, so that its bytes can be had from it again. */
export async function readBodyText(c: AppContext): Promise<Result<string, BodyReason>> {
  return stateOf(c).bodyText ?? readText(c)
}

/** As `readBodyText`, before the body is read for what it says: a stream can be read once. */
export async function keepBodyText(c: AppContext): Promise<Result<string, BodyReason>> {
  const text = await readText(c)
  stateOf(c).bodyText = text
  return text
}

async function readText(c: AppContext): Promise<Result<string, BodyReason>> {
  const length = headerOf(c, 'content-length')
  const isEmpty = length === undefined ? c.req.raw.body === null : length === '0'
  if (isEmpty) return ok('')
  const media = checkMedia(c)
  if (!media.ok) return media
  if (Number(length ?? 0) > MAX_BODY_BYTES) return TOO_LARGE
  const bytes = length === undefined ? await readStream(c.req.raw.body) : await readWhole(c.req.raw)
  return bytes.ok ? decode(bytes.value) : bytes
}

const TOO_LARGE = refuse('bodyTooLarge' as const, { maxBytes: MAX_BODY_BYTES })
const CUT_SHORT = refuse('invalidRequest' as const, {
  problem: 'body ended early, or its chunks are malformed',
})

/**
 * Reads a body whose length is known: an HTTP server reads no more than Content-Length says. A stream would cost Node a fifth of
 * what a signature does.
 */
async function readWhole(
  request: Request,
): Promise<Result<Uint8Array, 'invalidRequest' | 'bodyTooLarge'>> {
  try {
    const bytes = new Uint8Array(await request.arrayBuffer())
    return bytes.byteLength > MAX_BODY_BYTES ? TOO_LARGE : ok(bytes)
  } catch {
    return CUT_SHORT
  }
}

/**
 * Stops reading at the limit, whatever Content-Length says. A body that the client cuts short, or frames badly, makes the
 * stream throw; on Workers that client still reads the response.
 */
async function readStream(
  stream: ReadableStream<Uint8Array> | null,
): Promise<Result<Uint8Array, 'invalidRequest' | 'bodyTooLarge'>> {
  if (stream === null) return ok(new Uint8Array())
  const reader = stream.getReader()
  const chunks: Uint8Array[] = []
  let size = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return ok(joined(chunks, size))
      size += value.byteLength
      if (size > MAX_BODY_BYTES) return TOO_LARGE
      chunks.push(value)
    }
  } catch {
    return CUT_SHORT
  } finally {
    reader.cancel().catch(() => {})
  }
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const bytes = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.byteLength
  }
  return bytes
}

const WIDE = 'body is UTF-16 or UTF-32, and must be UTF-8'
/** How bodies begin that are JSON in another encoding, as the shells and editors of Windows write it. */
const BEGINNINGS: readonly [bytes: number[], problem: string][] = [
  [[0xef, 0xbb, 0xbf], 'body begins with a byte-order mark, which JSON must not (RFC 8259 s8.1)'],
  [[0xff, 0xfe], WIDE],
  [[0xfe, 0xff], WIDE],
  [[0x7b, 0], WIDE],
  [[0, 0x7b], WIDE],
  [[0, 0, 0], WIDE],
  [[0x1f, 0x8b], 'body is compressed, and must not be'],
]

function decode(bytes: Uint8Array): Result<string, 'invalidRequest'> {
  const known = BEGINNINGS.find(([beginning]) => beginning.every((byte, at) => bytes[at] === byte))
  if (known !== undefined) return refuse('invalidRequest', { problem: known[1] })
  try {
    return ok(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    return refuse('invalidRequest', { problem: 'body is not UTF-8' })
  }
}
