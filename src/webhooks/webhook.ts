import type { AuditHead } from '../audit/event.ts'
import type { NoticeSubject } from '../notices/notice.ts'
import type { Json } from '../wire/json.ts'

export const MAX_URL_LENGTH = 2_048
export const MAX_LABEL_LENGTH = 100
/** How long a rotated secret may go on signing beside the new one. */
export const MAX_OVERLAP_SECONDS = 7 * 86_400

/** Why a webhook gets nothing any more: its receiver says that it is gone, or has failed for days, or its row was edited. */
export type DisabledReason = 'gone' | 'failing' | 'tampered'

/** `dead`: given up, and kept for a replay. */
export type DeliveryState = 'waiting' | 'delivered' | 'dead'

/** Every type of notice, also those of a later release. */
export const ALL_EVENTS = '*'

/** A webhook as its owner sees it. Its secret is not part of it. */
export interface Webhook {
  webhookId: string
  url: string
  /** Types of notices, or `*` alone. */
  events: string[]
  label: string | null
  /** ISO 8601, as all times. */
  createdAt: string
  /** Until when deliveries are signed with the secret before the last rotation as well; null where none is. */
  previousSecretUntil: string | null
  /** `disabled` gets nothing; `failing` failed last. */
  status: 'active' | 'failing' | 'disabled'
  disabledAt: string | null
  /** `gone`: 410 was returned; `failing`: no success for days; `tampered`: its row was edited. */
  disabledReason: DisabledReason | null
  /** When it received something last. */
  deliveredAt: string | null
  failingSince: string | null
  /** Why the last delivery failed; null after a success. */
  lastFailure: string | null
  /** Deliveries that are not made yet, counted up to 1,000. */
  waiting: number
  /** Deliveries that were given up and may be replayed, counted up to 1,000. */
  dead: number
}

/** The response that makes or rotates a secret: the only one that has it. */
export interface WebhookWithSecret extends Webhook {
  /** `whsec_` and base64 of 32 bytes. */
  secret: string
  /** The event of the wallet's audit that records it. */
  auditHead: AuditHead
}

/** One notice on its way to one webhook. */
export interface Delivery {
  /** The webhook-id of each attempt. */
  noticeId: string
  type: string
  state: DeliveryState
  attempts: number
  createdAt: string
  /** When it is sent next; null where it is not. */
  dueAt: string | null
  deliveredAt: string | null
  /** Of the last response. */
  responseStatus: number | null
  failure: string | null
}

/** A notice as the owner's feed has it. */
export interface Notice extends NoticeSubject {
  noticeId: string
  type: string
  timestamp: string
  data: { [member: string]: Json }
}

/** The columns of a webhook's row that decide where something is sent, and how it is signed. Boxes are hex. */
export interface WebhookRights {
  id: string
  walletAddress: string | null
  url: string
  events: string[]
  secretBox: string
  previousSecretBox: string | null
  /** Milliseconds since 1970. */
  previousUntil: number | null
}

/** The text that a webhook's `mac` covers. A row whose address was edited sends nothing. */
export function webhookText(row: WebhookRights): string {
  return JSON.stringify([
    'webhook 1',
    row.id,
    row.walletAddress,
    row.url,
    row.events,
    row.secretBox,
    row.previousSecretBox,
    row.previousUntil,
  ])
}
