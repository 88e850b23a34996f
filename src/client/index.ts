/**
 * The client of a Latchkey service: API keys that a Stacks wallet grants, and orders that they execute. It needs web
 * standards only, and runs in browsers, Node, Deno, Bun and workers.
 *
 * @module
 */

export type { ArchivedEvents, AuditEvent, AuditHead, UnrecordedAction } from '../audit/event.ts'
export type { ErrorCode } from '../errors.ts'
export type {
  CreatedKey,
  CreatedSigningKey,
  HeartbeatTaken,
  Key,
  KeyStatus,
  KeyWindow,
  Me,
  RotatedKey,
  UsageStats,
} from '../keys/key.ts'
export { type Permission, SCOPES, type Scope } from '../keys/scope.ts'
export { findSecrets, SERVICE_PREFIX } from '../keys/secret.ts'
export type { Suspended } from '../keys/suspension.ts'
export type {
  AlertAction,
  Alerts,
  AmountLimit,
  Heartbeat,
  KeyLimits,
  KeyRules,
  MaxAmountIn,
  PublicKey,
} from '../keys/terms.ts'
export { NOTICE_TYPES, type NoticePayload } from '../notices/notice.ts'
export {
  type NewOrder,
  ORDER_STATUSES,
  type Order,
  type OrderFields,
  type OrderStatus,
} from '../orders/order.ts'
export { orderHash } from '../orders/validate.ts'
export type { AuditFault } from '../provenance/replay.ts'
export type { CreatedSession } from '../sessions/session.ts'
export type { SignatureAlgorithm } from '../signed-requests/base.ts'
export type { BaseSigner } from '../signed-requests/sign.ts'
export type { Intent } from '../stacks/intent.ts'
export { NETWORKS, type Network } from '../stacks/network.ts'
export type { Router } from '../stacks/router.ts'
export type {
  KeyUsage,
  RotationUse,
  Sighting,
  UsageBucket,
  UsageDay,
  UsageOfKey,
  WalletUsage,
} from '../usage/usage.ts'
export type {
  AccountState,
  DailyAmount,
  KeyAmounts,
  OpenOrder,
  ReadFromChain,
  WalletBalance,
} from '../wallets/account.ts'
export type {
  KeyEvent,
  OrderOfWalletEvent,
  StartEvent,
  WalletEvent,
} from '../wallets/event.ts'
export type { Delivery, Notice, Webhook, WebhookWithSecret } from '../webhooks/webhook.ts'
export {
  type Audit,
  type AuditExport,
  type AuditVerdict,
  type VerifyOptions,
  verifyAudit,
} from './audit.ts'
export type { AuditHeadStore } from './audit-heads.ts'
export { isLoopback } from './base-url.ts'
export type { CallOptions, CallPromise, WithResponse } from './call.ts'
export { type Client, type ClientOptions, createClient } from './client.ts'
export type { Clock } from './clock.ts'
export {
  AbortError,
  AuthenticationError,
  BadResponseError,
  type ClientErrorCode,
  ConflictError,
  ConnectionError,
  type ErrorDetails,
  ExecutionError,
  InvalidRequestError,
  LatchkeyError,
  type LatchkeyErrorCode,
  type LatchkeyErrorOf,
  type LatchkeyErrorOptions,
  NotFoundError,
  PermissionError,
  RateLimitError,
  SigningError,
  TimeoutError,
  UnavailableError,
} from './errors.ts'
export type { DevnetInfo, ServiceInfo, ServiceLimits, TokenInfo } from './info.ts'
export type {
  CreateKeyOptions,
  KeyChange,
  KeyFilter,
  Keys,
  NewKey,
  NewKeyLimits,
  NewSigningKey,
  RecoveredKey,
  RevocationCertificate,
} from './keys.ts'
export type {
  Hooks,
  Logger,
  LoggerLevel,
  RequestFacts,
  ResponseFacts,
  RetryFacts,
} from './observer.ts'
export type { OrderUpdate, OrderUpdates } from './order-events.ts'
export type {
  AuthOptions,
  CancelOrderOptions,
  Executed,
  OrderDraft,
  OrderFilter,
  OrderPage,
  Orders,
} from './orders.ts'
export type { ListPage, PagedList } from './paging.ts'
export type { RateLimit } from './rate-limit.ts'
export {
  generateSigningKey,
  type RequestSigner,
  readSigningKey,
  requestSigner,
  type SigningKey,
  secretRequestSigner,
  signRequest,
  type UnsignedRequest,
} from './request-signer.ts'
export {
  type KeepRotatingOptions,
  keepRotating,
  type Rotation,
  type RotationOptions,
  type RotationState,
  type RotationStore,
  rotateSecret,
} from './rotation.ts'
export type { AppInfo } from './runtime.ts'
export type { Sessions } from './sessions.ts'
export {
  type MessageSignature,
  type PrivateKeySigner,
  privateKeySigner,
  type Signer,
  type SignOptions,
} from './signer.ts'
export type { Fetch } from './transport.ts'
export {
  type VerifyWebhookOptions,
  verifyWebhook,
  type WebhookEvent,
  type WebhookHeaders,
} from './verify-webhook.ts'
export type { WaitOptions } from './wait.ts'
export type { WalletEventOptions, WalletUpdate, WalletUpdates } from './wallet-events.ts'
export {
  type WalletProvider,
  type WalletRequest,
  type WalletSigner,
  type WalletSignerOptions,
  walletSigner,
} from './wallet-signer.ts'
export type { DeliveryFilter, NewWebhook, WebhookChange, Webhooks } from './webhooks.ts'
