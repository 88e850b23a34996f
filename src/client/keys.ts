import type {
  CreatedKey,
  CreatedSigningKey,
  HeartbeatTaken,
  Key,
  Me,
  RotatedKey,
} from '../keys/key.ts'
import type { Permission } from '../keys/scope.ts'
import type { KeyTerms, LimitTerms, NoteTerms, PublicKey, RuleTerms } from '../keys/terms.ts'
import type { KeyUsage, WalletUsage } from '../usage/usage.ts'
import type { CallOptions, CallPromise } from './call.ts'
import type { PagedList } from './paging.ts'

/** Which keys a list contains. */
export interface KeyFilter {
  /** true: only active and suspended keys; false: only ended ones. By default both. */
  live?: boolean
  /** Keys a request, 1 to 100, the default. */
  limit?: number
}

/** What a grant may set besides a key's name, permissions and end. What is absent does not narrow the key. */
export type NewKeyLimits = {
  [Name in Exclude<
    keyof (Pick<KeyTerms, 'rateLimit'> & LimitTerms & RuleTerms & NoteTerms),
    'publicKey'
  >]?: Exclude<KeyTerms[Name], null>
}

/** What changes of a key. What is absent stays; null lifts a limit. */
export type KeyChange = {
  [Name in keyof NewKeyLimits]?: NewKeyLimits[Name] | null
} & {
  name?: string
  permissions?: readonly Permission[]
  expiresAt?: Date | string | null
  /** In place of the present one, which ends at once. A key with a secret keeps it. */
  publicKey?: PublicKey
  /** null: the secret before the last rotation ends now, and not when its grace does. */
  previousUntil?: null
}

/**
 * A signed message that revokes a key whenever it is sent, until the `notAfter` in it. Keep it apart from the key: its
 * holder can revoke, and nothing else.
 */
export interface RevocationCertificate {
  keyId: string
  /** The JSON text that was signed. */
  message: string
  /** 65 bytes hex. */
  signature: string
  walletAddress: string
}

/** A key to be created. */
export interface NewKey extends NewKeyLimits {
  /** 1-64 characters; no two living keys of a wallet share a name. */
  name: string
  /** What the key may do. With an empty list it can only read what `me` returns. */
  permissions: readonly Permission[]
  /** A Date, or ISO 8601 with a zone. Without it the key lives until it is revoked. */
  expiresAt?: Date | string
}

/** A key to be created whose holder signs requests: it has no secret. */
export interface NewSigningKey extends NewKey {
  publicKey: PublicKey
}

/** Options of `keys.create`. */
export interface CreateKeyOptions extends CallOptions {
  /**
   * Called, and waited for, with the secret before the wallet is asked: what it stored survives the end of the process, and after
   * any failure that has an unknown outcome `me` shows whether the key exists. Where it throws, nothing is signed.
   */
  onSecret?: (apiKey: string) => void | Promise<void>
}

/** Options of `keys.rotate`. */
export interface RotateKeyOptions extends CreateKeyOptions {
  /** Ends the grace of the rotation before. */
  force?: boolean
  /** The new secret, of a rotation with `onSecret` whose outcome is not known. By default a new one. */
  apiKey?: string
}

/** A key that was found again. Of one whose message is no longer fresh, the event and the notes are not known. */
export type RecoveredKey = Omit<CreatedKey, 'auditHead'> & Partial<Pick<CreatedKey, 'auditHead'>>

/**
 * The API keys of the signer's wallet. The wallet signs every call but `me`, `heartbeat`, `deleteSelf` and `useCertificate`; an API key
 * cannot manage keys. A call rejects with `SIGNER_MISSING` where the client has no signer, with `INVALID_ARGUMENT` for a
 * text that is no key id, and with `KEY_NOT_FOUND` for the key of another wallet.
 */
export interface Keys {
  /**
   * Creates a key. `apiKey` in the result is the secret: no later response contains it.
   *
   * The client makes the secret, and the wallet signs its hash. So the same request is repeated after a lost connection or a 503, and
   * creates one key. Where all attempts are lost, {@link recover} and {@link discard} take the error: neither asks the wallet
   * again. Rejects with `KEY_LIMIT_REACHED` when the wallet has as many live keys as the service allows. A service of an
   * earlier release makes the secret itself: there nothing is repeated.
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
  create(
    key: NewKey & { publicKey?: undefined },
    options?: CreateKeyOptions,
  ): CallPromise<CreatedKey>
  /**
   * Creates a key without a secret: its holder signs every request with the private key of `publicKey`. The same request is repeated
   * after a lost connection or a 503, and creates one key.
   *
   * @example
   * ```ts
   * import { createClient, generateSigningKey, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { publicKey } = await generateSigningKey()
   * const { keyId } = await client.keys.create({ name: 'Signs', permissions: ['execute'], publicKey })
   * console.log(keyId)
   * ```
   */
  create(key: NewSigningKey, options?: CreateKeyOptions): CallPromise<CreatedSigningKey>
  /**
   * Resolves with the key that a failed `create` may have created, or whose secret a failed `rotate` may have replaced, secret included. While the signed message is fresh it is sent
   * again, and then the key exists for certain; after that the secret itself shows whether it does. Rejects with
   * `KEY_NOT_CREATED` where it does not, and with `INVALID_ARGUMENT` for an error after which no key can exist. Where it fails
   * for another reason, its own error can be passed again.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { apiKey } = await client.keys
   *   .create({ name: 'Found again', permissions: ['execute'] }, { timeoutMs: 5_000 })
   *   .catch((error) => client.keys.recover(error)) // no second prompt
   * console.log(apiKey.length)
   * ```
   */
  recover(error: unknown, options?: CallOptions): CallPromise<RecoveredKey>
  /**
   * Revokes the key that a failed `create` may have created, and sees to it that none comes of its message later.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const made = await client.keys
   *   .create({ name: 'Now or never', permissions: ['execute'] }, { deadlineMs: 20_000 })
   *   .catch((error) => client.keys.discard(error))
   * console.log('keyId' in made ? made.keyId : made.message)
   * ```
   */
  discard(error: unknown, options?: CallOptions): CallPromise<{ message: string }>
  /**
   * Lists the wallet's keys, newest first, ended ones included. Requests page after page, and resolves with all of them; the
   * wallet signs once for them, and again when its message is no longer fresh. {@link listAll} holds one page at a time.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * for (const { name, status, keyPreview } of await client.keys.list()) console.log(name, status, keyPreview)
   * ```
   */
  list(options?: CallOptions & KeyFilter): CallPromise<Key[]>
  /**
   * Iterates over the wallet's keys, newest first. Requests a page when the one before was consumed, and signs as `list` does.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * for await (const { name, revokedAt } of client.keys.listAll()) console.log(name, revokedAt ?? 'not revoked')
   * ```
   */
  listAll(options?: CallOptions & KeyFilter): PagedList<Key>
  /**
   * Resolves with one key of the wallet, live or ended.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { status, usageStats } = await client.keys.get('key_123abc')
   * console.log(status, usageStats.totalRequests)
   * ```
   */
  get(keyId: string, options?: CallOptions): CallPromise<Key>
  /**
   * Revokes a key, at once and for ever: no process accepts it after this call has resolved. Idempotent, and repeated
   * after a lost connection.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { message } = await client.keys.delete('key_123abc')
   * console.log(message)
   * ```
   */
  delete(keyId: string, options?: CallOptions): CallPromise<{ message: string }>
  /**
   * Changes a live key and resolves with it as it is now. The same message is sent again after a lost connection, and works once.
   * Where the first attempt had taken effect, the key is read, for which a private key signs; a browser wallet is not asked, and the call rejects
   * with `MESSAGE_REPLAYED`. Rejects with `KEY_NOT_LIVE` once the key has ended.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { label, rateLimit } = await client.keys.update('key_123abc', { label: 'host 7', rateLimit: 60, tokens: null })
   * console.log(label, rateLimit)
   * ```
   */
  update(keyId: string, change: KeyChange, options?: CallOptions): CallPromise<Key>
  /**
   * Replaces the secret of a key. Only this result contains the new one. The old secret works for `graceSeconds` more (0
   * to 604800), never beyond the end of the key, and both share one quota. The client makes the new secret, as {@link create} does:
   * the same request is repeated after a lost connection, and {@link recover} finds the secret again. While the grace of an
   * earlier rotation lasts it rejects with `ROTATION_IN_GRACE` and `details.previousUntil`, because the secret that works until
   * then would end at once; `force` ends it.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { apiKey, previousUntil } = await client.keys.rotate('key_123abc', 3_600)
   * console.log(apiKey.length, previousUntil) // both secrets work for an hour
   * ```
   */
  rotate(keyId: string, graceSeconds: number, options?: RotateKeyOptions): CallPromise<RotatedKey>
  /**
   * Suspends a key: every request with it is refused until it is resumed. Repeated as {@link update}.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { status, suspendedAt } = await client.keys.suspend('key_123abc')
   * console.log(status, suspendedAt) // suspended 2026-11-21T12:00:00.000Z
   * ```
   */
  suspend(keyId: string, options?: CallOptions): CallPromise<Key>
  /**
   * Resumes a key that its owner suspended, or a rule of its owner: see `suspendedBy`. Repeated as {@link update}. Rejects with `KEY_NOT_LIVE` where the operator
   * suspended it, or where it has ended.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * await client.keys.suspend('key_123abc')
   * console.log((await client.keys.resume('key_123abc')).status) // active
   * ```
   */
  resume(keyId: string, options?: CallOptions): CallPromise<Key>
  /**
   * Revokes every key and ends every session of the wallet, in one transaction; with `cancelOpenOrders` it cancels the
   * wallet's open orders too. Resolves with the ids of the keys that were live. The same message is sent again after
   * a lost connection: `MESSAGE_REPLAYED` then says that all of it was done.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { keyIds, cancelledOrders } = await client.keys.revokeAll(true)
   * console.log(keyIds.length, cancelledOrders)
   * ```
   */
  revokeAll(
    cancelOpenOrders: boolean,
    options?: CallOptions,
  ): CallPromise<{ keyIds: string[]; cancelledOrders: number }>
  /**
   * Signs a revocation in advance, for a day on which the wallet is not at hand. It is good for `days` (more than 0, at
   * most 366; 365 by default). Nothing is sent but a request for the service's time.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const baseUrl = 'https://dex.example'
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const certificate = await createClient({ baseUrl, signer }).keys.certificate('key_123abc', 90)
   *
   * const { message } = await createClient({ baseUrl }).keys.useCertificate(certificate) // no wallet, no key
   * console.log(message)
   * ```
   */
  certificate(
    keyId: string,
    days?: number,
    options?: CallOptions,
  ): CallPromise<RevocationCertificate>
  /** Sends a revocation that {@link certificate} signed. Needs neither signer nor API key. Repeated after a lost connection. */
  useCertificate(
    certificate: RevocationCertificate,
    options?: CallOptions,
  ): CallPromise<{ message: string }>
  /**
   * Revokes the client's own API key: the one change that a key may make to a key. Repeated after a lost
   * connection.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
   * console.log((await bot.keys.deleteSelf()).message)
   * ```
   */
  deleteSelf(options?: CallOptions): CallPromise<{ message: string }>
  /**
   * Resolves with what the client's own API key may do, and with what is left of its windows and daily amounts.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
   * const { permissions, windows } = await bot.keys.me()
   * console.log(permissions, windows.map(({ name, remaining }) => `${remaining} in this ${name}`))
   * ```
   */
  me(options?: CallOptions): CallPromise<Me>
  /**
   * Sends a sign of life of the client's own API key, for a bot that has nothing else to ask: every request that the gate counts is
   * one. Resolves with what a silence does, and with the time before which the next request has to come. Both are null where the key's
   * owner set no `heartbeat`. Repeated after a lost connection.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
   * const { heartbeat, deadline } = await bot.keys.heartbeat()
   * console.log(heartbeat?.then ?? 'a silence does nothing', deadline)
   * ```
   */
  heartbeat(options?: CallOptions): CallPromise<HeartbeatTaken>
  /**
   * Resolves with how a key was used in the last `days` (1 to 90; 30 by default), by the hour or by the UTC day.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { usage, ips } = await client.keys.usage('key_123abc', { by: 'day', days: 7 })
   * console.log(usage.map(({ start, requests }) => `${start} ${requests}`), ips.length)
   * ```
   */
  usage(
    keyId: string,
    filter?: { by?: 'hour' | 'day'; days?: number },
    options?: CallOptions,
  ): CallPromise<KeyUsage>
  /**
   * Resolves with how all keys of the wallet were used in the last `days` (1 to 90; 30 by default), by the UTC day.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { keys } = await client.keys.usageOfAll({ days: 7 })
   * console.log(keys.map(({ keyId, days }) => `${keyId} was used on ${days.length} days`))
   * ```
   */
  usageOfAll(filter?: { days?: number }, options?: CallOptions): CallPromise<WalletUsage>
}
