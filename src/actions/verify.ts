import type { z } from 'zod'
import { sha256 } from '../crypto/bytes.ts'
import type { Config } from '../env.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { Recover } from '../stacks/recover.ts'
import { verifyMessage } from '../stacks/signature.ts'
import { issuesOf } from '../wire/issues.ts'
import { type JsonReason, parseJson } from '../wire/json.ts'
import {
  lastFreshMs,
  MAX_MESSAGE_BYTES,
  messageFreshness,
  type PresentedMessage,
  type SignedAction,
} from './action.ts'
import type { ActionSchema } from './schemas.ts'

export type VerifyReason = 'invalidRequest' | 'timestampExpired' | 'signatureInvalid'

interface Policy {
  config: Pick<
    Config,
    'STACKS_NETWORK' | 'SIGNED_DOMAIN' | 'REQUIRE_SIGNED_DOMAIN' | 'SIGNATURE_MAX_AGE_SECONDS'
  >
  recover: Recover
  /** What should have been signed, for the refusal. */
  example: Record<string, unknown>
}

const JSON_FAULTS: Record<JsonReason, string> = {
  notJson: 'is not JSON',
  duplicateMember: 'has a member twice',
  loneSurrogate: 'is not well-formed Unicode',
  tooDeep: 'is nested too deeply',
  tooManyValues: 'has too many values',
}

/** Verifies a presented message, the cheap checks first: size, shape, freshness, addressee, and last the signature. */
export function verifyAction<Schema extends ActionSchema>(
  presented: PresentedMessage,
  schema: Schema,
  { config, recover, example }: Policy,
  now: number,
): Result<SignedAction<z.output<Schema>>, VerifyReason> {
  const { message, signature, walletAddress, publicKey } = presented
  const read = readMembers(message, schema)
  if (!read.ok) return refuse('invalidRequest', { expected: example, ...read.details })
  const members = read.value
  const freshness = messageFreshness(members, now, config.SIGNATURE_MAX_AGE_SECONDS)
  if (freshness !== 'fresh')
    return refuse('timestampExpired', {
      reason: freshness,
      timestamp: members.timestamp,
      serverTime: now,
    })
  const addressed = checkAddressee(members, walletAddress, config)
  if (!addressed.ok) return addressed

  const proof = verifyMessage({
    message,
    signature,
    walletAddress,
    network: config.STACKS_NETWORK,
    recover,
    ...(publicKey !== undefined && { publicKey }),
  })
  if (!proof.ok) return refuse('signatureInvalid', { reason: proof.reason, ...proof.details })
  return ok({
    action: members.action,
    members,
    walletAddress,
    message,
    messageHash: sha256(message),
    lastFresh: lastFreshMs(members),
    signature,
    publicKey: proof.value.publicKey,
  })
}

function readMembers<Schema extends ActionSchema>(
  message: string,
  schema: Schema,
): Result<z.output<Schema>, 'invalidRequest'> {
  const invalid = (problem: string, more?: object) =>
    refuse('invalidRequest', { problem: `message ${problem}`, ...more })
  // A text has at least as many UTF-8 bytes as UTF-16 units: a huge one is refused before it is encoded.
  const isTooLong =
    message.length > MAX_MESSAGE_BYTES ||
    new TextEncoder().encode(message).length > MAX_MESSAGE_BYTES
  if (isTooLong) return invalid(`is longer than ${MAX_MESSAGE_BYTES} bytes`)
  const json = parseJson(message)
  if (!json.ok) return invalid(JSON_FAULTS[json.reason])
  const parsed = schema.safeParse(json.value)
  return parsed.success
    ? ok(parsed.data)
    : invalid('does not fit its action', { issues: issuesOf(parsed.error) })
}

/** A message names the service, the network and the wallet that it is for, or leaves them out where that is allowed. */
function checkAddressee(
  { domain, network, walletAddress: signer }: z.output<ActionSchema>,
  walletAddress: string,
  { SIGNED_DOMAIN, REQUIRE_SIGNED_DOMAIN, STACKS_NETWORK }: Policy['config'],
): Result<null, 'signatureInvalid'> {
  // A message without domain works at any service: a hostile site could have it signed and receive the secret.
  if (domain === undefined && REQUIRE_SIGNED_DOMAIN)
    return refuse('signatureInvalid', {
      reason: 'missing_domain',
      problem: 'message must name this service in its member domain',
      expected: SIGNED_DOMAIN ?? null,
    })
  if (domain !== undefined && domain !== SIGNED_DOMAIN)
    return refuse('signatureInvalid', { reason: 'wrong_domain', expected: SIGNED_DOMAIN ?? null })
  if (network !== undefined && network !== STACKS_NETWORK)
    return refuse('signatureInvalid', { reason: 'wrong_network', expected: STACKS_NETWORK })
  if (signer !== undefined && signer !== walletAddress)
    return refuse('signatureInvalid', { reason: 'wrong_wallet' })
  return ok(null)
}
