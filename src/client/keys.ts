import type { CreatedKey, Key } from '../keys/key.ts'
import type { Scope } from '../keys/scope.ts'
import { LatchkeyError } from './errors.ts'
import type { Transport } from './transport.ts'
import type { Wallet } from './wallet.ts'

export interface CallOptions {
  /** Aborts the call, and any waiting in it: it then throws the signal's reason. */
  signal?: AbortSignal
}

export interface NewKey {
  /** 1-64 characters; no two living keys of a wallet share a name. */
  name: string
  /** What the key may do; an empty list is a key that may do nothing but prove whose it is. */
  permissions: readonly Scope[]
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
}

export function createKeys(transport: Transport, wallet: Wallet): Keys {
  return {
    async create({ name, permissions, expiresAt }, { signal } = {}) {
      const proof = wallet.prove(
        {
          action: 'create_api_key',
          keyName: name,
          permissions,
          ...(expiresAt !== undefined && { expiresAt: writeTime(expiresAt) }),
        },
        'body',
      )
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
