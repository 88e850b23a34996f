import { sql } from 'drizzle-orm'
import {
  bigint,
  bigserial,
  boolean,
  check,
  customType,
  index,
  integer,
  jsonb,
  numeric,
  pgTable,
  primaryKey,
  text,
  timestamp,
  unique,
  uniqueIndex,
} from 'drizzle-orm/pg-core'
import type { Suspended } from '../keys/suspension.ts'
import type { Alerts, Heartbeat, MaxAmountIn, PublicKey } from '../keys/terms.ts'
import type { OrderStatus } from '../orders/order.ts'
import type { SightingKind } from '../usage/usage.ts'
import type { DeliveryState, DisabledReason } from '../webhooks/webhook.ts'
import { RECORDED_ACTIONS } from './recorded-actions.ts'

/** Whether a row of `signed_actions` is of an action that the audit records. Without parameters: an index has it. */
export const isRecordedSql = sql.raw(
  `"action" IN (${RECORDED_ACTIONS.map((action) => `'${action}'`).join(', ')})`,
)

const bytea = customType<{ data: Uint8Array; driverData: Uint8Array }>({
  dataType: () => 'bytea',
  fromDriver: (bytes) => new Uint8Array(bytes),
})
const cidr = customType<{ data: string }>({ dataType: () => 'cidr' })
const time = (name: string) => timestamp(name, { withTimezone: true, precision: 3, mode: 'date' })
const count = (name: string) => bigint(name, { mode: 'number' }).notNull().default(0)
/** The wallet's shard: see src/db/shard.ts. In every table that grows; a trigger fills it for a release that has none. */
const shard = () => integer('shard').notNull()
/** Rows of a wallet: none can have the shard of another one. */
const ofWallet = (table: string, wallet: string) =>
  check(`${table}_shard`, sql.raw(`shard = wallet_shard(${wallet})`))

/**
 * The encryption keys that rows were written with, by their fingerprints: see src/encryption/check.ts. A process that lacks one
 * of them does not start.
 */
export const encryptionKeys = pgTable('encryption_keys', {
  fingerprint: bytea().primaryKey(),
  recordedAt: time('recorded_at').notNull().default(sql`clock_timestamp()`),
})

/** Every wallet that ever changed something. Its row is the wallet's lock: see src/db/wallet-lock.ts. */
export const wallets = pgTable('wallets', { address: text().primaryKey(), shard: shard() }, () => [
  ofWallet('wallets', 'address'),
])

/** Every signed message that changed something: replay guard and proof. It leaves only with an archive: see src/archive/. */
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
    shard: shard(),
  },
  (table) => [
    ofWallet('signed_actions', 'wallet_address'),
    unique('signed_actions_once').on(table.walletAddress, table.messageHash),
    // Those that the audit records. It is partial, so that messages about orders cost nothing more.
    index('signed_actions_recorded').on(table.walletAddress, table.id).where(isRecordedSql),
  ],
)

/**
 * An API key: its terms (`KEY_TERMS` in src/keys/terms.ts) and its state. A row changes only by an act of its owner or of the
 * operator, so its version stands for its content: see src/gate/known-keys.ts. `rights_mac` covers every column that gives
 * or takes a right: see src/keys/rights.ts. While a rotation's grace lasts, the key has two secrets and is still one key.
 */
export const apiKeys = pgTable(
  'api_keys',
  {
    id: text().primaryKey(),
    keyHash: bytea('key_hash').notNull().unique('api_keys_hash'),
    keyPreview: text('key_preview').notNull(),
    walletAddress: text('wallet_address').notNull(),
    name: text().notNull(),
    permissions: text().array().notNull(),
    rateLimit: integer('rate_limit_per_minute'),
    ipAllowlist: cidr('ip_allowlist').array(),
    tokens: text().array(),
    recipients: text().array(),
    maxAmountIn: jsonb('max_amount_in').$type<MaxAmountIn>(),
    ownOrdersOnly: boolean('own_orders_only').notNull().default(false),
    maxOpenOrders: integer('max_open_orders'),
    publicKey: jsonb('public_key').$type<PublicKey>(),
    requireSignature: boolean('require_signature').notNull().default(false),
    maxSignatureAgeSeconds: integer('max_signature_age_seconds'),
    heartbeat: jsonb().$type<Heartbeat>(),
    alerts: jsonb().$type<Alerts>(),
    label: text(),
    justification: text(),
    previousKeyHash: bytea('previous_key_hash').unique('api_keys_previous_hash'),
    previousUntil: time('previous_until'),
    // What verifies HMAC signatures with either secret, encrypted under labels of the two hashes. Null: the secret cannot sign.
    macKeyBox: bytea('mac_key_box'),
    previousMacKeyBox: bytea('previous_mac_key_box'),
    rightsMac: bytea('rights_mac'),
    grantId: bigint('grant_id', { mode: 'number' })
      .notNull()
      .references(() => signedActions.id),
    createdAt: time('created_at').notNull(),
    expiresAt: time('expires_at'),
    suspendedAt: time('suspended_at'),
    suspendedBy: text('suspended_by').$type<Suspended>(),
    revokedAt: time('revoked_at'),
    // Counters of a release before `key_counters`. No release reads them any more, and a trigger refuses to change them.
    oldLastUsedAt: time('last_used_at'),
    oldMinuteWindow: count('minute_window'),
    oldMinuteCount: integer('minute_count').notNull().default(0),
    oldHourWindow: count('hour_window'),
    oldHourCount: integer('hour_count').notNull().default(0),
    oldDayWindow: count('day_window'),
    oldDayCount: integer('day_count').notNull().default(0),
    oldTotalRequests: count('total_requests'),
    oldSuccessfulRequests: count('successful_requests'),
    oldCreationCount: count('creation_count'),
    oldExecutionCount: count('execution_count'),
    oldCancellationCount: count('cancellation_count'),
    shard: shard(),
  },
  (table) => [
    ofWallet('api_keys', 'wallet_address'),
    index('api_keys_wallet').on(table.walletAddress, table.createdAt),
    // A wallet's live keys are read without its ended ones, of which there may be many. Not partial: where nearly all keys are
    // revoked, the plan of the gate's statement would read a short partial index whole in place of looking up the hash.
    index('api_keys_unended').on(table.walletAddress, table.revokedAt, table.expiresAt),
    index('api_keys_preview').on(table.keyPreview),
    index('api_keys_created').on(table.createdAt, table.grantId),
    // Whether a key names a signed message: asked for each one that an archive removes.
    index('api_keys_grant').on(table.grantId),
    check('api_keys_hash_length', sql`octet_length(${table.keyHash}) = 32`),
    check('api_keys_success', sql`${table.oldSuccessfulRequests} <= ${table.oldTotalRequests}`),
  ],
)

/**
 * The counters of a key, apart from its rights: the row that the gate locks and rewrites with each request, and so a small
 * one. A trigger on `api_keys` inserts it together with its key. A window column holds the number of the UTC minute, hour or
 * day that its count belongs to. Failed requests are not stored: they are `total_requests` less `successful_requests`.
 */
export const keyCounters = pgTable(
  'key_counters',
  {
    keyId: text('key_id')
      .primaryKey()
      .references(() => apiKeys.id, { onDelete: 'cascade', onUpdate: 'cascade' }),
    minuteWindow: integer('minute_window').notNull().default(0),
    minuteCount: integer('minute_count').notNull().default(0),
    hourWindow: integer('hour_window').notNull().default(0),
    hourCount: integer('hour_count').notNull().default(0),
    dayWindow: integer('day_window').notNull().default(0),
    dayCount: integer('day_count').notNull().default(0),
    totalRequests: count('total_requests'),
    lastUsedAt: time('last_used_at'),
    successfulRequests: count('successful_requests'),
    creationCount: count('creation_count'),
    executionCount: count('execution_count'),
    cancellationCount: count('cancellation_count'),
    shard: shard(),
  },
  (table) => [
    check('key_counters_success', sql`${table.successfulRequests} <= ${table.totalRequests}`),
  ],
)

/**
 * Nonces of signed requests, by 128 bits of their SHA-256, for as long as their signatures may be fresh: see src/signed-requests/nonces.ts.
 * Rows refer to no key: one more look-up would be all that a foreign key adds.
 */
export const requestNonces = pgTable(
  'request_nonces',
  {
    keyId: text('key_id').notNull(),
    nonce: bytea().notNull(),
    freshUntil: time('fresh_until').notNull(),
    shard: shard(),
  },
  (table) => [
    primaryKey({ name: 'request_nonces_pk', columns: [table.keyId, table.nonce] }),
    index('request_nonces_over').on(table.freshUntil),
  ],
)

/** Wallets that the operator has suspended. Their keys are suspended one by one. */
export const suspendedWallets = pgTable('suspended_wallets', {
  walletAddress: text('wallet_address').primaryKey(),
  reason: text().notNull(),
  suspendedAt: time('suspended_at').notNull(),
})

/** The amount that a key has reserved of an input token in a UTC day. */
export const keySpending = pgTable(
  'key_spending',
  {
    keyId: text('key_id')
      .notNull()
      .references(() => apiKeys.id),
    token: text().notNull(),
    /** Days since 1970. */
    day: integer().notNull(),
    amount: numeric({ precision: 60, scale: 0 }).notNull(),
    /** Of it, what was reserved in an hour, and the number of the hour since 1970: the latest one. What is released stays in it. */
    hour: integer(),
    hourAmount: numeric('hour_amount', { precision: 60, scale: 0 }),
    shard: shard(),
  },
  (table) => [
    primaryKey({ name: 'key_spending_pk', columns: [table.keyId, table.token, table.day] }),
    index('key_spending_day').on(table.day),
    check('key_spending_amount', sql`${table.amount} >= 0`),
  ],
)

/** The amount that an order has reserved of a key's day, once per key, until the order ends unsettled. */
export const keyReservations = pgTable(
  'key_reservations',
  {
    keyId: text('key_id')
      .notNull()
      .references(() => apiKeys.id),
    orderUuid: text('order_uuid').notNull(),
    token: text().notNull(),
    day: integer().notNull(),
    amount: numeric({ precision: 39, scale: 0 }).notNull(),
    /** Requests that rely on it: the one that created the order, and each that executes it. */
    holders: integer().notNull().default(1),
    shard: shard(),
  },
  (table) => [
    primaryKey({ name: 'key_reservations_pk', columns: [table.orderUuid, table.keyId] }),
    index('key_reservations_key').on(table.keyId, table.day),
  ],
)

/** How often a key was used in an hour, by outcome: `OK`, or the code of the refusal. Statistics, not the exact counters. */
export const keyUsage = pgTable(
  'key_usage',
  {
    keyId: text('key_id').notNull(),
    hour: time('hour').notNull(),
    outcome: text().notNull(),
    requests: count('requests'),
    executions: count('executions'),
    executionMs: count('execution_ms'),
    shard: shard(),
  },
  (table) => [
    primaryKey({ name: 'key_usage_pk', columns: [table.keyId, table.hour, table.outcome] }),
    index('key_usage_hour').on(table.hour),
  ],
)

/** The addresses and user agents that a key was used from, and which of its two secrets after a rotation. */
export const keySightings = pgTable(
  'key_sightings',
  {
    keyId: text('key_id').notNull(),
    kind: text().$type<SightingKind>().notNull(),
    value: text().notNull(),
    requests: count('requests'),
    firstSeenAt: time('first_seen_at').notNull(),
    lastSeenAt: time('last_seen_at').notNull(),
    shard: shard(),
  },
  (table) => [
    primaryKey({ name: 'key_sightings_pk', columns: [table.keyId, table.kind, table.value] }),
  ],
)

/**
 * When a process looks at a key next whose owner set a rule that time decides: `heartbeat`, or `expiring` of the alerts. It repeats
 * nothing that the owner signed: the key's row has that, under its MAC. A row that is due and has no use is deleted then.
 */
export const keyWatches = pgTable(
  'key_watches',
  {
    keyId: text('key_id')
      .notNull()
      .references(() => apiKeys.id, { onDelete: 'cascade', onUpdate: 'cascade' }),
    rule: text().$type<'heartbeat' | 'expiring'>().notNull(),
    walletAddress: text('wallet_address').notNull(),
    /** A silence does not begin before: the owner set the term then, or the key was resumed. */
    armedAt: time('armed_at').notNull(),
    dueAt: time('due_at').notNull(),
    /** The beginning of the last silence that was acted on. */
    silentSince: time('silent_since'),
    shard: shard(),
  },
  (table) => [
    ofWallet('key_watches', 'wallet_address'),
    primaryKey({ name: 'key_watches_pk', columns: [table.keyId, table.rule] }),
    index('key_watches_due').on(table.dueAt),
  ],
)

/** Requests with a key that has such an alert, in a window of so many seconds since 1970. Deleted an hour later. */
export const keyRates = pgTable(
  'key_rates',
  {
    keyId: text('key_id').notNull(),
    seconds: integer().notNull(),
    /** The number of the window. */
    window: integer().notNull(),
    requests: count('requests'),
    refused: count('refused'),
    shard: shard(),
  },
  (table) => [
    primaryKey({ name: 'key_rates_pk', columns: [table.keyId, table.seconds, table.window] }),
    index('key_rates_began').on(sql`(${table.window}::bigint * ${table.seconds})`),
  ],
)

/**
 * What the rules of a key have found, once for each subject: an address, a network, a window, an end. A process acts on it once, and sets
 * `acted_at` in the same transaction.
 */
export const keyFindings = pgTable(
  'key_findings',
  {
    keyId: text('key_id').notNull(),
    rule: text().notNull(),
    subject: text().notNull(),
    walletAddress: text('wallet_address').notNull(),
    at: time('at').notNull(),
    details: jsonb().$type<Record<string, unknown>>().notNull(),
    actedAt: time('acted_at'),
    shard: shard(),
  },
  (table) => [
    ofWallet('key_findings', 'wallet_address'),
    primaryKey({ name: 'key_findings_pk', columns: [table.keyId, table.rule, table.subject] }),
    index('key_findings_open').on(table.at).where(sql`${table.actedAt} IS NULL`),
    index('key_findings_at').on(table.at),
  ],
)

/** A short-lived, read-only bearer token that a wallet signed for. `mac` covers every column that gives rights. */
export const sessions = pgTable(
  'sessions',
  {
    id: text().primaryKey(),
    secretHash: bytea('secret_hash').notNull().unique('sessions_hash'),
    walletAddress: text('wallet_address').notNull(),
    grantId: bigint('grant_id', { mode: 'number' })
      .notNull()
      .references(() => signedActions.id),
    createdAt: time('created_at').notNull(),
    expiresAt: time('expires_at').notNull(),
    endedAt: time('ended_at'),
    mac: bytea().notNull(),
    shard: shard(),
  },
  (table) => [
    ofWallet('sessions', 'wallet_address'),
    index('sessions_wallet').on(table.walletAddress, table.createdAt),
    index('sessions_grant').on(table.grantId),
    index('sessions_unended')
      .on(table.walletAddress, table.expiresAt)
      .where(sql`${table.endedAt} IS NULL`),
  ],
)

/**
 * The audit chain of each wallet: `hash` is SHA-256 of the previous hash and of SHA-256 of `body`. Append-only: a trigger
 * refuses UPDATE, DELETE and TRUNCATE, but for an archive of the tables' owner. The chain's newest event never leaves.
 */
export const auditEvents = pgTable(
  'audit_events',
  {
    walletAddress: text('wallet_address').notNull(),
    /** From 1, without gaps; in the table from behind what was archived. */
    sequence: bigint({ mode: 'number' }).notNull(),
    keyId: text('key_id'),
    /** The signed message that asked for it, when an owner did. */
    actionId: bigint('action_id', { mode: 'number' }).references(() => signedActions.id),
    /** Canonical JSON (RFC 8785): the very bytes that are hashed. */
    body: text().notNull(),
    hash: bytea().notNull(),
    shard: shard(),
  },
  (table) => [
    ofWallet('audit_events', 'wallet_address'),
    primaryKey({ name: 'audit_events_pk', columns: [table.walletAddress, table.sequence] }),
    index('audit_events_key').on(table.keyId),
    index('audit_events_action').on(table.actionId),
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
    /** The router that the intent names; null for an order of a release that had one router. */
    routerContract: text('router_contract'),
    /** The terms that a committed order's uuid is derived from, beside recipient and output token; null otherwise. */
    minAmountOut: numeric('min_amount_out', { precision: 39, scale: 0 }),
    commitSalt: bytea('commit_salt'),
    /** Unix seconds. */
    commitUntil: bigint('commit_until', { mode: 'number' }),
    committedBy: text('committed_by'),
    signatureBox: bytea('signature_box').notNull(),
    /** MACs of the terms and of the status: see src/orders/integrity.ts. Null for orders of a release without them. */
    termsMac: bytea('terms_mac'),
    stateMac: bytea('state_mac'),
    status: text().$type<OrderStatus>().notNull().default('open'),
    createdBy: text('created_by').references(() => apiKeys.id),
    createdAt: time('created_at').notNull(),
    cancelledAt: time('cancelled_at'),
    executedAt: time('executed_at'),
    failedAt: time('failed_at'),
    failureReason: text('failure_reason'),
    txid: text(),
    /** Of the block that its transaction is in. */
    blockHeight: bigint('block_height', { mode: 'number' }),
    confirmedAt: time('confirmed_at'),
    /** What the last vault of the route paid, once confirmed. */
    amountOut: numeric('amount_out', { precision: 39, scale: 0 }),
    /** When a node first received the intent signature: from then on it is public. */
    disclosedAt: time('disclosed_at'),
    /** When a burn of the uuid was requested, by its owner or because a disclosed order ended unsettled. */
    burnRequestedAt: time('burn_requested_at'),
    /** When the chain showed the uuid as used: the intent is worthless from then on. */
    uuidUsedAt: time('uuid_used_at'),
    shard: shard(),
  },
  (table) => [
    ofWallet('orders', 'owner'),
    index('orders_owner').on(table.owner, table.sequence),
    index('orders_owner_status').on(table.owner, table.status, table.sequence),
    index('orders_settling')
      .on(table.owner)
      .where(sql`${table.status} IN ('executing', 'broadcasted')`),
    index('orders_failed').on(table.owner, table.failedAt).where(sql`${table.status} = 'failed'`),
    index('orders_to_burn')
      .on(table.burnRequestedAt)
      .where(sql`${table.burnRequestedAt} IS NOT NULL AND ${table.uuidUsedAt} IS NULL`),
    index('orders_status').on(table.status, table.sequence),
    index('orders_open_until').on(table.validTo).where(sql`${table.status} = 'open'`),
    index('orders_unended_of_key')
      .on(table.createdBy)
      .where(
        sql`${table.createdBy} IS NOT NULL AND ${table.status} IN ('open', 'executing', 'broadcasted')`,
      ),
    check(
      'orders_status_known',
      sql`${table.status} IN ('open', 'executing', 'broadcasted', 'confirmed', 'failed', 'cancelled', 'expired')`,
    ),
    check('orders_amount_positive', sql`${table.amountIn} > 0`),
  ],
)

/**
 * Every status change of every order, kept as long as the order's row. The statement that changes the status inserts the row, so the ids of
 * one order are in the order in which its changes were committed.
 */
export const orderEvents = pgTable(
  'order_events',
  {
    id: bigserial({ mode: 'number' }).primaryKey(),
    orderUuid: text('order_uuid')
      .notNull()
      .references(() => orders.uuid),
    status: text().$type<OrderStatus>().notNull(),
    at: time('at').notNull(),
    details: jsonb().$type<Record<string, unknown>>(),
    shard: shard(),
  },
  (table) => [
    index('order_events_of').on(table.orderUuid, table.id),
    // A wallet's changes in the order of their ids: a shard has few wallets.
    index('order_events_shard').on(table.shard, table.id),
  ],
)

/** Where an archive is: its file is being written, or was verified and its rows are being removed, or they have been. */
export type ArchiveState = 'writing' | 'removing' | 'done'

/**
 * The archives that were begun, each a file outside the database: see src/archive/. One is open at a time. No message that could be
 * fresh only before `before` is accepted, whatever a clock says: its row may be in the archive.
 */
export const archives = pgTable(
  'archives',
  {
    number: integer().primaryKey(),
    before: time('before').notNull(),
    state: text().$type<ArchiveState>().notNull().default('writing'),
    /** SHA-256 of the content of its file, once that was read back. */
    digest: bytea(),
    /** The process that works on it, until its lease ends. */
    holder: text(),
    leaseUntil: time('lease_until'),
    /** Its file, and those before it, have the hours of usage until then; null where usage is not archived. */
    usageThrough: time('usage_through'),
    createdAt: time('created_at').notNull().default(sql`clock_timestamp()`),
  },
  (table) => [
    uniqueIndex('archives_open').on(sql`(true)`).where(sql`${table.state} <> 'done'`),
    check('archives_state_known', sql`${table.state} IN ('writing', 'removing', 'done')`),
  ],
)

/**
 * What stays of the events that left a wallet's audit: the hashes of their bodies, which the chain follows from, and the state of the
 * keys behind the last of them, so that a check goes on from there.
 */
export const archivedAudits = pgTable(
  'archived_audits',
  {
    walletAddress: text('wallet_address').primaryKey(),
    shard: shard(),
    /** SHA-256 of each body, one after the other: 32 bytes an event. */
    bodyHashes: bytea('body_hashes').notNull(),
    /** The newest row of `signed_actions` that one of them names. */
    actionId: bigint('action_id', { mode: 'number' }).notNull(),
    /** JSON: see src/audit/archived.ts. */
    state: text().notNull(),
    mac: bytea().notNull(),
  },
  () => [ofWallet('archived_audits', 'wallet_address')],
)

/** The uuids of archived orders, which stay used for ever. */
export const archivedOrders = pgTable('archived_orders', {
  uuid: text().primaryKey(),
  shard: shard(),
  archive: integer().notNull(),
})

/**
 * An account that pays for settlement, or the treasury that funds these. `next_nonce` is the nonce of its next transaction,
 * `chain_nonce` the one that the chain expects next, as last observed: the nonces in between are pending.
 */
export const operators = pgTable('operators', {
  address: text().primaryKey(),
  nextNonce: bigint('next_nonce', { mode: 'number' }).notNull(),
  chainNonce: bigint('chain_nonce', { mode: 'number' }).notNull().default(0),
  /** When `chain_nonce` moved last. */
  chainNonceAt: time('chain_nonce_at'),
  /** Micro-STX that it can still spend: what the chain had, less what pending transactions pay. Null before the first look-up. */
  balance: bigint({ mode: 'number' }),
  /** When the chain was asked for the balance. */
  balanceAt: time('balance_at'),
  /** When a process may ask for the balance next: one of them takes the turn by moving it. */
  balanceDueAt: time('balance_due_at'),
  /** From then on it takes no claim. What it has pending is followed to its end. */
  retiredAt: time('retired_at'),
})

/**
 * Work that one process at a time does, until a time: the operators that it reconciles, duties of the reconciler, a run of the treasury.
 * A process that reconciles holds a lease on its own name, too, by which the others count it.
 */
export const leases = pgTable('leases', {
  name: text().primaryKey(),
  holder: text().notNull(),
  until: time('until').notNull(),
  /** Of a process: the operators that it can sign for. */
  operators: text().array(),
})

/**
 * What the operator's other services prove themselves with: see src/service-credentials/. A credential is of no wallet. `mac` covers every
 * column that gives or takes a right, and not the counters, which every request changes.
 */
export const serviceCredentials = pgTable(
  'service_credentials',
  {
    id: text().primaryKey(),
    secretHash: bytea('secret_hash').notNull().unique('service_credentials_hash'),
    preview: text().notNull(),
    name: text().notNull(),
    /** The scopes that its service may ask for. */
    scopes: text().array().notNull(),
    rateLimit: integer('rate_limit_per_minute').notNull(),
    createdAt: time('created_at').notNull(),
    revokedAt: time('revoked_at'),
    mac: bytea().notNull(),
    /** The number of the UTC minute that `minute_count` belongs to. */
    minuteWindow: integer('minute_window').notNull().default(0),
    minuteCount: integer('minute_count').notNull().default(0),
    totalRequests: count('total_requests'),
    lastUsedAt: time('last_used_at'),
  },
  (table) => [
    check('service_credentials_hash_length', sql`octet_length(${table.secretHash}) = 32`),
  ],
)

/**
 * Where notices are sent. `mac` covers every column that decides where something is sent and how it is signed: see
 * src/webhooks/webhook.ts. The secrets are encrypted.
 */
export const webhooks = pgTable(
  'webhooks',
  {
    id: text().primaryKey(),
    /** Null for one of the operator, which is told of every wallet. */
    walletAddress: text('wallet_address'),
    url: text().notNull(),
    /** Types of notices, or `*` for all of them. */
    events: text().array().notNull(),
    label: text(),
    secretBox: bytea('secret_box').notNull(),
    /** Until `previous_until`, deliveries are signed with the secret before as well. */
    previousSecretBox: bytea('previous_secret_box'),
    previousUntil: time('previous_until'),
    mac: bytea().notNull(),
    createdAt: time('created_at').notNull(),
    deliveredAt: time('delivered_at'),
    /** The first failure since the last success. */
    failingSince: time('failing_since'),
    lastFailure: text('last_failure'),
    disabledAt: time('disabled_at'),
    disabledReason: text('disabled_reason').$type<DisabledReason>(),
    /** 0 for one of the operator. */
    shard: shard(),
  },
  (table) => [
    ofWallet('webhooks', 'wallet_address'),
    index('webhooks_wallet').on(table.walletAddress),
  ],
)

/**
 * What owners are told: see src/notices/notice.ts. Triggers on `audit_events` and `order_events` insert those that some webhook wants,
 * `announce` inserts the others; a trigger on this table inserts the deliveries. Rows leave after NOTICE_RETENTION_DAYS.
 */
export const notices = pgTable(
  'notices',
  {
    /** The webhook-id of its deliveries. */
    id: text().primaryKey().default(sql`('msg_' || replace(gen_random_uuid()::text, '-', ''))`),
    sequence: bigserial({ mode: 'number' }).notNull(),
    walletAddress: text('wallet_address').notNull(),
    type: text().notNull(),
    keyId: text('key_id'),
    orderUuid: text('order_uuid'),
    data: jsonb().$type<Record<string, unknown>>().notNull(),
    at: time('at').notNull(),
    shard: shard(),
  },
  (table) => [
    ofWallet('notices', 'wallet_address'),
    index('notices_wallet').on(table.walletAddress, table.sequence),
    index('notices_at').on(table.at),
  ],
)

/** A notice for a webhook. Of the notice's wallet, also where the webhook is the operator's. No foreign keys: a change never waits for one. */
export const deliveries = pgTable(
  'deliveries',
  {
    noticeId: text('notice_id').notNull(),
    webhookId: text('webhook_id').notNull(),
    state: text().$type<DeliveryState>().notNull().default('waiting'),
    /** How often a process has taken it; a result is recorded for the attempt that had it. */
    attempts: integer().notNull().default(0),
    /** When it is sent next; while it is being sent, when its lease ends. Null when it is final. */
    dueAt: time('due_at'),
    createdAt: time('created_at').notNull(),
    deliveredAt: time('delivered_at'),
    /** The status of the last response; null where there was none. */
    status: integer(),
    /** Why the last attempt failed. */
    failure: text(),
    shard: shard(),
  },
  (table) => [
    primaryKey({ name: 'deliveries_pk', columns: [table.noticeId, table.webhookId] }),
    index('deliveries_due').on(table.webhookId, table.dueAt).where(sql`${table.dueAt} IS NOT NULL`),
    index('deliveries_waiting').on(table.createdAt).where(sql`${table.dueAt} IS NOT NULL`),
    index('deliveries_dead')
      .on(table.webhookId, table.createdAt)
      .where(sql`${table.state} = 'dead'`),
    check('deliveries_state_known', sql`${table.state} IN ('waiting', 'delivered', 'dead')`),
    check(
      'deliveries_waiting_due',
      sql`(${table.state} = 'waiting') = (${table.dueAt} IS NOT NULL)`,
    ),
  ],
)

/** `swap`: an order's; `burn`: it uses up an order's uuid; `filler`: it uses up a nonce; `transfer`: it funds an account. */
export type TransactionKind = 'swap' | 'burn' | 'filler' | 'transfer'

export type TransactionStatus =
  /** Signed and stored; not known to be at a node. */
  | 'signed'
  /** A node accepted it. */
  | 'accepted'
  /** Superseded: a replacement for its nonce pays more. Either may be mined; it is followed and not sent again. */
  | 'outbid'
  | 'mined'
  /** Another transaction was mined with its nonce. */
  | 'replaced'
  /** Its only sender received the node's rejection. */
  | 'refused'

/** A signed Stacks transaction, stored before it is sent. `raw_box` is its bytes, encrypted: they hold the order's signature. */
export const transactions = pgTable(
  'transactions',
  {
    txid: text().primaryKey(),
    /** Absent for a filler that uses up the nonce of a refused transaction. */
    orderUuid: text('order_uuid').references(() => orders.uuid),
    /** A burn uses up an order's uuid at the verifier, and may replace its swap. A filler only uses up a nonce. */
    kind: text().$type<TransactionKind>().notNull().default('swap'),
    operator: text()
      .notNull()
      .references(() => operators.address),
    nonce: bigint({ mode: 'number' }).notNull(),
    feeInMicroStx: bigint('fee_in_micro_stx', { mode: 'number' }).notNull(),
    rawBox: bytea('raw_box').notNull(),
    /** The key that requested it; the key's success is counted when a node accepts it. */
    requestedBy: text('requested_by').references(() => apiKeys.id),
    status: text().$type<TransactionStatus>().notNull().default('signed'),
    reason: text(),
    createdAt: time('created_at').notNull(),
    answeredAt: time('answered_at'),
    minedAt: time('mined_at'),
    blockHeight: bigint('block_height', { mode: 'number' }),
    /** The chain's outcome: success, abort_by_response or abort_by_post_condition. */
    outcome: text(),
    /** When the reconciler checks it next; null when it is final. */
    checkAt: time('check_at').default(sql`now()`),
    /** Leases by the reconciler: not 0 means that it may have been sent more than once. */
    attempts: integer('looks').notNull().default(0),
    /** Checks in a row that did not find it where it should be. */
    notFound: integer('misses').notNull().default(0),
    /** Of the order's owner; of a filler or a transfer, of the sender's address. */
    shard: shard(),
    /** Of a transfer: the account that it funds, and by how many micro-STX. */
    recipient: text(),
    amountInMicroStx: bigint('amount_in_micro_stx', { mode: 'number' }),
  },
  (table) => [
    index('transactions_order').on(table.orderUuid),
    index('transactions_unanswered').on(table.createdAt).where(sql`${table.status} = 'signed'`),
    index('transactions_due').on(table.checkAt).where(sql`${table.checkAt} IS NOT NULL`),
    index('transactions_burns').on(table.createdAt).where(sql`${table.kind} = 'burn'`),
    index('transactions_nonce').on(table.operator, table.nonce),
    check(
      'transactions_status_known',
      sql`${table.status} IN ('signed', 'accepted', 'outbid', 'mined', 'replaced', 'refused')`,
    ),
  ],
)
