import { sha256 } from '../crypto/bytes.ts'
import { hmacSha256 } from '../crypto/hmac.ts'
import { macKeyOf } from '../keys/mac-key.ts'
import { ok, type Result } from '../result.ts'
import {
  BODY_COMPONENT,
  REQUIRED_COMPONENTS,
  SIGNATURE_TAG,
  type SignatureAlgorithm,
  signatureBase,
  targetOfUrl,
} from './base.ts'

/** Signs with the key of one API key. */
export interface BaseSigner {
  readonly keyId: string
  readonly algorithm: SignatureAlgorithm
  /** Resolves with the signature of the bytes: 64 of Ed25519, 32 of HMAC-SHA-256. */
  sign(base: Uint8Array<ArrayBuffer>): Promise<Uint8Array>
}

/** A request that is to be signed, when, and the nonce of the signature. */
interface DatedRequest {
  method: string
  url: URL
  /** Empty where there is none. */
  body: string
  /** Milliseconds since 1970. */
  now: number
  nonce: Uint8Array
}

/** The headers that sign a request. Refused where the URL has characters beyond ASCII. */
export async function signatureHeaders(
  signer: BaseSigner,
  { method, url, body, now, nonce }: DatedRequest,
): Promise<Result<Record<string, string>, 'componentMissing'>> {
  const digest = `sha-256=:${base64(sha256(body))}:`
  const hasBody = body !== ''
  const components = hasBody ? [...REQUIRED_COMPONENTS, BODY_COMPONENT] : [...REQUIRED_COMPONENTS]
  const parameters = [
    `(${components.map((name) => `"${name}"`).join(' ')})`,
    `created=${Math.floor(now / 1000)}`,
    `nonce="${base64(nonce)}"`,
    `keyid="${signer.keyId}"`,
    `alg="${signer.algorithm}"`,
    `tag="${SIGNATURE_TAG}"`,
  ].join(';')
  const target = { method: method.toUpperCase(), authority: url.host, ...targetOfUrl(url.href) }
  const base = signatureBase(components, parameters, target, () => digest)
  if (!base.ok) return base
  const signature = await signer.sign(new TextEncoder().encode(base.value))
  return ok({
    'signature-input': `sig=${parameters}`,
    signature: `sig=:${base64(signature)}:`,
    ...(hasBody && { 'content-digest': digest }),
  })
}

/** Signs with the secret of an API key, by HMAC-SHA-256. */
export function signerOfSecret(keyId: string, secret: string): BaseSigner {
  const macKey = macKeyOf(secret)
  return { keyId, algorithm: 'hmac-sha256', sign: async (base) => hmacSha256(macKey, base) }
}

export function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
}
