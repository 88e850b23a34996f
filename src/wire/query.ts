import * as z from 'zod'

/**
 * A whole number in a query string. Its text is strict: `+5`, `5.0` and `05` are refused. `wire` is its JSON schema for documents: a
 * client sends a number, and what is parsed here is the text of it.
 */
export function integerParameter({
  minimum,
  maximum,
  byDefault,
}: {
  minimum: number
  maximum: number
  byDefault: number
}) {
  const message = `must be a whole number from ${minimum} to ${maximum}`
  return z
    .string()
    .regex(/^(0|[1-9][0-9]{0,14})$/, message)
    .transform(Number)
    .pipe(z.int().min(minimum, message).max(maximum, message))
    .default(byDefault)
    .meta({ wire: { type: 'integer', minimum, maximum, default: byDefault } })
}

/** `true` or `false` in a query string; undefined where it is absent. */
export const booleanParameter = z
  .enum(['true', 'false'], 'must be true or false')
  .transform((value) => value === 'true')
  .optional()
  .meta({ wire: { type: 'boolean' } })
