import { untilAborted } from '../client/abort.ts'
import { apiRoot } from '../client/base-url.ts'
import type { KeyQuestion, KeyVerdict } from '../service-credentials/verdict.ts'
import { readResponseJson } from '../wire/response.ts'

/** How a backend reaches the service that issued the keys of its clients. */
export interface VerifierOptions {
  /** Where the service is: https, or this machine. */
  baseUrl: string | URL
  /** `ck_service_..`, which the service's operator issues. */
  serviceCredential: string
  /** The longest time for one answer; 5,000 by default. */
  timeoutMs?: number | undefined
  /** Whether `http:` may lead to another machine: where the network between is the operator's own. */
  allowInsecure?: boolean | undefined
  /** In place of the platform's `fetch`. */
  fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined
}

/** Why there is no decision about a key: the caller must refuse. */
export class VerificationError extends Error {
  override readonly name = 'VerificationError'
  /** The status of the service's answer; undefined where there was none. */
  readonly status: number | undefined
  /** The code of the service's refusal, as `INVALID_SERVICE_CREDENTIAL`. */
  readonly code: string | undefined

  constructor(message: string, { status, code, cause }: VerificationFailure = {}) {
    super(message, { cause })
    this.status = status
    this.code = code
  }
}

/** What is known of a failed verification. */
export interface VerificationFailure {
  status?: number | undefined
  code?: string | undefined
  cause?: unknown
}

/** Asks a service about keys. */
export interface KeyVerifier {
  /**
   * Resolves to the decision about a key, which counts the request. Rejects with a {@link VerificationError} where there is none. A
   * question is never repeated: it may have been counted.
   */
  verify(question: KeyQuestion): Promise<KeyVerdict>
}

const MAX_BYTES = 65_536
const TIMEOUT_MS = 5_000

/**
 * Opens the verification of keys by `POST /keys/verify`. Throws for a base URL that would send secrets in the clear.
 *
 * @example
 * ```ts
 * import { createVerifier } from 'latchkey/middleware'
 *
 * const verifier = createVerifier({ baseUrl: 'https://dex.example', serviceCredential: 'ck_service_..' })
 * const verdict = await verifier.verify({ apiKey: 'ck_live_..', scope: 'rfq', ip: '203.0.113.50' })
 * console.log(verdict.valid ? verdict.principal : verdict.code)
 * ```
 */
export function createVerifier({
  baseUrl,
  serviceCredential,
  timeoutMs = TIMEOUT_MS,
  allowInsecure = false,
  fetch = (url, init) => globalThis.fetch(url, init),
}: VerifierOptions): KeyVerifier {
  const url = `${apiRoot(baseUrl, allowInsecure)}/keys/verify`
  return {
    async verify(question) {
      const signal = AbortSignal.timeout(timeoutMs)
      let status: number | undefined
      let answer: unknown
      try {
        const asked = fetch(url, {
          method: 'POST',
          redirect: 'manual',
          signal,
          headers: {
            'Content-Type': 'application/json',
            'X-Service-Credential': serviceCredential,
          },
          body: JSON.stringify(question),
        })
        const response = await untilAborted(asked, signal)
        status = response.status
        answer = await readResponseJson(response, MAX_BYTES, signal)
      } catch (cause) {
        throw new VerificationError('The service did not answer', { status, cause })
      }
      if (status === 200 && isVerdict(answer)) return answer
      const { code } = (answer ?? {}) as { code?: unknown }
      throw new VerificationError(`The service did not decide: ${status}`, {
        status,
        code: typeof code === 'string' ? code : undefined,
      })
    },
  }
}

/** Whether an answer says yes or no, with all that a middleware passes on. */
function isVerdict(answer: unknown): answer is KeyVerdict {
  const { valid, keyId, walletAddress, principal, permissions, httpStatus, code, headers } =
    (answer ?? {}) as Record<string, unknown>
  if (!isTexts(headers)) return false
  if (valid === false)
    return typeof code === 'string' && Number.isInteger(httpStatus) && Number(httpStatus) >= 400
  const texts = [keyId, walletAddress, principal]
  return valid === true && texts.every(isNamed) && Array.isArray(permissions)
}

function isNamed(text: unknown): boolean {
  return typeof text === 'string' && text !== ''
}

function isTexts(value: unknown): value is Record<string, string> {
  return (
    typeof value === 'object' &&
    value !== null &&
    Object.values(value).every((one) => typeof one === 'string')
  )
}
