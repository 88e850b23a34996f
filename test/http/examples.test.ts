import { expect, it } from 'vitest'
import type { z } from 'zod'
import { SignedBody } from '../../src/actions/schemas.ts'
import { CreatedKeySchema, KeySchema } from '../../src/keys/schemas.ts'
import { NewOrderSchema, OrderSchema } from '../../src/orders/schemas.ts'

const SCHEMAS: z.ZodType[] = [SignedBody, KeySchema, CreatedKeySchema, NewOrderSchema, OrderSchema]

it.each(
  SCHEMAS.map((schema) => [schema.meta()?.id, schema] as const),
)('the example of %s is one', (_, schema) => {
  const examples = schema.meta()?.examples as unknown[]
  expect(examples).not.toHaveLength(0)
  for (const example of examples) expect(schema.safeParse(example)).toMatchObject({ success: true })
})
