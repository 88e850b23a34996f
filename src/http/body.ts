import type { z } from 'zod'
import { ok, type Result, refuse } from '../result.ts'
import { issuesOf } from '../wire/issues.ts'
import { parseJson } from '../wire/json.ts'
import type { AppContext } from './context.ts'

export const MAX_BODY_BYTES = 16_384

type BodyReason = 'invalidRequest' | 'bodyMissing' | 'bodyTooLarge'

/** Reads a JSON body of the given shape. Unknown and duplicate members are refused. */
export async function readBody<Schema extends z.ZodType>(
  c: AppContext,
  schema: Schema,
): Promise<Result<z.output<Schema>, BodyReason>> {
  const text = await readText(c)
  if (!text.ok) return text
  if (text.value === '') return refuse('bodyMissing', { problem: 'body is missing' })
  const json = parseJson(text.value)
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

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

async function readText(c: AppContext): Promise<Result<string, BodyReason>> {
  const bytes = await readBytes(c)
  if (bytes === undefined) return refuse('bodyTooLarge', { maxBytes: MAX_BODY_BYTES })
  try {
    return ok(utf8.decode(bytes))
  } catch {
    return refuse('invalidRequest', { problem: 'body is not UTF-8' })
  }
}

/**
 * Resolves to undefined for a body beyond the limit. An HTTP server reads no more than Content-Length says, so such a body is
 * read at once: a stream costs Node a fifth of what a signature does. A body without it may never end.
 */
async function readBytes(c: AppContext): Promise<Uint8Array | undefined> {
  const length = c.req.header('content-length')
  if (length === undefined) return readStream(c.req.raw.body)
  if (Number(length) > MAX_BODY_BYTES) return undefined
  const bytes = new Uint8Array(await c.req.raw.arrayBuffer())
  return bytes.byteLength > MAX_BODY_BYTES ? undefined : bytes
}

/** Stops reading at the limit. */
async function readStream(
  stream: ReadableStream<Uint8Array> | null,
): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of (stream ?? []) as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > MAX_BODY_BYTES) return undefined
    chunks.push(chunk)
  }
  const bytes = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.byteLength
  }
  return bytes
}
