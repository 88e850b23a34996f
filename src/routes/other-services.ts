import type * as z from 'zod'
import { REFUSALS, type RefusalReason } from '../errors.ts'
import { recordSuccess } from '../gate/counters.ts'
import type { Window } from '../gate/windows.ts'
import { readBody, readQuery } from '../http/body.ts'
import { type AppContext, stateOf, worldOfRequest } from '../http/context.ts'
import { authenticateKey, oneOfTwoSecrets, presentedSecretOf } from '../http/credentials/key.ts'
import { authenticateService, requireScopeOf } from '../http/credentials/service.ts'
import { verifyToldRequest } from '../http/credentials/signature.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { readForwarded } from '../http/forwarded.ts'
import { errorBody, refusalHeaders, unwrap } from '../http/problem.ts'
import { headersOfLimits, respond } from '../http/respond.ts'
import type { PresentedSecret } from '../keys/secret.ts'
import { presentLimits } from '../keys/terms.ts'
import { ok, type Refused, type Result, refuse } from '../result.ts'
import type { CallingService } from '../service-credentials/credential.ts'
import {
  ForwardAuthHeaders,
  ForwardAuthQuery,
  ForwardAuthResponse,
  KeyVerdictSchema,
  VerifyKeyBody,
} from '../service-credentials/schemas.ts'
import type { KeyVerdict } from '../service-credentials/verdict.ts'
import { caip10 } from '../stacks/address.ts'
import { canonicalAddress, UNKNOWN_ADDRESS } from '../wire/ip.ts'

type Question = z.output<typeof VerifyKeyBody>

const forwardAuth = (method: 'get' | 'post'): Endpoint => ({
  method,
  path: '/auth/forward',
  operationId: method === 'get' ? 'forwardAuth' : 'forwardAuthByPost',
  summary: 'Decide about a request to another service, for the proxy in front of it',
  description:
    'For auth_request of nginx, forward_auth of Caddy, forwardAuth of Traefik and ext_authz of Envoy. The proxy passes on what its client sent as X-API-Key or Authorization, sets X-Service-Credential itself, and has scope and cost in the address that its configuration names. The address of the client is that of X-Forwarded-For, from trusted proxies. A success names the key in X-Auth-Principal, X-Auth-Key-Id and X-Auth-Scopes; a refusal has its body in X-Auth-Refusal too.',
  credentials: ['service'],
  query: ForwardAuthQuery,
  headers: ForwardAuthHeaders,
  responses: { 200: { description: 'The key may pass', schema: ForwardAuthResponse } },
  responseHeaders: {
    'X-Auth-Principal': 'The wallet of the key: CAIP-10',
    'X-Auth-Key-Id': 'The id of the key',
    'X-Auth-Scopes': 'What the key may do, separated by spaces',
  },
  refusals: [
    'invalidRequest',
    'serviceCredentialInvalid',
    'serviceScopeDenied',
    'apiKeyInvalid',
    'apiKeyInactive',
    'ipNotAllowed',
    'permissionDenied',
    'requestSignatureRequired',
    'requestSignatureIncomplete',
    'requestSignatureInvalid',
    'requestSignatureExpired',
    'requestReplayed',
  ],
  async handle(c) {
    stateOf(c).isForwardAuth = true
    const service = await authenticateService(c)
    const { scope, cost } = unwrap(readQuery(c, ForwardAuthQuery))
    requireScopeOf(service, scope)
    const { keyId, walletAddress, rights } = await authenticateKey(c, scope, { cost })
    const world = worldOfRequest(c)
    await recordSuccess(world.db, { keyId, walletAddress }, cost)
    const { method: sent, path } = readForwarded(c) ?? {}
    logUse(c, service, { keyId, resource: sent && `${sent} ${path}` })
    const { permissions } = rights
    const principal = caip10(walletAddress, world.config.STACKS_NETWORK)
    const body = { status: 'success', keyId, walletAddress, principal, permissions }
    return respond(c, body, 200, {
      'X-Auth-Principal': principal,
      'X-Auth-Key-Id': keyId,
      'X-Auth-Scopes': permissions.join(' '),
    })
  },
})

export const otherServiceEndpoints: readonly Endpoint[] = [
  {
    method: 'post',
    path: '/keys/verify',
    operationId: 'verifyKey',
    summary: 'Decide about a key that was presented to another service',
    description:
      'Admits and counts a request with the key as if it had come here: the same limits, by the same statement. A key that may not is a 200 with valid: false and what to tell the client; anything else than 200 says nothing of the key, and the backend must refuse.',
    credentials: ['service'],
    body: { schema: VerifyKeyBody },
    responses: { 200: { description: 'The decision', schema: KeyVerdictSchema } },
    refusals: [
      'invalidRequest',
      'bodyMissing',
      'bodyTooLarge',
      'serviceCredentialInvalid',
      'serviceScopeDenied',
    ],
    async handle(c) {
      const service = await authenticateService(c)
      const question = unwrap(await readBody(c, VerifyKeyBody))
      requireScopeOf(service, question.scope)
      return respond(c, await verdictOf(c, service, question))
    },
  },
  forwardAuth('get'),
  forwardAuth('post'),
]

/** Decides about a presented key. An outage decides nothing, and is refused as one. */
async function verdictOf(
  c: AppContext,
  service: CallingService,
  question: Question,
): Promise<KeyVerdict> {
  const { world } = stateOf(c)
  const ip = question.ip === undefined ? undefined : canonicalAddress(question.ip)
  const shown = await presentedBy(c, question)
  if (!shown.ok) return refusedKey(c, shown, stateOf(c).now)
  const presented = shown.value
  const decision = await world.gate({
    ...presented,
    ip,
    scope: question.scope,
    cost: question.cost,
  })
  if (!decision.ok && decision.reason === 'unavailable') return unwrap(decision)
  const { keyId, shard, at = stateOf(c).now } = decision
  if (keyId !== undefined && shard !== undefined)
    world.usage.record({
      keyId,
      shard,
      at,
      outcome: decision.ok ? 'OK' : REFUSALS[decision.reason].code,
      ip: ip ?? UNKNOWN_ADDRESS,
      userAgent: undefined,
      secret: decision.ok ? oneOfTwoSecrets(decision.value, presented, at) : undefined,
    })
  logUse(c, service, { keyId, resource: question.resource })
  if (!decision.ok) return refusedKey(c, decision, at)
  const { walletAddress, rights, windows, endsAt } = decision.value
  await recordSuccess(world.db, decision.value, question.cost)
  const headed = { requestId: stateOf(c).requestId, now: at, keyEndsAt: endsAt }
  const { 'Cache-Control': _, ...headers } = headersOfLimits(headed, windows)
  return {
    valid: true,
    code: 'OK',
    keyId: decision.value.keyId,
    walletAddress,
    principal: caip10(walletAddress, world.config.STACKS_NETWORK),
    name: rights.name,
    permissions: rights.permissions,
    limits: presentLimits(rights),
    rateLimit: rights.rateLimit ?? world.config.RATE_LIMIT_PER_MINUTE,
    windows,
    expiresAt: endsAt === undefined ? null : new Date(endsAt).toISOString(),
    headers,
  }
}

/** What leads to the key that was presented to another service: a secret whose form was checked, or a signature that was verified. */
async function presentedBy(
  c: AppContext,
  { apiKey, request }: Question,
): Promise<Result<PresentedSecret, RefusalReason>> {
  if (request !== undefined) return verifyToldRequest(c, request)
  const presented = apiKey === undefined ? undefined : presentedSecretOf(c, apiKey)
  return presented === undefined ? refuse('apiKeyInvalid') : ok(presented)
}

function refusedKey(
  c: AppContext,
  {
    reason,
    details,
    keyId,
    windows,
  }: Refused<RefusalReason> & { keyId?: string; windows?: Window[] },
  at: number,
): KeyVerdict {
  const { status } = REFUSALS[reason]
  const { requestId } = stateOf(c)
  const limits =
    windows === undefined
      ? { 'Cache-Control': 'no-store', 'X-Request-Id': requestId }
      : headersOfLimits({ requestId, now: at, keyEndsAt: undefined }, windows)
  return {
    valid: false,
    httpStatus: status,
    ...errorBody(reason, details, { at, requestId }),
    ...(keyId !== undefined && { keyId }),
    ...(windows !== undefined && { windows }),
    headers: { ...limits, ...refusalHeaders(reason, status, details) },
  }
}

function logUse(
  c: AppContext,
  { credentialId }: CallingService,
  { keyId, resource }: { keyId: string | undefined; resource: string | undefined },
): void {
  worldOfRequest(c).log('debug', 'key_verified', { credentialId, keyId, resource })
}
