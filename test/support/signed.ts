import { createPrivateKey, randomUUID } from 'node:crypto'
import type { RequestSigner } from '../../src/client/request-signer.ts'
import {
  generateSigningKey,
  requestSigner,
  secretRequestSigner,
  signRequest,
} from '../../src/client/request-signer.ts'
import type { Service } from './service.ts'
import { createKey, json, type Wallet } from './wallet.ts'

/** What services under test are called from outside. */
export const PUBLIC_HOST = 'dex.example'
/** Settings of a service whose requests are signed. */
export const SIGNED_ENV = { PUBLIC_HOSTS: PUBLIC_HOST }

/** A key whose holder signs, and its signer. */
export interface SigningKeyOfWallet {
  keyId: string
  signer: RequestSigner
  /** PEM. */
  privateKey: string
  publicKey: { alg: 'ed25519'; key: string }
}

/** Creates a key with a new public key. Fails the test when the service refuses. */
export async function createSigningKey(
  service: Pick<Service, 'call'>,
  wallet: Wallet,
  members: Record<string, unknown> = {},
): Promise<SigningKeyOfWallet> {
  const { publicKey, privateKey } = await generateSigningKey()
  const granted = wallet.sign({
    action: 'create_api_key',
    keyName: `signs ${randomUUID()}`,
    permissions: ['create', 'execute', 'cancel'],
    publicKey,
    ...members,
  })
  const response = await service.call('/api-keys', json(granted))
  if (response.status !== 201) throw new Error(`no key: ${await response.text()}`)
  const { keyId } = (await response.json()) as { keyId: string }
  return { keyId, signer: requestSigner({ keyId, privateKey }), privateKey, publicKey }
}

/** Creates a key with a secret that only signs. */
export async function createSecretSigner(
  service: Pick<Service, 'call'>,
  wallet: Wallet,
  members: Record<string, unknown> = {},
): Promise<{ keyId: string; apiKey: string; signer: RequestSigner }> {
  const { keyId, apiKey } = await createKey(service, wallet, {
    requireSignature: true,
    ...members,
  })
  return { keyId, apiKey, signer: secretRequestSigner({ keyId, apiKey }) }
}

/** A request with the headers that sign it. */
export async function signed(
  service: Pick<Service, 'clock'>,
  signer: RequestSigner,
  path: string,
  init: RequestInit = {},
): Promise<RequestInit & { headers: Record<string, string> }> {
  const { method = 'GET', body } = init
  const headers = await signRequest(signer, {
    method,
    url: `https://${PUBLIC_HOST}/api/v1${path}`,
    now: service.clock.now,
    ...(typeof body === 'string' && { body }),
  })
  return { ...init, headers: { ...(init.headers as Record<string, string>), ...headers } }
}

/** Signs a request and sends it. */
export async function callSigned(
  service: Pick<Service, 'clock' | 'call'>,
  signer: RequestSigner,
  path: string,
  init: RequestInit = {},
): Promise<Response> {
  return service.call(path, await signed(service, signer, path, init))
}

/** A private key of node:crypto, which other implementations sign with. */
export function nodeKey(privateKey: string) {
  return createPrivateKey(privateKey)
}

/** Status and code of a response. */
export async function outcome(response: Response): Promise<[status: number, code: string]> {
  const text = await response.text()
  const body = text === '' ? {} : (JSON.parse(text) as { code?: string; status?: string })
  return [response.status, body.code ?? body.status ?? '']
}
