import { sql } from 'drizzle-orm'
import {
  bigint,
  bigserial,
  check,
  customType,
  index,
  integer,
  numeric,
  pgTable,
  text,
  timestamp,
  unique,
} from 'drizzle-orm/pg-core'
import type { Scope } from '../keys/scope.ts'
import type { OrderStatus } from '../orders/order.ts'

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({
  dataType: () => 'bytea',
  fromDriver: (bytes) => new Uint8Array(bytes),
})
const cidr = customType<{ data: string }>({ dataType: () => 'cidr' })
const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: 'date' })
const count = (name: string) => bigint(name, { mode: 'number' }).notNull().default(0)

/** Every message that a wallet signed and that changed something: replay guard, audit log and proof, kept for ever. */
export const signedActions = pgTable(
  'signed_actions',
  {
    id: bigserial({ mode: 'number' }).primaryKey(),
    walletAddress: text('wallet_address').notNull(),
    action: text().notNull(),
    message: text().notNull(),
    messageHash: bytea('message_hash').notNull(),
    signature: text().notNull(),
    publicKey: text('public_key').notNull(),
    acceptedAt: time('accepted_at').notNull(),
  },
  (table) => [unique('signed_actions_once').on(table.walletAddress, table.messageHash)],
)

/**
 * An API key, its limits and its counters. A window column holds the number of the UTC minute, hour or day that its
 * count belongs to. Failed requests are not stored: they are `total_requests` less `successful_requests`.
 */
export const apiKeys = pgTable(
  'api_keys',
  {
    id: text().primaryKey(),
    keyHash: bytea('key_hash').notNull().unique('api_keys_hash'),
    keyPreview: text('key_preview').notNull(),
    walletAddress: text('wallet_address').notNull(),
    name: text().notNull(),
    permissions: text().array().$type<Scope[]>().notNull(),
    rateLimitPerMinute: integer('rate_limit_per_minute'),
    ipAllowlist: cidr('ip_allowlist').array(),
    grantId: bigint('grant_id', { mode: 'number' })
      .notNull()
      .references(() => signedActions.id),
    createdAt: time('created_at').notNull(),
    expiresAt: time('expires_at'),
    suspendedAt: time('suspended_at'),
    revokedAt: time('revoked_at'),
    lastUsedAt: time('last_used_at'),
    minuteWindow: count('minute_window'),
    minuteCount: integer('minute_count').notNull().default(0),
    hourWindow: count('hour_window'),
    hourCount: integer('hour_count').notNull().default(0),
    dayWindow: count('day_window'),
    dayCount: integer('day_count').notNull().default(0),
    totalRequests: count('total_requests'),
    successfulRequests: count('successful_requests'),
    creationCount: count('creation_count'),
    executionCount: count('execution_count'),
    cancellationCount: count('cancellation_count'),
  },
  (table) => [
    index('api_keys_wallet').on(table.walletAddress, table.createdAt),
    check('api_keys_hash_length', sql`octet_length(${table.keyHash}) = 32`),
    check('api_keys_success', sql`${table.successfulRequests} <= ${table.totalRequests}`),
  ],
)

/** An order. `signature_box` is the owner's intent signature, encrypted: in the clear it is a bearer token on chain. */
export const orders = pgTable(
  'orders',
  {
    uuid: text().primaryKey(),
    /** The order of creation, for lists. */
    sequence: bigserial({ mode: 'number' }).notNull().unique('orders_sequence'),
    owner: text().notNull(),
    inputToken: text('input_token').notNull(),
    outputToken: text('output_token').notNull(),
    amountIn: numeric('amount_in', { precision: 39, scale: 0 }).notNull(),
    recipient: text().notNull(),
    targetPrice: text('target_price'),
    direction: text().$type<'gt' | 'lt'>(),
    conditionToken: text('condition_token'),
    baseAsset: text('base_asset'),
    validFrom: time('valid_from'),
    validTo: time('valid_to'),
    signatureBox: bytea('signature_box').notNull(),
    status: text().$type<Exclude<OrderStatus, 'expired'>>().notNull().default('open'),
    createdBy: text('created_by').references(() => apiKeys.id),
    createdAt: time('created_at').notNull(),
    cancelledAt: time('cancelled_at'),
    executedAt: time('executed_at'),
    failedAt: time('failed_at'),
    failureReason: text('failure_reason'),
    txid: text(),
  },
  (table) => [
    index('orders_owner').on(table.owner, table.sequence),
    index('orders_status').on(table.status, table.sequence),
    check(
      'orders_status_known',
      sql`${table.status} IN ('open', 'executing', 'broadcasted', 'confirmed', 'failed', 'cancelled')`,
    ),
    check('orders_amount_positive', sql`${table.amountIn} > 0`),
  ],
)

/** A wallet that pays for settlement. `next_nonce` is the nonce of its next transaction. */
export const operators = pgTable('operators', {
  address: text().primaryKey(),
  nextNonce: bigint('next_nonce', { mode: 'number' }).notNull(),
})

/** A signed Stacks transaction, stored before it is sent. `raw_box` is its bytes, encrypted: they hold the order's signature. */
export const transactions = pgTable(
  'transactions',
  {
    txid: text().primaryKey(),
    orderUuid: text('order_uuid')
      .notNull()
      .references(() => orders.uuid),
    operator: text()
      .notNull()
      .references(() => operators.address),
    nonce: bigint({ mode: 'number' }).notNull(),
    feeInMicroStx: bigint('fee_in_micro_stx', { mode: 'number' }).notNull(),
    rawBox: bytea('raw_box').notNull(),
    /** The key that asked for it, whose success it is once a node has accepted it. */
    requestedBy: text('requested_by').references(() => apiKeys.id),
    status: text().$type<'signed' | 'accepted' | 'refused'>().notNull().default('signed'),
    reason: text(),
    createdAt: time('created_at').notNull(),
    answeredAt: time('answered_at'),
  },
  (table) => [
    index('transactions_order').on(table.orderUuid),
    index('transactions_unanswered').on(table.createdAt).where(sql`${table.status} = 'signed'`),
    check('transactions_status_known', sql`${table.status} IN ('signed', 'accepted', 'refused')`),
  ],
)
