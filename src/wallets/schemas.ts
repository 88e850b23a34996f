import * as z from 'zod'
import { actionSchema } from '../actions/schemas.ts'
import { ORDER_STATUSES } from '../orders/order.ts'
import { OrderChangeSchema } from '../orders/schemas.ts'
import type { AccountState } from './account.ts'

export const GetAccount = actionSchema('get_account', {})

const time = z.iso.datetime()
const amount = z.string().meta({ description: "Integer in the token's smallest unit." })
const ofChain = {
  asOf: time.meta({ description: 'When the chain was asked.' }),
  ageMs: z.int(),
}

const BalanceSchema = z
  .object({
    token: z.string().meta({ description: 'Contract id, or .stx.' }),
    symbol: z.string().optional(),
    decimals: z.int().optional(),
    state: z.enum(['known', 'unknown', 'noToken']).meta({
      description:
        'unknown: the chain did not tell the balance within the last minute. noToken: the contract tells no balances.',
    }),
    amount: amount.optional().meta({ description: 'Of a known balance only.' }),
    asOf: ofChain.asOf.optional(),
    ageMs: ofChain.ageMs.optional(),
  })
  .meta({ id: 'WalletBalance' })

const OpenOrderSchema = z
  .object({
    uuid: z.string().optional().meta({ description: 'Absent for a key that may not act on it.' }),
    status: z.enum(ORDER_STATUSES),
    inputToken: z.string(),
    outputToken: z.string(),
    amountIn: z.string(),
    createdAt: time,
    validTo: time.optional(),
  })
  .meta({ id: 'OpenOrder' })

const DailyAmountSchema = z
  .object({
    reserved: amount,
    spent: amount,
    perDay: amount.optional(),
  })
  .meta({ id: 'DailyAmount' })

export const AccountSchema = z
  .object({
    status: z.literal('success'),
    walletAddress: z.string(),
    network: z.string(),
    chain: z
      .object({ isCurrent: z.boolean(), maxAgeMs: z.int() })
      .meta({ description: 'Whether all values of the chain are known and within maxAgeMs.' }),
    nonces: z
      .object({ confirmed: z.int(), next: z.int(), ...ofChain })
      .optional()
      .meta({ description: "Of the wallet's own transactions; absent while unknown." }),
    balances: z.array(BalanceSchema),
    openOrders: z.object({
      count: z.int(),
      hasMore: z.boolean().meta({ description: 'Whether there are more than are counted.' }),
      amountIn: z.record(z.string(), amount),
      newest: z.array(OpenOrderSchema),
    }),
    keys: z.array(
      z.object({ keyId: z.string(), amounts: z.record(z.string(), DailyAmountSchema) }),
    ),
  })
  .meta({ id: 'AccountState' })

/** The id of an event, as the service wrote it; also one of a release before. */
const eventId = z
  .string()
  .max(64)
  .regex(/^[0-9a-f-]*$/, 'must be the id of an event')
  .optional()

export const StreamQuery = z.strictObject({ after: eventId })
export const StreamHeaders = z.object({ 'Last-Event-ID': eventId })

export const WalletEventSchema = z
  .discriminatedUnion('type', [
    z.object({
      type: z.literal('start').meta({
        description: 'What is read after it has all that came before it.',
      }),
      missed: z.enum(['tooOld', 'unknown']).optional().meta({
        description: 'The stream could not go on after the id that was named.',
      }),
    }),
    OrderChangeSchema.extend({ type: z.literal('order') }),
    z.object({
      type: z.literal('key'),
      event: z.string().meta({ description: 'As of the audit, for example create_api_key.' }),
      sequence: z.int().meta({ description: "In the wallet's audit: from 1, without gaps." }),
      keyId: z.string().optional(),
      actor: z.enum(['owner', 'key', 'operator', 'service']),
      at: time,
    }),
  ])
  .meta({ id: 'WalletEvent' })

type Same<A, B> = [A, B] extends [B, A] ? true : never
true satisfies Same<keyof z.output<typeof AccountSchema>, keyof AccountState>
