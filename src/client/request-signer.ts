import type { PublicKey } from '../keys/terms.ts'
import {
  type BaseSigner,
  base64,
  signatureHeaders,
  signerOfSecret,
} from '../signed-requests/sign.ts'
import { latchkeyError } from './errors.ts'

/** Signs the requests of one API key (RFC 9421), so that nothing is sent that could be used again. */
export interface RequestSigner extends BaseSigner {
  /** Resolves with the headers that sign one request, as {@link signRequest} does. */
  headers(request: UnsignedRequest): Promise<Record<string, string>>
}

/** A key pair that signs requests. */
export interface SigningKey {
  /** For `publicKey` of a grant. */
  publicKey: PublicKey
  /** PKCS #8 in PEM (RFC 7468), as openssl writes it. */
  privateKey: string
}

/** A request that is to be signed. */
export interface UnsignedRequest {
  method: string
  /** Absolute, as the service is called from outside. */
  url: string | URL
  /** The very text that is sent; absent or empty for none. */
  body?: string
  /** Milliseconds since 1970; by default the time of this machine. */
  now?: number
}

const ALGORITHM = 'Ed25519'
const NONCE_BYTES = 16
const PEM = /-----BEGIN PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END PRIVATE KEY-----/
const KEY_ID = /^key_[0-9A-Za-z]{1,40}$/

/**
 * Makes a key pair for signed requests. The wallet grants its public key, and the service never has the private one.
 *
 * @example
 * ```ts
 * import { createClient, generateSigningKey, privateKeySigner, requestSigner } from 'latchkey/client'
 *
 * const baseUrl = 'https://dex.example'
 * const { publicKey, privateKey } = await generateSigningKey() // privateKey stays with the bot
 * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
 * const owner = createClient({ baseUrl, signer })
 * const { keyId } = await owner.keys.create({ name: 'Signing bot', permissions: ['execute'], publicKey })
 *
 * const bot = createClient({ baseUrl, requestSigner: requestSigner({ keyId, privateKey }) })
 * console.log((await bot.keys.me()).name)
 * ```
 */
export async function generateSigningKey(): Promise<SigningKey> {
  const pair = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const { privateKey } = pair as { privateKey: CryptoKey }
  const lines = base64(new Uint8Array(await crypto.subtle.exportKey('pkcs8', privateKey)))
  return {
    publicKey: await publicKeyOf(privateKey),
    privateKey: `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`,
  }
}

/**
 * Reads a private key of Ed25519 in PEM, as `openssl genpkey -algorithm ed25519` writes it, and resolves with its pair. Rejects with
 * `INVALID_ARGUMENT` for another text, which the error does not repeat.
 *
 * @example
 * ```ts
 * import { generateSigningKey, readSigningKey } from 'latchkey/client'
 *
 * const { privateKey } = await generateSigningKey()
 * const { publicKey } = await readSigningKey(privateKey)
 * console.log(publicKey.alg) // ed25519
 * ```
 */
export async function readSigningKey(privateKey: string): Promise<SigningKey> {
  return { publicKey: await publicKeyOf(await importKey(privateKey)), privateKey }
}

/**
 * Creates the signer of a key whose grant has `publicKey`. The private key is PEM, or a `CryptoKey` that cannot be exported. A text that
 * is no such key makes the first request reject with `INVALID_ARGUMENT`.
 *
 * @example
 * ```ts
 * import { createClient, requestSigner } from 'latchkey/client'
 *
 * const signer = requestSigner({ keyId: 'key_4Yc1xQ7mB2', privateKey: process.env.SIGNING_KEY ?? '' })
 * const bot = createClient({ baseUrl: 'https://dex.example', requestSigner: signer })
 * console.log((await bot.keys.me()).keyId)
 * ```
 */
export function requestSigner({
  keyId,
  privateKey,
}: {
  keyId: string
  privateKey: string | CryptoKey
}): RequestSigner {
  requireKeyId(keyId)
  let imported: Promise<CryptoKey> | undefined
  return withHeaders({
    keyId,
    algorithm: 'ed25519',
    async sign(base) {
      imported ??=
        typeof privateKey === 'string' ? importKey(privateKey) : Promise.resolve(privateKey)
      return new Uint8Array(await crypto.subtle.sign(ALGORITHM, await imported, base))
    },
  })
}

/**
 * Creates the signer of a key whose grant has `requireSignature`: its secret signs, by HMAC-SHA-256, and is not sent. For clients that have
 * no Ed25519: the service keeps what verifies these signatures, encrypted, and could make them.
 *
 * @example
 * ```ts
 * import { createClient, secretRequestSigner } from 'latchkey/client'
 *
 * const signer = secretRequestSigner({ keyId: 'key_8Zd2yR3nC4', apiKey: process.env.API_KEY ?? '' })
 * const bot = createClient({ baseUrl: 'https://dex.example', requestSigner: signer })
 * console.log((await bot.keys.me()).keyId)
 * ```
 */
export function secretRequestSigner({
  keyId,
  apiKey,
}: {
  keyId: string
  apiKey: string
}): RequestSigner {
  requireKeyId(keyId)
  if (apiKey === '') throw latchkeyError('INVALID_ARGUMENT', 'apiKey is empty')
  return withHeaders(signerOfSecret(keyId, apiKey))
}

/**
 * Signs a request that is sent by other means than the client, and resolves with the headers to add: `Signature-Input`, `Signature` and, with
 * a body, `Content-Digest`. They are good for one request, for five minutes at most.
 *
 * @example
 * ```ts
 * import { requestSigner, signRequest } from 'latchkey/client'
 *
 * const signer = requestSigner({ keyId: 'key_4Yc1xQ7mB2', privateKey: process.env.SIGNING_KEY ?? '' })
 * const url = 'https://dex.example/api/v1/me'
 * const headers = await signRequest(signer, { method: 'GET', url })
 * const response = await fetch(url, { headers: { ...headers } })
 * console.log(response.status)
 * ```
 */
export async function signRequest(
  signer: BaseSigner,
  { method, url, body = '', now = Date.now() }: UnsignedRequest,
): Promise<Record<string, string>> {
  const nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES))
  const headers = await signatureHeaders(signer, { method, url: new URL(url), body, now, nonce })
  if (headers.ok) return headers.value
  throw latchkeyError('INVALID_ARGUMENT', 'The URL has characters that cannot be signed')
}

function withHeaders(signer: BaseSigner): RequestSigner {
  return { ...signer, headers: (request) => signRequest(signer, request) }
}

async function importKey(privateKey: string): Promise<CryptoKey> {
  const [, text = ''] = PEM.exec(privateKey) ?? []
  try {
    const bytes = Uint8Array.from(atob(text.replace(/\s/g, '')), (one) => one.charCodeAt(0))
    return await crypto.subtle.importKey('pkcs8', bytes, ALGORITHM, true, ['sign'])
  } catch {
    throw latchkeyError(
      'INVALID_ARGUMENT',
      'The signing key is no private key of Ed25519 in PEM, as openssl genpkey -algorithm ed25519 writes it',
    )
  }
}

async function publicKeyOf(privateKey: CryptoKey): Promise<PublicKey> {
  const { x = '' } = await crypto.subtle.exportKey('jwk', privateKey)
  return { alg: 'ed25519', key: x }
}

function requireKeyId(keyId: string): void {
  if (KEY_ID.test(keyId)) return
  throw latchkeyError('INVALID_ARGUMENT', 'A key id looks like key_123abc; it is not the key')
}
