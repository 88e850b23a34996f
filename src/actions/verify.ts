import type { z } from 'zod'
import { sha256 } from '../crypto/bytes.ts'
import type { Config } from '../env.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { Recover } from '../stacks/recover.ts'
import { verifyMessage } from '../stacks/signature.ts'
import { issuesOf } from '../wire/issues.ts'
import { type JsonReason, parseJson } from '../wire/json.ts'
import {
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
}

/** Checks a presented message, cheap things first: size, shape, freshness, addressee, and only then the curve. */
export function verifyAction<Schema extends ActionSchema>(
  presented: PresentedMessage,
  schema: Schema,
  { config, recover, example }: Policy,
  now: number,
): Result<SignedAction<z.output<Schema>>, VerifyReason> {
  const invalid = (problem: string, more?: object) =>
    refuse('invalidRequest', { problem: `message ${problem}`, expected: example, ...more })

  const { message, walletAddress } = presented
  if (
    message.length > MAX_MESSAGE_BYTES ||
    new TextEncoder().encode(message).length > MAX_MESSAGE_BYTES
  )
    return invalid(`is longer than ${MAX_MESSAGE_BYTES} bytes`)
  const json = parseJson(message)
  if (!json.ok) return invalid(JSON_FAULTS[json.reason])
  const parsed = schema.safeParse(json.value)
  if (!parsed.success) return invalid('does not fit its action', { issues: issuesOf(parsed.error) })

  const { timestamp, domain, network, walletAddress: signer, action } = parsed.data
  const freshness = messageFreshness(parsed.data, now, config.SIGNATURE_MAX_AGE_SECONDS)
  if (freshness !== 'fresh')
    return refuse('timestampExpired', { reason: freshness, timestamp, serverTime: now })
  if (domain === undefined ? config.REQUIRE_SIGNED_DOMAIN : domain !== config.SIGNED_DOMAIN)
    return refuse('signatureInvalid', {
      reason: 'wrong_domain',
      expected: config.SIGNED_DOMAIN ?? null,
    })
  if (network !== undefined && network !== config.STACKS_NETWORK)
    return refuse('signatureInvalid', { reason: 'wrong_network', expected: config.STACKS_NETWORK })
  if (signer !== undefined && signer !== walletAddress)
    return refuse('signatureInvalid', { reason: 'wrong_wallet' })

  const proof = verifyMessage({
    message,
    signature: presented.signature,
    walletAddress,
    network: config.STACKS_NETWORK,
    recover,
    ...(presented.publicKey === undefined ? {} : { publicKey: presented.publicKey }),
  })
  if (!proof.ok) return refuse('signatureInvalid', { reason: proof.reason })
  return ok({
    action,
    members: parsed.data,
    walletAddress,
    message,
    messageHash: sha256(message),
    signature: presented.signature,
    publicKey: proof.value.publicKey,
  })
}
