import type { OtlpTarget } from './settings.ts'

export type Sent = 'accepted' | 'again' | 'refused'

/** Statuses after which a collector takes the same data later (OTLP specification, retryable response codes). */
const AGAIN: ReadonlySet<number> = new Set([429, 502, 503, 504])

/** Sends one export, which `signal` ends. Never rejects: a collector that is down is `again`. */
export async function sendOtlp(
  fetch: typeof globalThis.fetch,
  { url, headers, timeoutMs }: OtlpTarget,
  body: unknown,
  signal: AbortSignal,
): Promise<Sent> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { ...headers, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    })
    await response.body?.cancel()
    if (response.ok) return 'accepted'
    return AGAIN.has(response.status) ? 'again' : 'refused'
  } catch {
    return 'again'
  }
}
