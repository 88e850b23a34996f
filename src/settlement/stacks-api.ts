import type * as z from 'zod'
import { discard, type PeerFetch, type PeerResponse, readResponseJson } from '../wire/response.ts'
import { extendUrl } from '../wire/url.ts'

/** Wait after a 429 without Retry-After. */
const DEFAULT_BACKOFF_MS = 5_000
const MAX_BACKOFF_MS = 60_000

/** A Clarity value has at most 1 MB, twice as much in hex, and the source or the interface of a contract no more. */
const MAX_BYTES = 8 * 2 ** 20

export interface StacksApiOptions {
  apiUrl: string
  fetch: PeerFetch
  /** Milliseconds since 1970, for the end of a back-off. */
  now: () => number
  /** Longest wait for a response. */
  timeoutMs: number
  /** Sent with every request, for example an API key. */
  apiHeaders: Readonly<Record<string, string>>
}

type Route<T> = readonly [path: string, schema: z.ZodType<T>]

/** Requests to a Stacks node's HTTP API. */
export interface StacksApi {
  /** Sends a request. A redirect is not followed: workerd has no `redirect: 'error'`. The body must be read or cancelled. */
  send(path: string, init?: RequestInit): Promise<PeerResponse>
  /** The JSON of a response. Rejects for one that is larger, or nested deeper, than any that is valid. */
  read(response: PeerResponse): Promise<unknown>
  /** The parsed response; `absent` for a 404; undefined for any other response, none, or during a back-off. */
  request<T>(
    path: string,
    schema: z.ZodType<T>,
    init?: RequestInit,
  ): Promise<T | 'absent' | undefined>
  /** The response of a newer endpoint, or of an older one where the newer one does not have it; not after a 429. */
  requestEither<T>(newer: Route<T>, older: Route<T>): Promise<T | 'absent' | undefined>
}

export function openStacksApi({
  apiUrl,
  fetch,
  now,
  timeoutMs,
  apiHeaders,
}: StacksApiOptions): StacksApi {
  let backOffUntil = 0

  async function send(path: string, init: RequestInit = {}): Promise<PeerResponse> {
    const response = await fetch(extendUrl(apiUrl, path), {
      ...init,
      headers: { ...apiHeaders, ...init.headers },
      signal: AbortSignal.timeout(timeoutMs),
      redirect: 'manual',
    })
    if (response.status === 429) backOffUntil = now() + backOffMs(response, now())
    return response
  }

  const read = (response: PeerResponse) => readResponseJson(response, MAX_BYTES)

  async function request<T>(
    path: string,
    schema: z.ZodType<T>,
    init?: RequestInit,
  ): Promise<T | 'absent' | undefined> {
    if (now() < backOffUntil) return undefined
    try {
      const response = await send(path, init)
      if (!response.ok) {
        await discard(response)
        return response.status === 404 ? 'absent' : undefined
      }
      return schema.parse(await read(response))
    } catch {
      return undefined
    }
  }

  return {
    send,
    read,
    request,
    async requestEither(newer, older) {
      const first = await request(...newer)
      if (first !== undefined && first !== 'absent') return first
      const second = await request(...older)
      return second ?? first
    },
  }
}

/** A POST of JSON. */
export function post(body: unknown): RequestInit {
  return {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  }
}

function backOffMs({ headers }: PeerResponse, now: number): number {
  const retryAfter = headers.get('retry-after') ?? ''
  const seconds = /^\d{1,9}$/.test(retryAfter)
    ? Number(retryAfter)
    : (Date.parse(retryAfter) - now) / 1000
  const ms = Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : DEFAULT_BACKOFF_MS
  return Math.min(ms, MAX_BACKOFF_MS)
}
