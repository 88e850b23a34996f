import type { z } from 'zod'
import { ok, type Result, refuse } from '../result.ts'
import { issuesOf } from '../wire/issues.ts'
import { parseJson } from '../wire/json.ts'
import type { AppContext } from './context.ts'

/** Of a message, JSON in JSON may escape every byte, so that a body is more than twice as long. */
export const MAX_BODY_BYTES = 65_536

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

/** Stops reading at the limit, whatever Content-Length says. */
async function readText(c: AppContext): Promise<Result<string, BodyReason>> {
  const tooLarge = refuse('bodyTooLarge' as const, { maxBytes: MAX_BODY_BYTES })
  if (Number(c.req.header('content-length') ?? 0) > MAX_BODY_BYTES) return tooLarge
  const stream = c.req.raw.body
  if (stream === null) return ok('')
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of stream as unknown as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength
    if (size > MAX_BODY_BYTES) return tooLarge
    chunks.push(chunk)
  }
  const bytes = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.byteLength
  }
  try {
    return ok(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
  } catch {
    return refuse('invalidRequest', { problem: 'body is not UTF-8' })
  }
}
