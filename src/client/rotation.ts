import type { RotatedKey } from '../keys/key.ts'
import type { RotationUse } from '../usage/usage.ts'
import type { Client } from './client.ts'
import { type Clock, systemClock } from './clock.ts'
import { LatchkeyError } from './errors.ts'

/** What a rotation has to know after the end of its process. It holds a secret. */
export interface RotationState {
  /** When a secret was last handed over, in milliseconds since 1970. */
  rotatedAt?: number
  /** A new secret that was asked for, and not handed over yet. */
  pending?: string
}

/** Where a rotation keeps its state, as in a file that only its owner can read. */
export interface RotationStore {
  read(): RotationState | undefined | Promise<RotationState | undefined>
  /** What it has stored must survive the end of the process. */
  write(state: RotationState): void | Promise<void>
}

/** Options of {@link rotateSecret}. */
export interface RotationOptions {
  /** A client whose signer is the wallet of the key. Its reads are signed too: a private key is meant, and no browser wallet. */
  client: Pick<Client, 'keys'>
  keyId: string
  store: RotationStore
  /** Gives the new secret to the program that uses the key. Where it rejects, the next call hands the same secret over again. */
  handOver(apiKey: string): void | Promise<void>
  /** How long the old secret goes on working where the new one is not seen in use: 86,400 by default. */
  graceSeconds?: number
  /** How long to wait until the new secret was used and the old one is silent: 120,000 by default; 0 does not wait. */
  waitMs?: number
  /** How long the old secret has to be silent before it is ended: 15,000 by default. A service writes statistics every 5 seconds. */
  quietMs?: number
  signal?: AbortSignal
  /** Replaces the system's clock and timers; for tests. */
  clock?: Clock
}

/** What became of a rotation. */
export interface Rotation {
  keyId: string
  apiKey: string
  /** When the old secret ends; absent once it has. */
  previousUntil?: string
}

/** Options of {@link keepRotating}. */
export interface KeepRotatingOptions extends RotationOptions {
  /** How old a secret may become. */
  everyMs: number
  /** Where the key's own end is nearer than this, it is put off to so far from now. By default it is left as it is. */
  renewMs?: number
  onRotation?(rotation: Rotation): void
  /** Called with the error of an attempt. The next one comes within an hour. */
  onError?(error: unknown): void
  /** Ends it. */
  signal: AbortSignal
}

const GRACE_SECONDS = 86_400
const WAIT_MS = 120_000
const QUIET_MS = 15_000
const POLL_MS = 2_000
const LONGEST_REST_MS = 3_600_000
/** A key's end is put off when less than this part of `renewMs` is left. */
const RENEWED_AT = 0.5

/**
 * Replaces the secret of a key without a moment at which neither works: the new one is stored before the wallet signs for it, handed
 * over, and seen in use before the old one is ended. A process that was killed at any point goes on with the next call. Where the new
 * secret is not used within `waitMs`, or the old one still is, the old one works until its grace ends.
 *
 * @example
 * ```ts
 * import { createClient, privateKeySigner, rotateSecret, type RotationState } from 'latchkey/client'
 *
 * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
 * const client = createClient({ baseUrl: 'https://dex.example', signer })
 * let bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
 * let state: RotationState | undefined // in a file, for a program that ends
 * const { previousUntil } = await rotateSecret({
 *   client,
 *   keyId: (await bot.keys.me()).keyId,
 *   store: { read: () => state, write: (next) => { state = next } },
 *   handOver: (apiKey) => { bot = createClient({ baseUrl: 'https://dex.example', apiKey }) },
 *   waitMs: 0,
 * })
 * console.log(previousUntil) // a day from now
 * ```
 */
export async function rotateSecret(options: RotationOptions): Promise<Rotation> {
  const { keyId, store, handOver, clock = systemClock } = options
  const apiKey = await takeSecret(options)
  await handOver(apiKey)
  await store.write({ rotatedAt: clock.now() })
  const use = await untilUsed(options)
  if (use === undefined) return { keyId, apiKey }
  const { previousUntil } = use
  return { keyId, apiKey, ...(previousUntil !== undefined && { previousUntil }) }
}

/** Asks for the new secret, or for the one that an earlier process asked for. Resolves once the key has it. */
async function takeSecret({
  client,
  keyId,
  store,
  graceSeconds = GRACE_SECONDS,
  signal,
}: RotationOptions): Promise<string> {
  const { pending, ...state } = (await store.read()) ?? {}
  const onSecret = (apiKey: string) => store.write({ ...state, pending: apiKey })
  const rotate = async (apiKey?: string): Promise<RotatedKey> =>
    client.keys.rotate(keyId, graceSeconds, {
      onSecret,
      ...(apiKey !== undefined && { apiKey }),
      ...(signal && { signal }),
    })
  if (pending === undefined) return (await rotate()).apiKey
  try {
    return (await rotate(pending)).apiKey
  } catch (error) {
    // Only this rotation knows the secret: the request that an earlier process sent has taken effect.
    if (error instanceof LatchkeyError && error.code === 'SECRET_IN_USE') return pending
    throw error
  }
}

/** Ends the old secret once the new one was used and the old one is silent. Resolves with what is left of the grace; undefined for none. */
async function untilUsed({
  client,
  keyId,
  waitMs = WAIT_MS,
  quietMs = QUIET_MS,
  signal = new AbortController().signal,
  clock = systemClock,
}: RotationOptions): Promise<Partial<RotationUse> | undefined> {
  const call = { signal }
  const endsAt = clock.now() + waitMs
  let quiet: { lastUse: string | undefined; since: number } | undefined
  for (;;) {
    const { rotation } = await client.keys.usage(keyId, { days: 1 }, call)
    if (rotation === undefined) return undefined
    const { newSecretUsedAt, previousSecretUsedAt: lastUse } = rotation
    const now = clock.now()
    // By what changes between two looks, and not by times: the clocks of the service and of this process may differ.
    if (newSecretUsedAt === undefined) quiet = undefined
    else if (quiet === undefined || quiet.lastUse !== lastUse) quiet = { lastUse, since: now }
    if (quiet !== undefined && now - quiet.since >= quietMs) {
      await client.keys.update(keyId, { previousUntil: null }, call)
      return undefined
    }
    if (now >= endsAt) return rotation
    await clock.wait(Math.min(POLL_MS, endsAt - now), signal)
  }
}

/**
 * Rotates the secret of a key whenever it is older than `everyMs`, until the signal aborts: for a program that runs for long. The age
 * is that of the last rotation in the store, else that of the key. With `renewMs` it also puts the key's end off, so that a key can
 * have an end that comes soon after its program has gone.
 *
 * @example
 * ```ts
 * import { createClient, keepRotating, privateKeySigner, type RotationState } from 'latchkey/client'
 *
 * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
 * const client = createClient({ baseUrl: 'https://dex.example', signer })
 * let bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
 * let state: RotationState | undefined // in a file, for a program that ends
 * const stop = new AbortController()
 * const rotating = keepRotating({
 *   client,
 *   keyId: (await bot.keys.me()).keyId,
 *   everyMs: 30 * 86_400_000,
 *   store: { read: () => state, write: (next) => { state = next } },
 *   handOver: (apiKey) => { bot = createClient({ baseUrl: 'https://dex.example', apiKey }) },
 *   onError: (error) => console.error(error),
 *   signal: stop.signal,
 * })
 * stop.abort() // when the program ends
 * await rotating
 * console.log('rotated', state === undefined ? 'never' : 'at least once')
 * ```
 */
export async function keepRotating(options: KeepRotatingOptions): Promise<void> {
  const { everyMs, onRotation, onError, signal, clock = systemClock } = options
  while (!signal.aborted) {
    let restMs = Math.min(LONGEST_REST_MS, everyMs)
    try {
      const dueMs = await dueInMs(options)
      if (dueMs <= 0) onRotation?.(await rotateSecret(options))
      else restMs = Math.min(restMs, dueMs)
      await renew(options)
    } catch (error) {
      if (signal.aborted) return
      onError?.(error)
    }
    await clock.wait(restMs, signal).catch(() => {})
  }
}

/** How long until the secret is as old as it may become. One that was asked for and not handed over is due. */
async function dueInMs({
  client,
  keyId,
  store,
  everyMs,
  signal,
  clock = systemClock,
}: KeepRotatingOptions): Promise<number> {
  const { rotatedAt, pending } = (await store.read()) ?? {}
  if (pending !== undefined) return 0
  const since = rotatedAt ?? Date.parse((await client.keys.get(keyId, { signal })).createdAt)
  return since + everyMs - clock.now()
}

async function renew({
  client,
  keyId,
  renewMs,
  signal,
  clock = systemClock,
}: KeepRotatingOptions): Promise<void> {
  if (renewMs === undefined) return
  const { expiresAt } = await client.keys.get(keyId, { signal })
  if (expiresAt === undefined || Date.parse(expiresAt) - clock.now() > renewMs * RENEWED_AT) return
  await client.keys.update(keyId, { expiresAt: new Date(clock.now() + renewMs) }, { signal })
}
