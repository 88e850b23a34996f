import type { NoticePayload } from '../notices/notice.ts'
import { isSignedBy, webhookSecretBytes } from '../notices/signature.ts'
import { parseBounded } from '../wire/response.ts'
import { latchkeyError } from './errors.ts'

/** A delivery whose signature was verified. */
export type WebhookEvent = NoticePayload & {
  /** The webhook-id: the same for each attempt. What was handled under it once need not be handled again. */
  id: string
  /** When this attempt was sent. */
  sentAt: Date
}

/** Headers as Fetch has them, or as node:http has them. */
export type WebhookHeaders = Headers | Readonly<Record<string, string | string[] | undefined>>

/** Options of {@link verifyWebhook}. */
export interface VerifyWebhookOptions {
  /** How far the time of sending may be from `now`, either way. 300 by default. */
  toleranceSeconds?: number
  /** Milliseconds since 1970; the clock of this machine by default. */
  now?: number
}

const MAX_ID_LENGTH = 256

/**
 * Verifies a delivery (Standard Webhooks 1.0.0) and returns what it says. `payload` is the body as it was received: text that was parsed
 * and written again has another signature. `secrets` are one `whsec_` or several, as during a rotation; one of them has to fit. The
 * comparison takes the same time whatever the signature is.
 *
 * Throws `WEBHOOK_INVALID` for what is not signed with one of the secrets, or was sent too long ago or too far ahead, and
 * `INVALID_ARGUMENT` for a secret that is none. A delivery may come twice: its `id` is the same then.
 *
 * @example
 * ```ts
 * import { verifyWebhook } from 'latchkey/client'
 *
 * const secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw' // of webhooks.create
 * async function receive(request: Request): Promise<Response> {
 *   try {
 *     const event = verifyWebhook(await request.text(), request.headers, secret)
 *     if (event.type === 'order.failed') console.log(event.data.orderUuid, event.data.status)
 *     return new Response(null, { status: 204 })
 *   } catch {
 *     return new Response(null, { status: 400 })
 *   }
 * }
 * const { status } = await receive(new Request('https://bot.example', { method: 'POST', body: '{}' }))
 * console.log(status) // 400: nothing is signed
 * ```
 */
export function verifyWebhook(
  payload: string | Uint8Array,
  headers: WebhookHeaders,
  secrets: string | readonly string[],
  { toleranceSeconds = 300, now = Date.now() }: VerifyWebhookOptions = {},
): WebhookEvent {
  const keys = [secrets].flat().map((secret) => {
    const bytes = webhookSecretBytes(secret)
    if (bytes === undefined)
      throw latchkeyError('INVALID_ARGUMENT', 'A secret is whsec_ and base64 of 24 to 64 bytes')
    return bytes
  })
  const id = headerOf(headers, 'webhook-id')
  const timestamp = headerOf(headers, 'webhook-timestamp')
  const signature = headerOf(headers, 'webhook-signature')
  if (id === '' || id.length > MAX_ID_LENGTH) throw invalid('There is no webhook-id')
  if (!/^\d{1,12}$/.test(timestamp)) throw invalid('There is no webhook-timestamp')
  if (!isSignedBy(keys, { id, timestamp, payload }, signature))
    throw invalid('It is not signed with the secret')
  // Written so that a tolerance that is no number verifies nothing.
  const isRecent = Math.abs(now / 1_000 - Number(timestamp)) <= toleranceSeconds
  if (!isRecent) throw invalid('It was sent too long ago, or is dated ahead')
  return { ...readPayload(payload), id, sentAt: new Date(Number(timestamp) * 1_000) }
}

function readPayload(payload: string | Uint8Array): NoticePayload {
  try {
    const text = typeof payload === 'string' ? payload : new TextDecoder().decode(payload)
    const value = parseBounded(text) as Partial<NoticePayload> | null
    if (typeof value?.type === 'string' && typeof value.data === 'object' && value.data !== null)
      return value as NoticePayload
  } catch {}
  throw invalid('Its payload is none of a webhook')
}

function headerOf(headers: WebhookHeaders, name: string): string {
  if (headers instanceof Headers) return headers.get(name) ?? ''
  const key = Object.keys(headers).find((one) => one.toLowerCase() === name)
  return [headers[key ?? '']].flat().join(' ')
}

function invalid(why: string) {
  return latchkeyError('WEBHOOK_INVALID', why)
}
