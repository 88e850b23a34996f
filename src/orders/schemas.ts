import * as z from 'zod'
import { actionSchema } from '../actions/schemas.ts'
import { integerParameter } from '../wire/query.ts'
import { describeForeignMembers, describeForeignParameters } from './foreign-members.ts'
import { isCommonEra, ORDER_RULES, PRICE, SALT } from './form.ts'
import { type NewOrder, ORDER_STATUSES, type Order, type OrderChange } from './order.ts'

const MAX_U128 = 2n ** 128n - 1n

export const Uuid = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,36}$/, 'must be 1-36 characters of A-Z a-z 0-9 _ -')

export const AmountIn = z
  .string()
  .regex(/^[1-9][0-9]{0,38}$/, 'must be a whole number above 0, as text, in the smallest unit')
  .refine(
    (text) => !/^[1-9][0-9]{0,38}$/.test(text) || BigInt(text) <= MAX_U128,
    'must be at most 2^128 - 1',
  )

const Price = z.string().regex(PRICE, 'must be a decimal with at most 18 places, not negative')

/** Addresses and contract ids: their network and checksum are checked with the order's terms. */
const Principal = z
  .string()
  .max(96)
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII')
/** What a datetime-local field of a page has is without zone. */
const TIME_FORM =
  'must be ISO 8601 with a zone, as 2026-01-15T10:00:00Z: of a local time, new Date(text).toISOString()'
const Time = z.iso
  .datetime({ offset: true, error: TIME_FORM })
  .refine(isCommonEra, 'must be in the years 1 to 9999, in UTC')
const Signature = z.string().regex(/^(0x)?[0-9a-fA-F]{130}$/, 'must be 65 bytes in hexadecimal')

const TERMS = {
  owner: 'ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG',
  inputToken: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.key-token-subnet',
  outputToken: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.usd-token',
  amountIn: '1000000',
  uuid: '6f1c2b1e-5d0a-4a39-9d0e-2f6c6d8f7a10',
}

export const NewOrderSchema = ORDER_RULES.reduce(
  (schema, { path, message, holds }) => schema.refine(holds, { path: [path], error: message }),
  z.strictObject(
    {
      owner: Principal,
      inputToken: Principal,
      outputToken: Principal,
      amountIn: AmountIn,
      recipient: Principal.optional(),
      signature: Signature,
      uuid: Uuid,
      targetPrice: Price.optional(),
      direction: z.enum(['gt', 'lt']).optional(),
      conditionToken: Principal.optional(),
      baseAsset: Principal.optional(),
      validFrom: Time.optional(),
      validTo: Time.optional(),
      routerContract: Principal.optional(),
      minAmountOut: AmountIn.optional(),
      salt: z.string().regex(SALT, 'must be 16 bytes in lower-case hexadecimal').optional(),
      deadline: Time.refine(
        (time) => Date.parse(time) % 1000 === 0,
        'must be in whole seconds',
      ).optional(),
      executor: Principal.optional(),
      message: z
        .string()
        .optional()
        .meta({
          description: "The owner's create_order message; needed when recipient is not the owner.",
          contentMediaType: 'application/json',
          contentSchema: { $ref: '#/components/schemas/create_order_message' },
        }),
      messageSignature: z.string().optional(),
    },
    { error: describeForeignMembers },
  ),
).meta({ id: 'NewOrder', examples: [{ ...TERMS, signature: '00'.repeat(65) }] })

export const CreateOrder = actionSchema(
  'create_order',
  {
    orderHash: z.string().regex(/^[0-9a-f]{64}$/, 'must be SHA-256 in lower-case hexadecimal'),
  },
  { orderHash: '0'.repeat(64) },
)
export const ListOrders = actionSchema('list_orders', {})
export const ExecuteOrder = actionSchema('execute_order', { uuid: Uuid }, { uuid: TERMS.uuid })
export const CancelOrder = actionSchema(
  'cancel_order',
  {
    uuid: Uuid,
    onChain: z
      .boolean()
      .optional()
      .meta({ description: 'Whether the uuid is to be used up on chain as well.' }),
  },
  { uuid: TERMS.uuid },
)
/** What a key may send with a cancel, as clients should read of it. */
export const CancelByKey = z
  .strictObject({
    onChain: z
      .boolean()
      .optional()
      .meta({ description: 'Whether the uuid is used up on chain, too.' }),
  })
  .meta({ id: 'CancelByKey', examples: [{ onChain: true }] })
/** What is read of it. Another body is ignored, as that of every request with a key. */
export const CancelBody = z.looseObject({ onChain: z.unknown().optional() })

const time = z.iso.datetime()

export const OrderSchema = z
  .object({
    owner: z.string(),
    inputToken: z.string(),
    outputToken: z.string(),
    amountIn: z.string(),
    recipient: z.string(),
    uuid: z.string().optional().meta({
      description:
        'Absent in lists, for all but the owner, while the uuid could still be burnt on chain.',
    }),
    targetPrice: z.string().optional(),
    direction: z.enum(['gt', 'lt']).optional(),
    conditionToken: z.string().optional(),
    baseAsset: z.string().optional(),
    validFrom: time.optional(),
    validTo: time.optional(),
    routerContract: z.string().optional(),
    minAmountOut: z.string().optional(),
    deadline: time.optional(),
    executor: z.string().optional(),
    intentExposed: z.boolean().optional(),
    burn: z.enum(['requested', 'mined']).optional(),
    status: z.enum(ORDER_STATUSES),
    createdAt: time,
    cancelledAt: time.optional(),
    executedAt: time.optional(),
    failedAt: time.optional(),
    failureReason: z.string().optional(),
    txid: z.string().optional(),
    blockHeight: z.int().optional(),
    confirmedAt: time.optional(),
    amountOut: z.string().optional(),
  })
  .meta({
    id: 'Order',
    examples: [
      {
        ...TERMS,
        recipient: TERMS.owner,
        status: 'open',
        createdAt: '2026-11-21T10:00:00.000Z',
      },
    ],
  })

/** The data of one event; its id is the `id` of the stream. */
export const OrderChangeSchema = z
  .object({
    uuid: z.string(),
    status: z.enum(ORDER_STATUSES),
    at: time,
    txid: z.string().optional(),
    blockHeight: z.int().optional(),
    amountOut: z.string().optional(),
    failureReason: z.string().optional(),
  })
  .meta({
    id: 'OrderChange',
    examples: [{ uuid: TERMS.uuid, status: 'executing', at: '2026-11-21T10:00:00.000Z' }],
  })

export const OrderResponse = z
  .object({ status: z.literal('success'), data: OrderSchema })
  .meta({ id: 'OrderResponse' })
export const ExecutedResponse = z.object({
  status: z.literal('success'),
  txid: z.string(),
  data: OrderSchema,
})
export const PendingResponse = z.object({
  status: z.literal('pending'),
  txid: z.string(),
  data: OrderSchema,
})
export const OrderListResponse = z.object({
  status: z.literal('success'),
  data: z.array(OrderSchema),
  nextCursor: z.string().optional(),
  archivedBefore: z.iso.datetime().optional().meta({
    description:
      'With the last orders of an owner: those that ended before this moment may have left the database with an archive.',
  }),
})

export const OrderParams = z.object({ uuid: Uuid })
export const EventHeaders = z.object({
  'Last-Event-ID': z
    .string()
    .regex(/^[0-9]{1,15}$/, 'must be the id of an event')
    .optional(),
})
export const OrderQuery = z.strictObject(
  {
    owner: Principal.optional(),
    status: z.enum(ORDER_STATUSES).optional(),
    limit: integerParameter({ minimum: 1, maximum: 100, byDefault: 50 }),
    cursor: z
      .string()
      .regex(/^[0-9]{1,15}$/, 'must be a nextCursor')
      .optional(),
  },
  { error: describeForeignParameters },
)

/** The wire and the nouns say the same, or this does not compile. */
type Same<A, B> = [A, B] extends [B, A] ? true : never
true satisfies Same<keyof z.output<typeof OrderSchema>, keyof Order>
true satisfies Same<keyof z.output<typeof OrderChangeSchema>, keyof OrderChange>
true satisfies Same<keyof z.output<typeof NewOrderSchema>, keyof NewOrder>
