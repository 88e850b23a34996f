import fc from 'fast-check'

/** Any value at all, and more often than that: texts, some with lone surrogates. */
export const hostile = fc.oneof(
  fc.anything(),
  fc.string({ unit: 'binary' }),
  fc.array(fc.nat(0xffff), { maxLength: 70 }).map((units) => String.fromCharCode(...units)),
)
