/** What a wallet can sign, and what each message does. */
export const ACTIONS = [
  'create_api_key',
  'list_api_keys',
  'get_api_key',
  'update_api_key',
  'rotate_api_key',
  'suspend_api_key',
  'resume_api_key',
  'delete_api_key',
  'revoke_api_key',
  'revoke_all_api_keys',
  'create_session',
  'create_webhook',
  'list_webhooks',
  'update_webhook',
  'rotate_webhook_secret',
  'delete_webhook',
  'test_webhook',
  'replay_webhook',
  'list_notices',
  'list_audit',
  'get_account',
  'create_order',
  'list_orders',
  'execute_order',
  'cancel_order',
] as const

export type Action = (typeof ACTIONS)[number]

/** A message as a client presents it, before anything of it is verified. */
export interface PresentedMessage {
  message: string
  signature: string
  walletAddress: string
  publicKey?: string | undefined
}

/** A verified message: its wallet signed it, recently, for this service. Whether it was used before, `consumeMessage` decides. */
export interface SignedAction<Members> {
  action: Action
  members: Members
  walletAddress: string
  message: string
  /** SHA-256 of the message. A signature has other valid forms (ECDSA is malleable), so it cannot identify an action. */
  messageHash: Uint8Array
  /** After this moment no setting and no clock makes it fresh: milliseconds since 1970. */
  lastFresh: number
  signature: string
  /** Compressed, hex; recovered, never taken from the client. */
  publicKey: string
}

/**
 * The longest message, in UTF-8. It has room for a grant that sets every limit to the most that `KEY_TERMS` allows, with texts that
 * JSON writes as escapes.
 */
export const MAX_MESSAGE_BYTES = 16_384
/** How far a client's clock may be ahead. */
export const MAX_FUTURE_SECONDS = 60

/** The largest value of `SIGNATURE_MAX_AGE_SECONDS`: src/env.ts validates it, and a replay of an audit allows it. */
export const MAX_MESSAGE_AGE_SECONDS = 86_400

/** How long after its timestamp a revoke_api_key certificate can end, at most. */
export const MAX_CERTIFICATE_SECONDS = 366 * 86_400

export type Freshness = 'fresh' | 'stale' | 'future'

/**
 * Whether a message is accepted at a time. A revoke_api_key message is a certificate: it states its own end, notAfter, at
 * most `MAX_CERTIFICATE_SECONDS` after its timestamp. Every other message is accepted up to an age. A time that is not a
 * finite number makes a message stale.
 */
export function messageFreshness(
  { action, timestamp, notAfter }: DatedMessage,
  now: number,
  maxAgeSeconds: number,
): Freshness {
  const isCertificate = action === 'revoke_api_key'
  const longestMs = (isCertificate ? MAX_CERTIFICATE_SECONDS : maxAgeSeconds) * 1000
  const end = isCertificate ? new Date(notAfter ?? Number.NaN).getTime() : timestamp + longestMs
  if (!(now <= end && end - timestamp <= longestMs)) return 'stale'
  return timestamp - now > MAX_FUTURE_SECONDS * 1000 ? 'future' : 'fresh'
}

/**
 * The last moment at which any setting accepts a message, in milliseconds since 1970; no finite number for one that is never accepted.
 * Once it has passed, nothing need remember that the message was used.
 */
export function lastFreshMs({ action, timestamp, notAfter }: DatedMessage): number {
  if (action !== 'revoke_api_key') return timestamp + MAX_MESSAGE_AGE_SECONDS * 1000
  return new Date(notAfter ?? Number.NaN).getTime()
}

/** The members that date a message: milliseconds since 1970; notAfter also ISO 8601. */
export interface DatedMessage {
  action: string
  timestamp: number
  notAfter?: string | number | undefined
}
