import type { CreatedKey, Key, Me, RotatedKey } from '../keys/key.ts'
import type { Permission } from '../keys/scope.ts'
import type { KeyTerms, LimitTerms, NoteTerms } from '../keys/terms.ts'
import type { KeyUsage } from '../usage/usage.ts'
import { LatchkeyError } from './errors.ts'
import type { ActionMembers } from './message.ts'
import type { Transport } from './transport.ts'
import type { Wallet } from './wallet.ts'

export interface CallOptions {
  /** Aborts the call, and any waiting in it: it then throws the signal's reason. */
  signal?: AbortSignal
}

/** What a grant may say of a key besides its name, its permissions and its end. What is absent does not narrow the key. */
export type NewKeyLimits = {
  [Name in keyof (Pick<KeyTerms, 'rateLimit'> & LimitTerms & NoteTerms)]?: Exclude<
    KeyTerms[Name],
    null
  >
}

/** What changes of a key. What is absent stays; null lifts a limit. */
export type KeyChange = {
  [Name in keyof NewKeyLimits]?: NewKeyLimits[Name] | null
} & { name?: string; permissions?: readonly Permission[]; expiresAt?: Date | string | null }

/** A message that revokes a key whenever it is sent, until `notAfter`: to be kept where the key is not. */
export interface RevocationCertificate {
  keyId: string
  message: string
  signature: string
  walletAddress: string
}

export interface NewKey extends NewKeyLimits {
  /** 1-64 characters; no two living keys of a wallet share a name. */
  name: string
  /** What the key may do; an empty list is a key that may do nothing but prove whose it is. */
  permissions: readonly Permission[]
  /** A Date, or ISO 8601 with a zone. Without it the key lives until it is revoked. */
  expiresAt?: Date | string
}

/** The API keys of the signer's wallet. Every call is signed by the wallet; a key cannot manage keys. */
export interface Keys {
  /**
   * Creates a key. `apiKey` in the answer is the secret: no other answer, ever, holds it.
   *
   * Not repeated after a 503. When the answer was lost, the name tells: `DUPLICATE_KEY_NAME` means that the key exists,
   * and that its secret is gone; revoke it and create another.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { apiKey, keyId } = await client.keys.create({
   *   name: 'My Trading Bot',
   *   permissions: ['create', 'execute', 'cancel'],
   *   expiresAt: new Date(Date.now() + 30 * 86_400_000),
   * })
   * console.log(apiKey.length, keyId) // hand apiKey to the bot: it is shown this once
   * ```
   */
  create(key: NewKey, options?: CallOptions): Promise<CreatedKey>
  /** Lists the wallet's keys, newest first, revoked ones included. */
  list(options?: CallOptions): Promise<Key[]>
  get(keyId: string, options?: CallOptions): Promise<Key>
  /** Revokes a key, at once and for ever. Revoking it again answers the same. */
  delete(keyId: string, options?: CallOptions): Promise<{ message: string }>
  /** Changes a live key; answers it as it is now. */
  update(keyId: string, change: KeyChange, options?: CallOptions): Promise<Key>
  /**
   * Gives a key a new secret, which only this answer holds. The old one works for `graceSeconds` more (0 to 604800), and
   * never beyond the end of the key; both are one key with one quota. Not repeated after a 503.
   */
  rotate(keyId: string, graceSeconds: number, options?: CallOptions): Promise<RotatedKey>
  /** Refuses a key everything until it is resumed. */
  suspend(keyId: string, options?: CallOptions): Promise<Key>
  resume(keyId: string, options?: CallOptions): Promise<Key>
  /** Revokes every key and ends every session of the wallet, at once; with `cancelOpenOrders`, its open orders too. */
  revokeAll(
    cancelOpenOrders: boolean,
    options?: CallOptions,
  ): Promise<{ keyIds: string[]; cancelledOrders: number }>
  /** Signs a revocation to be kept for the day on which the wallet is not at hand: good for `days`, at most 366. */
  certificate(keyId: string, days?: number): Promise<RevocationCertificate>
  /** Sends such a revocation. It needs no wallet: whoever has it may send it. */
  useCertificate(
    certificate: RevocationCertificate,
    options?: CallOptions,
  ): Promise<{ message: string }>
  /** Revokes the key that the client itself uses. The one thing that a key may do to a key. */
  deleteSelf(options?: CallOptions): Promise<{ message: string }>
  /** Asks what the client's own key may do, and what is left of it. */
  me(options?: CallOptions): Promise<Me>
  /** How a key was used in the last `days` (1 to 90; 30 by default), by the hour or by the UTC day. */
  usage(
    keyId: string,
    filter?: { by?: 'hour' | 'day'; days?: number },
    options?: CallOptions,
  ): Promise<KeyUsage>
}

export function createKeys(transport: Transport, wallet: Wallet): Keys {
  /** A signed act on one key. Not repeated: a second message would be another act. */
  function act<T>(
    method: 'POST' | 'PATCH',
    path: string,
    members: ActionMembers,
    { signal }: CallOptions = {},
  ): Promise<T> {
    return transport.send<T>({ method, path, proof: wallet.prove(members, 'body'), signal })
  }

  return {
    async update(keyId, { name, expiresAt, ...limits }, options) {
      const members = {
        action: 'update_api_key' as const,
        keyId,
        ...(name !== undefined && { keyName: name }),
        ...(expiresAt !== undefined && { expiresAt: expiresAt && writeTime(expiresAt) }),
        ...limits,
      }
      requireNumbers(limits)
      return (await act<{ apiKey: Key }>('PATCH', keyPath(keyId), members, options)).apiKey
    },
    rotate: (keyId, graceSeconds, options) =>
      act(
        'POST',
        `${keyPath(keyId)}/rotate`,
        { action: 'rotate_api_key', keyId, graceSeconds },
        options,
      ),
    async suspend(keyId, options) {
      const members = { action: 'suspend_api_key' as const, keyId }
      return (await act<{ apiKey: Key }>('POST', `${keyPath(keyId)}/suspend`, members, options))
        .apiKey
    },
    async resume(keyId, options) {
      const members = { action: 'resume_api_key' as const, keyId }
      return (await act<{ apiKey: Key }>('POST', `${keyPath(keyId)}/resume`, members, options))
        .apiKey
    },
    async revokeAll(cancelOpenOrders, options) {
      const members = { action: 'revoke_all_api_keys' as const, cancelOpenOrders }
      const { keyIds, cancelledOrders } = await act<{ keyIds: string[]; cancelledOrders: number }>(
        'POST',
        '/api-keys/revoke-all',
        members,
        options,
      )
      return { keyIds, cancelledOrders }
    },
    async certificate(keyId, days = 365) {
      keyPath(keyId)
      if (!(days > 0 && days <= 366))
        throw new LatchkeyError('INVALID_ARGUMENT', 'A certificate is good for at most 366 days')
      const notAfter = (await wallet.time()).getTime() + days * 86_400_000
      const signed = await wallet
        .prove({ action: 'revoke_api_key', keyId, notAfter }, 'body')
        .sign()
      const { message, signature, walletAddress } = signed
      return { keyId, message, signature, walletAddress }
    },
    async useCertificate({ keyId, ...body }, { signal } = {}) {
      const path = `${keyPath(keyId)}/revoke`
      const { message } = await transport.send<{ message: string }>({
        method: 'POST',
        path,
        body,
        signal,
      })
      return { message }
    },
    async deleteSelf({ signal } = {}) {
      const { message } = await transport.send<{ message: string }>({
        method: 'DELETE',
        path: '/api-keys/self',
        apiKey: true,
        signal,
      })
      return { message }
    },
    me: ({ signal } = {}) =>
      transport.send<Me>({ method: 'GET', path: '/me', apiKey: true, repeatable: true, signal }),
    usage: (keyId, filter = {}, { signal } = {}) =>
      transport.send<KeyUsage>({
        method: 'GET',
        path: `${keyPath(keyId)}/usage`,
        query: { ...filter },
        proof: wallet.prove({ action: 'get_api_key', keyId }, 'headers'),
        repeatable: true,
        signal,
      }),
    async create({ name, permissions, expiresAt, ...limits }, { signal } = {}) {
      const members = {
        action: 'create_api_key' as const,
        keyName: name,
        permissions,
        ...(expiresAt !== undefined && { expiresAt: writeTime(expiresAt) }),
        ...limits,
      }
      requireNumbers(limits)
      const proof = wallet.prove(members, 'body')
      return transport.send<CreatedKey>({ method: 'POST', path: '/api-keys', proof, signal })
    },
    async list({ signal } = {}) {
      const proof = wallet.prove({ action: 'list_api_keys' }, 'headers')
      const { apiKeys } = await transport.send<{ apiKeys: Key[] }>({
        method: 'GET',
        path: '/api-keys',
        proof,
        repeatable: true,
        signal,
      })
      return apiKeys
    },
    async get(keyId, { signal } = {}) {
      const path = keyPath(keyId)
      const proof = wallet.prove({ action: 'get_api_key', keyId }, 'headers')
      const { apiKey } = await transport.send<{ apiKey: Key }>({
        method: 'GET',
        path,
        proof,
        repeatable: true,
        signal,
      })
      return apiKey
    },
    async delete(keyId, { signal } = {}) {
      const path = keyPath(keyId)
      const proof = wallet.prove({ action: 'delete_api_key', keyId }, 'body')
      const { message } = await transport.send<{ message: string }>({
        method: 'DELETE',
        path,
        proof,
        repeatable: true,
        signal,
      })
      return { message }
    },
  }
}

// An API key in a URL would end in logs on the way.
function keyPath(keyId: string): string {
  if (/^key_[0-9A-Za-z]{1,40}$/.test(keyId)) return `/api-keys/${keyId}`
  throw new LatchkeyError('INVALID_ARGUMENT', 'A key id looks like key_123abc; it is not the key')
}

function writeTime(time: Date | string): string {
  return typeof time === 'string' ? time : time.toISOString()
}

/** Throws on NaN and infinity, which JSON writes as null: in a change, null lifts the limit that the number should set. */
function requireNumbers(limits: object): void {
  for (const [name, value] of Object.entries(limits))
    if (typeof value === 'number' && !Number.isFinite(value))
      throw new LatchkeyError('INVALID_ARGUMENT', `${name} is no number`)
}
