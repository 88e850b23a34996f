import * as z from 'zod'
import { ok, type Result, refuse } from '../result.ts'
import { type PeerFetch, readResponseJson } from '../wire/response.ts'

const MAX_BYTES = 65_536
const TIMEOUT_MS = 5_000
/** How long a list of keys is used, and how soon an id that it does not have may cause another request. */
const KEPT_MS = 3_600_000
const ASKED_AGAIN_AFTER_MS = 60_000

const KeyList = z.object({
  public_keys: z
    .array(z.object({ key_identifier: z.string().max(256), key: z.string().max(4_096) }))
    .max(100),
})

/** A report as it came: the signature is over the exact bytes. */
export interface SignedReport {
  body: Uint8Array<ArrayBuffer>
  keyId: string
  /** Base64 of a DER signature. */
  signature: string
}

/** Resolves to nothing where GitHub signed the report. */
export type VerifyReport = (
  report: SignedReport,
) => Promise<Result<undefined, 'leakReportUnsigned' | 'unavailable'>>

interface GithubOptions {
  url: string
  fetch: PeerFetch
  /** Milliseconds on a clock that no adjustment moves back. */
  elapsed: () => number
  /** Whether requests may wait for one another's request for the list: on Workers none may. */
  sharesPending: boolean
}

/**
 * Verifies reports of GitHub's secret scanning: ECDSA on P-256 with SHA-256, by a key that GitHub lists. The list is kept
 * for an hour; an id that is not in it causes one more request a minute at most, whatever a stranger sends.
 */
export function openGithubReports({
  url,
  fetch,
  elapsed,
  sharesPending,
}: GithubOptions): VerifyReport {
  let keys: ReadonlyMap<string, string> = new Map()
  let askedAt = -Infinity
  let asking: Promise<boolean> | undefined

  /** Resolves to whether GitHub answered. */
  async function ask(): Promise<boolean> {
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS)
      const response = await fetch(url, {
        signal,
        redirect: 'manual',
        headers: { accept: 'application/json', 'user-agent': 'latchkey' },
      })
      const list = KeyList.parse(await readResponseJson(response, MAX_BYTES, signal))
      keys = new Map(list.public_keys.map((one) => [one.key_identifier, one.key]))
      askedAt = elapsed()
      return true
    } catch {
      return false
    }
  }

  function askOnce(): Promise<boolean> {
    if (!sharesPending) return ask()
    asking ??= ask().finally(() => {
      asking = undefined
    })
    return asking
  }

  return async ({ body, keyId, signature }) => {
    const bytes = rawSignature(fromBase64(signature))
    if (bytes === undefined) return refuse('leakReportUnsigned', { reason: 'malformed' })
    const age = elapsed() - askedAt
    const isStale = age > KEPT_MS || (!keys.has(keyId) && age > ASKED_AGAIN_AFTER_MS)
    const isKnown = !isStale || (await askOnce())
    const key = keys.get(keyId)
    // A list that cannot be renewed goes on being used: its keys have signed before.
    if (key === undefined)
      return isKnown
        ? refuse('leakReportUnsigned', { reason: 'unknown_key' })
        : refuse('unavailable', { reason: 'github_keys' })
    const isSigned = await isSignedBy(key, bytes, body)
    return isSigned ? ok(undefined) : refuse('leakReportUnsigned', { reason: 'other_body' })
  }
}

/** Undefined for a text that is no base64. */
function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
  } catch {
    return undefined
  }
}

const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const

async function isSignedBy(
  pem: string,
  signature: Uint8Array<ArrayBuffer>,
  body: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  try {
    const spki = fromBase64(pem.replaceAll(/-----[A-Z ]+-----|\s/g, ''))
    if (spki === undefined) return false
    const key = await crypto.subtle.importKey('spki', spki, P256, false, ['verify'])
    return await crypto.subtle.verify({ name: 'ECDSA', hash: 'SHA-256' }, key, signature, body)
  } catch {
    return false // A key of another curve, or none.
  }
}

const NUMBER_BYTES = 32

/**
 * The two numbers of a DER signature (RFC 3279 s2.2.3), each in 32 bytes as WebCrypto takes them. DER leaves out leading
 * zeros, so that one of them may be shorter, and begins one above the middle with a zero. Undefined for anything else.
 */
export function rawSignature(
  der: Uint8Array<ArrayBuffer> | undefined,
): Uint8Array<ArrayBuffer> | undefined {
  if (der === undefined || der[0] !== 0x30 || der[1] !== der.length - 2) return undefined
  const raw = new Uint8Array(2 * NUMBER_BYTES)
  let at = 2
  for (const end of [NUMBER_BYTES, 2 * NUMBER_BYTES]) {
    const length = der[at + 1] ?? 0
    const number = der.subarray(at + 2, at + 2 + length)
    const isPadded = number[0] === 0
    if (der[at] !== 2 || number.length !== length || length === 0) return undefined
    if ((number[0] ?? 0) > 0x7f || (isPadded && (number[1] ?? 0) < 0x80)) return undefined
    const digits = isPadded ? number.subarray(1) : number
    if (digits.length > NUMBER_BYTES) return undefined
    raw.set(digits, end - digits.length)
    at += 2 + length
  }
  return at === der.length ? raw : undefined
}
