import * as z from 'zod'
import type { Presented, SignedAction } from '../actions/action.ts'
import { type ActionSchema, SignedBody } from '../actions/schemas.ts'
import { verifyAction } from '../actions/verify.ts'
import type { Pass } from '../gate/gate.ts'
import { retryAfterSeconds } from '../gate/quota.ts'
import type { Scope } from '../keys/scope.ts'
import { type KeyHash, parseToken } from '../keys/token.ts'
import { remember } from '../memo.ts'
import { ok, type Result, refuse } from '../result.ts'
import { findSession } from '../sessions/find.ts'
import { SESSION_PREFIX } from '../sessions/session.ts'
import { readBody } from './body.ts'
import type { AppContext } from './context.ts'
import type { IpBucket } from './ip-limits.ts'
import { unwrap } from './problem.ts'

const IpAddress = z.union([z.ipv4(), z.ipv6()])
const MOST_ADDRESSES = 10_000
/** The text if it is an IP address. */
const ipAddress = remember(MOST_ADDRESSES, (text) => IpAddress.safeParse(text).data)

/** Who asks: a bot with a key, or a wallet with a signed message. */
export type Caller<Members> =
  | ({ by: 'key' } & Pass)
  | { by: 'wallet'; walletAddress: string; action: SignedAction<Members> }

/** A signed message's schema, and an example that teaches a caller what to sign. */
export interface Signable<Schema extends ActionSchema> {
  schema: Schema
  example: Record<string, unknown>
}

/** Whether the request presents a key, valid or not. */
export function presentsKey(c: AppContext): boolean {
  return c.req.header('x-api-key') !== undefined || c.req.header('authorization') !== undefined
}

/** Whether the request presents a signed message in its headers, whole or in part. */
export function presentsSignature(c: AppContext): boolean {
  return ['x-message', 'x-signature', 'x-wallet-address'].some(
    (name) => c.req.header(name) !== undefined,
  )
}

/** Lets a request without a key through, counted by its address. */
export function passByAddress(c: AppContext): undefined {
  limitAddress(c, 'keyless')
}

/** Lets a request with a key through: the contract's steps 1 to 6. Brings the order along that the request names. */
export async function passByKey(
  c: AppContext,
  scope: Scope | undefined,
  uuid?: string,
): Promise<Pass> {
  const world = c.get('world')
  const now = c.get('now')
  const clientIp = c.get('clientIp')
  const hash = bareKey(c)
  const answer = await world.gate({
    hash,
    ip: ipAddress(clientIp),
    scope,
    uuid,
    now,
  })
  c.set('keyId', answer.keyId)
  if (answer.ok) c.set('keyEndsAt', answer.value.endsAt)
  if (answer.windows !== undefined) c.set('windows', answer.windows)
  else if (!answer.ok && answer.reason !== 'unavailable') limitAddress(c, 'failedKeys')
  return unwrap(answer)
}

/** The hash of the key that the request presents. A mistyped one ends here; whose it is, is not asked. */
export function bareKey(c: AppContext): KeyHash {
  const world = c.get('world')
  const now = c.get('now')
  const clientIp = c.get('clientIp')
  const failed = world.ipLimits.peek('failedKeys', clientIp, now)
  if (failed.remaining <= 0) limitAddress(c, 'failedKeys')
  const text = presentedKey(c)
  const token = text.ok ? parseToken(world.config.KEY_PREFIX, text.value) : undefined
  if (token === undefined) {
    limitAddress(c, 'failedKeys')
    return unwrap(text.ok ? refuse('apiKeyInvalid') : text)
  }
  return world.hashToken(token)
}

/** Makes guessing slow for whoever sent a key that is not known, or dead. */
export function countFailedKey(c: AppContext): void {
  limitAddress(c, 'failedKeys')
}

/** Whose session the request presents. It reads: no route that changes anything asks for one, but to end it. */
export async function passBySession(c: AppContext): Promise<{ id: string; walletAddress: string }> {
  const world = c.get('world')
  const now = c.get('now')
  const clientIp = c.get('clientIp')
  const failed = world.ipLimits.peek('failedKeys', clientIp, now)
  if (failed.remaining <= 0) limitAddress(c, 'failedKeys')
  const token = parseToken(SESSION_PREFIX, bearerOf(c) ?? '')
  const session =
    token === undefined
      ? refuse('sessionInvalid')
      : await findSession(world, world.hashToken(token), now)
  if (!session.ok) limitAddress(c, 'failedKeys')
  return unwrap(session)
}

export function presentsSession(c: AppContext): boolean {
  return bearerOf(c)?.startsWith(SESSION_PREFIX) === true
}

/** The wallet that wants to read what is its own: by its session, or by a signed message in headers. */
export async function readingOwner<Schema extends ActionSchema>(
  c: AppContext,
  signable: Signable<Schema>,
  isMeant: (members: z.output<Schema>) => void = () => {},
): Promise<string> {
  passByAddress(c)
  if (presentsSession(c)) return (await passBySession(c)).walletAddress
  const { walletAddress, members } = signedHeaders(c, signable)
  isMeant(members)
  return walletAddress
}

/** A signed message in a JSON body. */
export async function signedBody<Schema extends ActionSchema>(
  c: AppContext,
  signable: Signable<Schema>,
  whenMissing: 'signatureMissing' | 'credentialsMissing' = 'signatureMissing',
): Promise<SignedAction<z.output<Schema>>> {
  const body = await readBody(c, SignedBody)
  if (body.ok) return verified(c, body.value, signable)
  if (body.reason === 'bodyTooLarge') return unwrap(body)
  const expected = expectedOf(c, signable)
  return unwrap(
    body.reason === 'bodyMissing'
      ? refuse(whenMissing, { expected })
      : refuse(body.reason, { ...body.details, expected }),
  )
}

/** A signed message in headers, for requests that have no body. */
export function signedHeaders<Schema extends ActionSchema>(
  c: AppContext,
  signable: Signable<Schema>,
): SignedAction<z.output<Schema>> {
  const [message, signature, walletAddress] = [
    c.req.header('x-message'),
    c.req.header('x-signature'),
    c.req.header('x-wallet-address'),
  ]
  if (message === undefined || signature === undefined || walletAddress === undefined)
    return unwrap(
      refuse('signatureMissing', {
        headers: ['X-Message', 'X-Signature', 'X-Wallet-Address'],
        expected: expectedOf(c, signable),
      }),
    )
  return verified(
    c,
    { message, signature, walletAddress, publicKey: c.req.header('x-public-key') },
    signable,
  )
}

/** A key with the scope, or else a message that the wallet signed. */
export async function keyOrSignedBody<Schema extends ActionSchema>(
  c: AppContext,
  scope: Scope,
  signable: Signable<Schema>,
  uuid?: string,
): Promise<Caller<z.output<Schema>>> {
  if (presentsKey(c)) return { by: 'key', ...(await passByKey(c, scope, uuid)) }
  passByAddress(c)
  const action = await signedBody(c, signable, 'credentialsMissing')
  return { by: 'wallet', walletAddress: action.walletAddress, action }
}

export function verified<Schema extends ActionSchema>(
  c: AppContext,
  presented: Presented,
  signable: Signable<Schema>,
): SignedAction<z.output<Schema>> {
  const world = c.get('world')
  const now = c.get('now')
  const policy = { ...world, example: expectedOf(c, signable) }
  return unwrap(verifyAction(presented, signable.schema, policy, now))
}

/** What to sign, as it would be right at this moment. */
function expectedOf(c: AppContext, { example }: Signable<ActionSchema>): Record<string, unknown> {
  return { ...example, timestamp: c.get('now') }
}

function presentedKey(c: AppContext): Result<string, 'invalidRequest' | 'apiKeyInvalid'> {
  const header = c.req.header('x-api-key')
  const bearer = bearerOf(c)
  if (header !== undefined && bearer !== undefined && header !== bearer)
    return refuse('invalidRequest', { problem: 'X-API-Key and Authorization carry different keys' })
  const key = header ?? bearer
  return key === undefined ? refuse('apiKeyInvalid') : ok(key)
}

function bearerOf(c: AppContext): string | undefined {
  return /^Bearer +(\S+)$/i.exec(c.req.header('authorization') ?? '')?.[1]
}

/** Counts the request by its address; one too many ends it. */
function limitAddress(c: AppContext, bucket: IpBucket): void {
  const window = c.get('world').ipLimits.take(bucket, c.get('clientIp'), c.get('now'))
  const windows = [{ ...window, remaining: Math.max(0, window.remaining) }]
  c.set('windows', windows)
  if (window.remaining < 0)
    unwrap(refuse('rateLimited', { retryAfterSeconds: retryAfterSeconds(windows, c.get('now')) }))
}
