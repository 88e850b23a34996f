import type { z } from 'zod'
import type { SignedAction } from '../actions/action.ts'
import { type ActionSchema, SignedBody, SignedHeaders } from '../actions/schemas.ts'
import { takeHeartbeat } from '../alerts/take-heartbeat.ts'
import type { AuditHead } from '../audit/event.ts'
import type { RefusalReason } from '../errors.ts'
import { readQuery } from '../http/body.ts'
import { type AppContext, stateOf, worldOfRequest } from '../http/context.ts'
import { countFailedKey, limitByAddress } from '../http/credentials/address.ts'
import { authenticateFresh, authenticateKey, readNamedSecret } from '../http/credentials/key.ts'
import {
  authenticateReader,
  readSignedBody,
  readSignedBodyOrHeaders,
  SIGNATURE_REFUSALS,
  type Signable,
} from '../http/credentials/wallet.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { readLagging } from '../http/lagging.ts'
import { unwrap } from '../http/problem.ts'
import { respond, respondCreated } from '../http/respond.ts'
import { createKey } from '../keys/create.ts'
import { getKey, listKeys } from '../keys/find.ts'
import { revokeKey, revokeSelf } from '../keys/revoke.ts'
import { rotateKey } from '../keys/rotate.ts'
import * as wire from '../keys/schemas.ts'
import { resumeKey, suspendKey } from '../keys/suspend.ts'
import { TERM_MEMBERS } from '../keys/terms.ts'
import { updateKey } from '../keys/update.ts'
import { type Result, refuse } from '../result.ts'
import { describeSelf } from '../usage/describe-self.ts'
import { findUsage, findWalletUsage } from '../usage/find.ts'
import {
  UsageQuery,
  UsageResponse,
  WalletUsageQuery,
  WalletUsageResponse,
} from '../usage/schemas.ts'
import { revokeAll } from '../wallets/revoke-all.ts'

const CREATE = {
  schema: wire.CreateApiKey,
  example: {
    action: 'create_api_key',
    keyName: 'My Trading Bot',
    permissions: ['create', 'execute', 'cancel'],
  },
}
const LIST = { schema: wire.ListApiKeys, example: { action: 'list_api_keys' } }
const get = (keyId: string) => ({
  schema: wire.GetApiKey,
  example: { action: 'get_api_key', keyId },
})
const remove = (keyId: string) => ({
  schema: wire.DeleteApiKey,
  example: { action: 'delete_api_key', keyId },
})

const update = (keyId: string) => ({
  schema: wire.UpdateApiKey,
  example: { action: 'update_api_key', keyId, permissions: ['execute'], expiresAt: null },
})
const rotate = (keyId: string) => ({
  schema: wire.RotateApiKey,
  example: { action: 'rotate_api_key', keyId, graceSeconds: 3_600 },
})
const suspend = (keyId: string) => ({
  schema: wire.SuspendApiKey,
  example: { action: 'suspend_api_key', keyId },
})
const resume = (keyId: string) => ({
  schema: wire.ResumeApiKey,
  example: { action: 'resume_api_key', keyId },
})
const certificate = (keyId: string, now: number) => ({
  schema: wire.RevokeApiKey,
  example: { action: 'revoke_api_key', keyId, notAfter: now + CERTIFICATE_EXAMPLE_MS },
})
const REVOKE_ALL = {
  schema: wire.RevokeAllApiKeys,
  example: { action: 'revoke_all_api_keys', cancelOpenOrders: true },
}
const CERTIFICATE_EXAMPLE_MS = 365 * 86_400_000

/** Of what protects, which the owner of a suspended wallet may do too. */
const protectionRefusals = [
  ...SIGNATURE_REFUSALS,
  'messageReplayed',
  'auditHeadUnknown',
  'keyNotFound',
  'keyNotLive',
  'bodyTooLarge',
] as const
const changeRefusals = [...protectionRefusals, 'walletSuspended'] as const

/** The members of update_api_key that change something. */
const CHANGES = [...TERM_MEMBERS, 'previousUntil'] as const

export const keyEndpoints: readonly Endpoint[] = [
  {
    method: 'post',
    path: '/api-keys',
    operationId: 'createApiKey',
    summary: 'Create an API key',
    description:
      'The wallet signs a create_api_key message. Only this response contains the secret. A client that makes the secret itself signs its SHA-256 as keyHash and sends it in X-API-Key: it may send the same message again where the response was lost.',
    credentials: ['wallet'],
    headers: wire.OwnSecretHeaders,
    body: { schema: SignedBody },
    messages: [wire.CreateApiKey],
    responses: {
      201: { description: 'The key and its secret', schema: wire.CreatedKeySchema },
      200: {
        description: 'The same, of a message with keyHash that was sent again',
        schema: wire.CreatedKeySchema,
      },
    },
    refusals: [
      ...SIGNATURE_REFUSALS,
      'messageReplayed',
      'auditHeadUnknown',
      'keyNameTaken',
      'secretInUse',
      'keyLimitReached',
      'keyHistoryFull',
      'walletSuspended',
      'bodyTooLarge',
    ],
    async handle(c) {
      limitByAddress(c)
      const action = await readSignedBody(c, CREATE)
      const ownSecret = readNamedSecret(c, action.walletAddress, action.members.keyHash)
      const { key, isRepeated } = unwrap(
        await createKey(worldOfRequest(c), action, stateOf(c).now, ownSecret),
      )
      return isRepeated ? respond(c, key) : respondCreated(c, key, `/api-keys/${key.keyId}`)
    },
  },
  {
    method: 'get',
    path: '/api-keys',
    operationId: 'listApiKeys',
    summary: "List a wallet's API keys",
    description:
      'A page of them, newest first, ended ones included. A cursor is the nextCursor of the page before. Never a secret.',
    credentials: ['wallet', 'session'],
    query: wire.KeyQuery,
    headers: SignedHeaders.partial(),
    messages: [wire.ListApiKeys],
    responses: { 200: { description: 'The keys', schema: wire.KeyListResponse } },
    refusals: [...SIGNATURE_REFUSALS, 'sessionInvalid'],
    async handle(c) {
      const walletAddress = await authenticateReader(c, LIST)
      const filter = unwrap(readQuery(c, wire.KeyQuery))
      const page = await listKeys(stateOf(c).world, walletAddress, filter, stateOf(c).now)
      return respond(c, { status: 'success', ...unwrap(page) })
    },
  },
  {
    method: 'get',
    path: '/me',
    operationId: 'getMe',
    summary: 'What the key that this is sent with may do',
    description: 'So that the host of a bot can refuse a key that is too powerful.',
    credentials: ['key'],
    responses: { 200: { description: 'The key, seen from inside', schema: wire.MeResponse } },
    refusals: ['invalidRequest', 'apiKeyInvalid', 'apiKeyInactive', 'ipNotAllowed'],
    async handle(c) {
      const pass = await authenticateKey(c, undefined)
      return respond(c, await describeSelf(stateOf(c).world, pass, stateOf(c).now))
    },
  },
  {
    method: 'post',
    path: '/heartbeat',
    operationId: 'sendHeartbeat',
    summary: 'A sign of life of the key that this is sent with',
    description:
      'Every request that is counted for a key is one; this is for a bot that has nothing else to ask. What a silence does is the heartbeat of the key.',
    credentials: ['key'],
    responses: {
      200: {
        description: 'Until when the next one has to come',
        schema: wire.HeartbeatTakenResponse,
      },
    },
    refusals: ['invalidRequest', 'apiKeyInvalid', 'apiKeyInactive', 'ipNotAllowed'],
    async handle(c) {
      const pass = await authenticateKey(c, undefined)
      return respond(c, await takeHeartbeat(stateOf(c).world, pass, stateOf(c).now))
    },
  },
  {
    method: 'get',
    path: '/api-keys/{keyId}',
    operationId: 'getApiKey',
    summary: 'Show one API key and its usage',
    credentials: ['wallet', 'session'],
    params: wire.KeyParams,
    headers: SignedHeaders.partial(),
    messages: [wire.GetApiKey],
    responses: { 200: { description: 'The key', schema: wire.KeyResponse } },
    refusals: [...SIGNATURE_REFUSALS, 'sessionInvalid', 'keyNotFound'],
    async handle(c) {
      const keyId = keyIdOf(c)
      const walletAddress = await authenticateReader(c, get(keyId), (signed) =>
        requireSameKey(c, signed),
      )
      const apiKey = unwrap(await getKey(stateOf(c).world, walletAddress, keyId, stateOf(c).now))
      return respond(c, { status: 'success', apiKey })
    },
  },
  {
    method: 'get',
    path: '/api-keys/{keyId}/usage',
    operationId: 'getApiKeyUsage',
    summary: 'How an API key was used: by hour or day, by outcome, from where',
    description:
      'Up to 90 days. Statistics, written every few seconds: a process that is killed loses the last of them. The exact counters are usageStats.',
    credentials: ['wallet', 'session'],
    params: wire.KeyParams,
    query: UsageQuery,
    headers: SignedHeaders.partial(),
    messages: [wire.GetApiKey],
    responses: { 200: { description: 'Its usage', schema: UsageResponse } },
    refusals: [...SIGNATURE_REFUSALS, 'sessionInvalid', 'keyNotFound'],
    mayLag: true,
    async handle(c) {
      const keyId = keyIdOf(c)
      const walletAddress = await authenticateReader(c, get(keyId), (signed) =>
        requireSameKey(c, signed),
      )
      const query = unwrap(readQuery(c, UsageQuery))
      const { world, now } = stateOf(c)
      unwrap(await getKey(world, walletAddress, keyId, now))
      // What this process has counted is written first.
      await world.usage.flush(world.db)
      const { value, headers } = await readLagging(c, (db) =>
        findUsage(db, { keyId, walletAddress }, query, now),
      )
      return respond(c, value, 200, headers)
    },
  },
  {
    method: 'get',
    path: '/usage',
    operationId: 'getUsage',
    summary: "How a wallet's API keys were used, by day",
    description: 'Of all its keys at once, for a list. Statistics, as those of one key.',
    credentials: ['wallet', 'session'],
    query: WalletUsageQuery,
    headers: SignedHeaders.partial(),
    messages: [wire.ListApiKeys],
    responses: { 200: { description: 'Usage by key', schema: WalletUsageResponse } },
    refusals: [...SIGNATURE_REFUSALS, 'sessionInvalid'],
    mayLag: true,
    async handle(c) {
      const walletAddress = await authenticateReader(c, LIST)
      const { days } = unwrap(readQuery(c, WalletUsageQuery))
      const { world, now } = stateOf(c)
      await world.usage.flush(world.db)
      const { value, headers } = await readLagging(c, (db) =>
        findWalletUsage(db, walletAddress, days, now),
      )
      return respond(c, value, 200, headers)
    },
  },
  {
    method: 'post',
    path: '/api-keys/revoke-all',
    operationId: 'revokeAllApiKeys',
    summary: 'Revoke every key and end every session of a wallet, at once',
    description: 'In one transaction; with cancelOpenOrders, its open orders as well.',
    credentials: ['wallet'],
    body: { schema: SignedBody },
    messages: [wire.RevokeAllApiKeys],
    responses: { 200: { description: 'What was revoked', schema: wire.RevokedAllResponse } },
    refusals: [...SIGNATURE_REFUSALS, 'messageReplayed', 'auditHeadUnknown', 'bodyTooLarge'],
    async handle(c) {
      limitByAddress(c)
      const action = await readSignedBody(c, REVOKE_ALL)
      const revoked = unwrap(await revokeAll(worldOfRequest(c), action, stateOf(c).now))
      return respond(c, { status: 'success', ...revoked })
    },
  },
  {
    method: 'delete',
    path: '/api-keys/self',
    operationId: 'revokeSelf',
    summary: 'Revoke the key that this is sent with',
    description:
      'The only management that a key may do. It takes no quota and checks no address, so that any holder of the secret can revoke it.',
    credentials: ['key'],
    responses: { 200: { description: 'The key is revoked', schema: wire.RevokedResponse } },
    refusals: ['invalidRequest', 'apiKeyInvalid', 'apiKeyInactive'],
    async handle(c) {
      const secret = await authenticateFresh(c)
      const revoked = await revokeSelf(worldOfRequest(c), secret, stateOf(c).now)
      if (!revoked.ok) countFailedKey(c)
      return respondRevoked(c, revoked)
    },
  },
  {
    method: 'patch',
    path: '/api-keys/{keyId}',
    operationId: 'updateApiKey',
    summary: 'Change the name, the permissions or the limits of an API key',
    description:
      'Only members that are given change; null lifts a limit, and as previousUntil ends the secret before the last rotation. What has ended stays ended.',
    credentials: ['wallet'],
    params: wire.KeyParams,
    body: { schema: SignedBody },
    messages: [wire.UpdateApiKey],
    responses: { 200: { description: 'The key as it is now', schema: wire.ChangedKeyResponse } },
    refusals: [...changeRefusals, 'keyNameTaken'],
    async handle(c) {
      const action = await signedForKey(c, update)
      if (CHANGES.every((name) => action.members[name] === undefined))
        unwrap(
          refuse('invalidRequest', {
            problem: 'the message changes nothing',
            members: CHANGES,
          }),
        )
      const auditHead = unwrap(await updateKey(worldOfRequest(c), action, stateOf(c).now))
      return respondWithKey(c, action, auditHead)
    },
  },
  {
    method: 'post',
    path: '/api-keys/{keyId}/rotate',
    operationId: 'rotateApiKey',
    summary: 'Give an API key a new secret',
    description:
      'The old one works for graceSeconds more, and never beyond the end of the key. Both are one key, with one quota. A client may make the secret, as that of a new key.',
    credentials: ['wallet'],
    params: wire.KeyParams,
    headers: wire.OwnSecretHeaders,
    body: { schema: SignedBody },
    messages: [wire.RotateApiKey],
    responses: { 200: { description: 'The new secret', schema: wire.RotatedKeySchema } },
    refusals: [...changeRefusals, 'rotationInGrace', 'secretInUse'],
    async handle(c) {
      const action = await signedForKey(c, rotate)
      const ownSecret = readNamedSecret(c, action.walletAddress, action.members.keyHash)
      const rotated = await rotateKey(worldOfRequest(c), action, stateOf(c).now, ownSecret)
      return respond(c, unwrap(rotated))
    },
  },
  {
    method: 'post',
    path: '/api-keys/{keyId}/suspend',
    operationId: 'suspendApiKey',
    summary: 'Refuse an API key everything until it is resumed',
    credentials: ['wallet'],
    params: wire.KeyParams,
    body: { schema: SignedBody },
    messages: [wire.SuspendApiKey],
    responses: { 200: { description: 'The key as it is now', schema: wire.ChangedKeyResponse } },
    refusals: protectionRefusals,
    async handle(c) {
      const action = await signedForKey(c, suspend)
      const auditHead = unwrap(await suspendKey(worldOfRequest(c), action, stateOf(c).now))
      return respondWithKey(c, action, auditHead)
    },
  },
  {
    method: 'post',
    path: '/api-keys/{keyId}/resume',
    operationId: 'resumeApiKey',
    summary: 'Let a suspended API key work again',
    credentials: ['wallet'],
    params: wire.KeyParams,
    body: { schema: SignedBody },
    messages: [wire.ResumeApiKey],
    responses: { 200: { description: 'The key as it is now', schema: wire.ChangedKeyResponse } },
    refusals: changeRefusals,
    async handle(c) {
      const action = await signedForKey(c, resume)
      const auditHead = unwrap(await resumeKey(worldOfRequest(c), action, stateOf(c).now))
      return respondWithKey(c, action, auditHead)
    },
  },
  {
    method: 'post',
    path: '/api-keys/{keyId}/revoke',
    operationId: 'useRevocationCertificate',
    summary: 'Revoke an API key with a certificate that its owner signed and kept',
    description:
      'The message revoke_api_key is valid until its notAfter, at most 366 days after its timestamp. Any holder may send it.',
    credentials: ['wallet'],
    params: wire.KeyParams,
    body: { schema: SignedBody },
    messages: [wire.RevokeApiKey],
    responses: { 200: { description: 'The key is revoked', schema: wire.RevokedResponse } },
    refusals: [...SIGNATURE_REFUSALS, 'keyNotFound', 'messageReplayed', 'bodyTooLarge'],
    async handle(c) {
      const action = await signedForKey(c, (keyId) => certificate(keyId, stateOf(c).now))
      return respondRevoked(c, await revokeKey(worldOfRequest(c), action, stateOf(c).now))
    },
  },
  {
    method: 'delete',
    path: '/api-keys/{keyId}',
    operationId: 'deleteApiKey',
    summary: 'Revoke an API key',
    description:
      'Once this has answered, no process accepts the key again. Without a body, the signed message is read from the headers.',
    credentials: ['wallet'],
    params: wire.KeyParams,
    headers: SignedHeaders.partial(),
    body: { schema: SignedBody, optional: true },
    messages: [wire.DeleteApiKey],
    responses: { 200: { description: 'The key is revoked', schema: wire.RevokedResponse } },
    refusals: [
      ...SIGNATURE_REFUSALS,
      'keyNotFound',
      'messageReplayed',
      'auditHeadUnknown',
      'bodyTooLarge',
    ],
    async handle(c) {
      const action = await signedForKey(c, remove, readSignedBodyOrHeaders)
      return respondRevoked(c, await revokeKey(worldOfRequest(c), action, stateOf(c).now))
    },
  },
]

async function respondWithKey(
  c: AppContext,
  { walletAddress, members }: { walletAddress: string; members: { keyId: string } },
  auditHead: AuditHead,
): Promise<Response> {
  const { world, now } = stateOf(c)
  const apiKey = unwrap(await getKey(world, walletAddress, members.keyId, now))
  return respond(c, { status: 'success', apiKey, auditHead })
}

function respondRevoked(
  c: AppContext,
  revoked: Result<{ name: string; auditHead: AuditHead }, RefusalReason>,
): Response {
  const { name, auditHead } = unwrap(revoked)
  return respond(c, {
    status: 'success',
    message: `API key '${name}' has been revoked`,
    auditHead,
  })
}

/** Text that is not a key id is never echoed: it may be a secret put into the path by mistake. */
function keyIdOf(c: AppContext): string {
  return wire.KeyId.safeParse(c.req.param('keyId')).data ?? ''
}

type KeyMessage = z.ZodType<z.output<ActionSchema> & { keyId: string }>

/** A message that the wallet signed for the key in the path. */
async function signedForKey<Schema extends KeyMessage>(
  c: AppContext,
  signableFor: (keyId: string) => Signable<Schema>,
  read: typeof readSignedBodyOrHeaders = readSignedBody,
): Promise<SignedAction<z.output<Schema>>> {
  limitByAddress(c)
  const action = await read(c, signableFor(keyIdOf(c)))
  requireSameKey(c, action.members)
  return action
}

/** A signature for one key must not act on another. */
function requireSameKey(c: AppContext, signed: { keyId: string }): void {
  if (signed.keyId !== keyIdOf(c))
    unwrap(refuse('invalidRequest', { problem: 'the signed keyId is not the one in the path' }))
}
