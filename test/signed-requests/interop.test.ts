import {
  createHash,
  createPrivateKey,
  createPublicKey,
  sign as signBytes,
  verify,
} from 'node:crypto'
import { appendSignature, createSignature, verifySignature } from 'http-message-sig'
import { createSigner, createVerifier, httpbis } from 'http-message-signatures'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { signRequest } from '../../src/client/request-signer.ts'
import { macKeyOf } from '../../src/keys/mac-key.ts'
import { type Service, startService } from '../support/service.ts'
import {
  createSecretSigner,
  createSigningKey,
  PUBLIC_HOST,
  SIGNED_ENV,
  type SigningKeyOfWallet,
} from '../support/signed.ts'
import { fund, newWallet, type Wallet } from '../support/wallet.ts'

const COMPONENTS = ['@method', '@authority', '@path', '@query'] as const
const PARAMETERS = ['created', 'nonce', 'keyid', 'alg', 'tag']

interface Outgoing {
  method: string
  path: string
  headers: Record<string, string>
  body?: string
}

describe.each(['PGlite', 'workerd'] as const)('with other implementations, on %s,', (engine) => {
  let service: Service
  let wallet: Wallet
  let key: SigningKeyOfWallet
  let secret: Awaited<ReturnType<typeof createSecretSigner>>
  beforeAll(async () => {
    service = await startService(engine, { env: SIGNED_ENV })
    wallet = newWallet(service)
    await fund(service, wallet)
    key = await createSigningKey(service, wallet)
    secret = await createSecretSigner(service, wallet)
  })
  afterAll(() => service.close())

  /** A read without a body, and a write with one under a digest of SHA-512, which the SDK does not use. */
  function requests(): Outgoing[] {
    const body = JSON.stringify(wallet.order())
    const digest = createHash('sha512').update(body).digest('base64')
    return [
      { method: 'GET', path: '/orders?limit=1&owner=a%2Fb', headers: {} },
      {
        method: 'POST',
        path: '/orders/new',
        headers: { 'content-type': 'application/json', 'content-digest': `sha-512=:${digest}:` },
        body,
      },
    ]
  }
  const urlOf = (path: string) => `https://${PUBLIC_HOST}/api/v1${path}`
  const componentsOf = ({ body }: Outgoing) =>
    body === undefined ? [...COMPONENTS] : [...COMPONENTS, 'content-digest', 'content-type']
  const seconds = () => Math.floor(service.clock.now / 1000)
  const nonce = () => crypto.randomUUID()
  const send = ({ method, path, body }: Outgoing, headers: Record<string, string>) =>
    service.call(path, { method, headers, ...(body !== undefined && { body }) })

  it('what http-message-sig signs with Ed25519 is accepted', async () => {
    const privateKey = createPrivateKey(key.privateKey)
    for (const request of requests()) {
      const { method, path, headers, body } = request
      const fields = await createSignature(
        new Request(urlOf(path), { method, headers, ...(body !== undefined && { body }) }),
        {
          label: 'theirs',
          components: componentsOf(request),
          parameters: {
            created: seconds(),
            nonce: nonce(),
            keyid: key.keyId,
            alg: 'ed25519',
            tag: 'latchkey',
          },
          signer: { algorithm: 'ed25519', sign: (data) => signBytes(null, data, privateKey) },
        },
      )
      const signed = Object.fromEntries(appendSignature(new Headers(headers), fields))
      const response = await send(request, signed)
      expect(response.status, await response.clone().text()).toBeLessThan(300)
    }
  })

  it.each([
    'ed25519',
    'hmac-sha256',
  ] as const)('what http-message-signatures signs with %s is accepted', async (algorithm) => {
    for (const request of requests()) {
      const { method, path, headers } = request
      const [keyId, material] =
        algorithm === 'ed25519'
          ? [key.keyId, createPrivateKey(key.privateKey)]
          : [secret.keyId, Buffer.from(macKeyOf(secret.apiKey))]
      const signed = await httpbis.signMessage(
        {
          key: createSigner(material as Parameters<typeof createSigner>[0], algorithm, keyId),
          fields: componentsOf(request),
          params: PARAMETERS,
          paramValues: {
            created: new Date(service.clock.now),
            nonce: nonce(),
            tag: 'latchkey',
          },
        },
        { method, url: urlOf(path), headers },
      )
      const response = await send(request, signed.headers as Record<string, string>)
      expect(response.status, await response.clone().text()).toBeLessThan(300)
    }
  })
})

describe('What the SDK signs', () => {
  const url = `https://${PUBLIC_HOST}/api/v1/orders/new?x=1`
  const body = '{"a":1}'
  const sent = { method: 'POST', url, body }
  const components = [...COMPONENTS, 'content-digest']

  it('is verified by http-message-sig', async () => {
    const { generateSigningKey, requestSigner } = await import('../../src/client/index.ts')
    const { privateKey } = await generateSigningKey()
    const publicKey = createPublicKey(privateKey)
    const signer = requestSigner({ keyId: 'key_1', privateKey })
    const check = async (headers: Record<string, string>) =>
      verifySignature(new Request(url, { method: 'POST', headers, body }), {
        policy: {
          algorithms: ['ed25519'],
          requiredComponents: components,
          requiredParameters: PARAMETERS,
          maxAge: 60,
          clockSkew: 5,
        },
        resolveVerifier: () => ({
          algorithm: 'ed25519',
          verify: (data, signature) => verify(null, data, publicKey, signature),
        }),
      })
    const headers = await signRequest(signer, sent)
    expect((await check(headers)).parameters).toMatchObject({ keyid: 'key_1', tag: 'latchkey' })
    const other = { ...headers, 'content-digest': 'sha-256=:AAAA:' }
    await expect(check(other)).rejects.toThrow()
  })

  it.each([
    'ed25519',
    'hmac-sha256',
  ] as const)('with %s is verified by http-message-signatures', async (algorithm) => {
    const { generateSigningKey, requestSigner, secretRequestSigner } = await import(
      '../../src/client/index.ts'
    )
    const { privateKey } = await generateSigningKey()
    const [signer, material] =
      algorithm === 'ed25519'
        ? [requestSigner({ keyId: 'key_1', privateKey }), createPublicKey(privateKey)]
        : [
            secretRequestSigner({ keyId: 'key_1', apiKey: 'ck_live_x' }),
            Buffer.from(macKeyOf('ck_live_x')),
          ]
    const check = (headers: Record<string, string>) =>
      httpbis.verifyMessage(
        {
          keyLookup: async () => ({
            id: 'key_1',
            algs: [algorithm],
            verify: createVerifier(material as Parameters<typeof createVerifier>[0], algorithm),
          }),
          requiredFields: components,
          requiredParams: PARAMETERS,
        },
        { method: 'POST', url, headers },
      )
    const headers = await signRequest(signer, sent)
    expect(await check(headers)).toBe(true)
    expect(await check({ ...headers, 'content-digest': 'sha-256=:AAAA:' })).not.toBe(true)
  })
})
