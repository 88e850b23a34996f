import { memoize } from '../memoize.ts'
import { ok, type Result, refuse } from '../result.ts'
import {
  type AddressReason,
  addressOfPublicKey,
  isContractId,
  isKeyOf,
  parseWalletAddress,
} from './address.ts'
import {
  type ClarityHex,
  contractPrincipal,
  NONE,
  some,
  stringAscii,
  tuple,
  uint,
} from './clarity.ts'
import { chainId, isNetwork, NETWORKS, type Network } from './network.ts'
import { uncompressPublicKey } from './public-key.ts'
import {
  parseSignature,
  type Recover,
  recoverKeys,
  type SignatureFormReason,
  toRsv,
} from './recover.ts'
import type { RecoveredSigner } from './signature.ts'
import { structuredDataHash } from './structured-data.ts'

/** What an owner allows on chain: one router may spend an amount of a token, once. */
export interface Intent {
  /** Contract id of the subnet token that pays. STX (`.stx`) cannot be signed away. */
  readonly inputToken: string
  /**
   * Integer in the token's smallest unit, as text without sign or leading zeros: 1 to 2^128 - 1.
   */
  readonly amountIn: string
  /** 1-36 characters of A-Z a-z 0-9 _ -; case matters. The chain accepts each uuid once. */
  readonly uuid: string
  /** Contract id of the router that may spend. */
  readonly router: string
}

/** An intent with its signature and the owner that it must recover to. */
export interface SignedIntent extends Intent {
  readonly owner: string
  /** 65 bytes hex, RSV or VRS, with or without 0x. */
  readonly signature: string
  readonly network: Network
  readonly recover?: Recover | undefined
}

/** Which member of an intent is malformed. */
export type IntentFormReason =
  | 'stx_cannot_be_signed'
  | 'invalid_input_token'
  | 'invalid_amount'
  | 'invalid_uuid'
  | 'invalid_router'

/** Why the chain would refuse a signed intent. */
export type IntentReason =
  | 'unknown_network'
  | IntentFormReason
  | SignatureFormReason
  | Exclude<AddressReason, 'not_a_wallet'>
  | 'owner_cannot_sign_intents'
  | 'uncompressed_key'
  | 'unrecoverable'
  | 'another_wallet'

/** The name and version of the SIP-018 domain; its third member is the chain id of the network. */
export const INTENT_DOMAIN = { name: 'BLAZE_PROTOCOL', version: 'v1.0' } as const

const AMOUNT = /^[1-9][0-9]{0,38}$/
const MAX_AMOUNT = 2n ** 128n - 1n
const UUID = /^[A-Za-z0-9_-]{1,36}$/

/**
 * Whether the text is a positive u128 in its one decimal form: no sign, exponent or leading zero.
 */
export function isIntentAmount(text: unknown): text is string {
  return typeof text === 'string' && AMOUNT.test(text) && BigInt(text) <= MAX_AMOUNT
}

/** Whether the text fits the verifier's `(string-ascii 36)` and the alphabet of order ids. */
export function isIntentUuid(text: unknown): text is string {
  return typeof text === 'string' && UUID.test(text)
}

/** Validates every member of an intent for the network. Returns the first fault. */
export function checkIntent(intent: Intent, network: Network): Result<Intent, IntentFormReason> {
  const { inputToken, amountIn, uuid, router } = { ...intent }
  if (inputToken === '.stx') return refuse('stx_cannot_be_signed')
  if (!isContractId(inputToken, network)) return refuse('invalid_input_token')
  if (!isIntentAmount(amountIn)) return refuse('invalid_amount')
  if (!isIntentUuid(uuid)) return refuse('invalid_uuid')
  if (!isContractId(router, network)) return refuse('invalid_router')
  return ok({ inputToken, amountIn, uuid, router })
}

/** The SIP-018 domain of intents: the parameter `domain` of `stx_signStructuredMessage`. */
export function intentDomain(network: Network): ClarityHex {
  return domainOf(network)
}

const domainOf = memoize(NETWORKS.length, (network) =>
  tuple({
    name: stringAscii(INTENT_DOMAIN.name),
    version: stringAscii(INTENT_DOMAIN.version),
    'chain-id': uint(BigInt(chainId(network as Network))),
  }),
)

/**
 * The SIP-018 message of an intent: the parameter `message` of `stx_signStructuredMessage`.
 *
 * Throws a TypeError when the intent is malformed on every network: a wallet must not show
 * something else than it signs.
 */
export function intentMessage(intent: Intent): ClarityHex {
  if (!NETWORKS.some((network) => checkIntent(intent, network).ok)) {
    throw new TypeError('The intent is not well formed.')
  }
  return serialize(intent)
}

/**
 * The 32 bytes that an owner signs: SIP-018 over {@link intentDomain} and {@link intentMessage}.
 *
 * Throws a TypeError that names the malformed member.
 */
export function intentHash(intent: Intent, network: Network): Uint8Array {
  const checked = checkIntent(intent, network)
  if (!checked.ok) throw new TypeError(`The intent is not well formed: ${checked.reason}.`)
  return structuredDataHash(intentDomain(network), serialize(checked.value))
}

/**
 * Verifies that the owner signed an intent, by the chain's own rules. Never throws.
 *
 * The chain recovers compressed keys only, so that owners with an uncompressed key or several keys are
 * refused. Neither recipient nor minimum output is part of an intent, and only the chain knows
 * whether the uuid was used.
 */
export function verifyIntent(claim: SignedIntent): Result<RecoveredSigner, IntentReason> {
  const proven = proveIntent(claim)
  return proven.ok ? ok({ publicKey: proven.value.publicKey }) : proven
}

/** As {@link verifyIntent}. Also returns the signature as the chain reads it: 65 bytes hex, RSV. */
export function proveIntent(
  claim: SignedIntent,
): Result<RecoveredSigner & { rsv: string }, IntentReason> {
  const { owner, signature, network, recover } = { ...claim }
  if (!isNetwork(network)) return refuse('unknown_network')

  const intent = checkIntent(claim, network)
  if (!intent.ok) return intent
  const readings = parseSignature(signature)
  if (!readings.ok) return readings
  const wallet = parseWalletAddress(owner, network)
  if (!wallet.ok) {
    return refuse(wallet.reason === 'not_a_wallet' ? 'owner_cannot_sign_intents' : wallet.reason)
  }

  const digest = structuredDataHash(intentDomain(network), serialize(intent.value))
  const keys = recoverKeys(digest, readings.value, recover)
  if (keys.length === 0) return refuse('unrecoverable')
  const signer = keys.find((key) => isKeyOf(key.publicKey, wallet.value))
  if (signer !== undefined) return ok({ publicKey: signer.publicKey, rsv: toRsv(signer.reading) })

  const isUncompressed = keys.some((key) =>
    isKeyOf(uncompressPublicKey(key.publicKey), wallet.value),
  )
  if (isUncompressed) return refuse('uncompressed_key')
  const recovered = keys.map((key) => addressOfPublicKey(key.publicKey, network))
  return refuse('another_wallet', { recovered })
}

/** Serializes a validated intent: the tuple that the verifier contract hashes. */
function serialize({ inputToken, amountIn, uuid, router }: Intent): ClarityHex {
  return tuple({
    contract: contractPrincipal(inputToken),
    intent: stringAscii('TRANSFER_TOKENS'),
    opcode: NONE,
    amount: some(uint(BigInt(amountIn))),
    target: some(contractPrincipal(router)),
    uuid: stringAscii(uuid),
  })
}
