import {
  type BareItem,
  type Item,
  isInnerList,
  type Parameters,
  parseDictionary,
  serializeInnerList,
} from 'structured-headers'
import { sha256, sha512 } from '../crypto/bytes.ts'
import { ok, type Refused, type Result, refuse } from '../result.ts'
import {
  BODY_COMPONENT,
  MAX_SIGNATURE_AGE_SECONDS,
  MAX_SIGNATURE_FUTURE_SECONDS,
  REQUIRED_COMPONENTS,
  REQUIRED_PARAMETERS,
  type RequestTarget,
  SIGNATURE_TAG,
  type SignatureAlgorithm,
  signatureBase,
} from './base.ts'

/** A request as far as a signature can cover it. */
export interface RequestParts extends RequestTarget {
  /** The value of a header field; several lines of it are joined by `, `. Undefined where it was not sent. */
  header(name: string): string | undefined
  /**
   * The content, in UTF-8; empty where there is none. Undefined where the verifier does not have it, as behind a proxy that keeps it: the
   * digest is then covered, and the reader of the content compares it.
   */
  body: string | undefined
}

/** A signature that covers enough and is fresh. Nothing says yet that it is one: see `verifyRequest`. */
export interface SignedRequest {
  keyId: string
  /** As the signer wrote it; undefined where it leaves the choice to its key. */
  algorithm: SignatureAlgorithm | undefined
  /** Milliseconds since 1970. */
  createdAt: number
  nonce: string
  signature: Uint8Array<ArrayBuffer>
  /** What was signed. */
  base: Uint8Array<ArrayBuffer>
}

export type ReadReason =
  | 'requestSignatureInvalid'
  | 'requestSignatureIncomplete'
  | 'requestSignatureExpired'
  | 'contentDigestMismatch'

/** Two fields of header lines that Node takes. Longer ones are read for no good reason. */
const MAX_FIELD_LENGTH = 4_096
const MAX_COMPONENTS = 24
const KEY_ID = /^key_[0-9A-Za-z]{1,40}$/
const NONCE = /^[\x20-\x7e]{8,128}$/
const HEADER_NAME = /^[a-z0-9!#$%&'*+.^_`|~-]+$/
const ALGORITHM_BYTES: Readonly<Record<SignatureAlgorithm, number>> = {
  ed25519: 64,
  'hmac-sha256': 32,
}
const ALGORITHMS = Object.keys(ALGORITHM_BYTES) as SignatureAlgorithm[]

/** Whether a header Signature-Input has a signature for this service. It is a hint for routing: only reading tells what it has. */
export function hasSignature(signatureInput: string | undefined): boolean {
  return signatureInput?.includes(`tag="${SIGNATURE_TAG}"`) === true
}

/** Reads the signature of a request: its form, what it covers, its age and the digest of the content. Costs no statement and no curve. */
export function readSignedRequest(
  parts: RequestParts,
  now: number,
): Result<SignedRequest, ReadReason> {
  const found = findSignature(parts)
  if (!found.ok) return found
  const { label, components, parameters, signature } = found.value
  const missing = missingOf(components, parameters, parts)
  if (missing.length > 0) return incomplete(missing, parts)
  const read = readParameters(parameters)
  if (!read.ok) return read
  const age = checkAge(read.value, now)
  if (!age.ok) return age
  const digest = checkDigest(components, parts)
  if (!digest.ok) return digest
  const base = signatureBase(components, found.value.serialized, parts, parts.header)
  if (!base.ok)
    return invalid(
      'component_missing',
      `${label} covers ${String(base.details?.component)}, which the request does not have in ASCII`,
    )
  return ok({ ...read.value, signature, base: new TextEncoder().encode(base.value) })
}

interface FoundSignature {
  label: string
  components: readonly string[]
  parameters: Parameters
  /** The inner list, as RFC 9421 s2.3 has it signed. */
  serialized: string
  signature: Uint8Array<ArrayBuffer>
}

/** The one signature with the tag of this service. Others may be there: of a proxy, or for another reader. */
function findSignature({
  header,
}: RequestParts): Result<FoundSignature, 'requestSignatureInvalid'> {
  const inputs = readDictionary(header('signature-input'))
  const signatures = readDictionary(header('signature'))
  if (inputs === undefined)
    return invalid('malformed', 'Signature-Input is no dictionary (RFC 9651)')
  if (signatures === undefined) return invalid('malformed', 'Signature is no dictionary (RFC 9651)')
  const tagged = [...inputs].filter(([, [, parameters]]) => parameters.get('tag') === SIGNATURE_TAG)
  const [first, second] = tagged
  if (first === undefined)
    return invalid('malformed', `Signature-Input has no signature with tag="${SIGNATURE_TAG}"`)
  if (second !== undefined)
    return invalid(
      'malformed',
      `Signature-Input has several signatures with tag="${SIGNATURE_TAG}"`,
    )
  const [label, input] = first
  if (!isInnerList(input))
    return invalid('malformed', `${label} of Signature-Input is no inner list`)
  const [items, parameters] = input
  const components = items.map(componentOf)
  const unread = components.indexOf(undefined)
  if (unread >= 0 || items.length > MAX_COMPONENTS)
    return invalid(
      'component_unknown',
      `${label} covers a component that is not read here: header fields, ${REQUIRED_COMPONENTS.join(', ')}, without parameters, ${MAX_COMPONENTS} at most`,
    )
  if (new Set(components).size < components.length)
    return invalid('malformed', `${label} covers a component twice`)
  const bytes = signatures.get(label)?.[0]
  if (!(bytes instanceof ArrayBuffer))
    return invalid('malformed', `Signature has no byte sequence ${label}`)
  return ok({
    label,
    components: components as string[],
    parameters,
    serialized: serializeInnerList(input),
    signature: new Uint8Array(bytes),
  })
}

function readDictionary(text: string | undefined) {
  if (text === undefined || text.length > MAX_FIELD_LENGTH) return undefined
  try {
    return parseDictionary(text)
  } catch {
    return undefined
  }
}

/** The name of a covered component; undefined where it is not one that is read. */
function componentOf([name, parameters]: Item): string | undefined {
  if (typeof name !== 'string' || parameters.size > 0) return undefined
  const isRead = name.startsWith('@')
    ? (REQUIRED_COMPONENTS as readonly string[]).includes(name)
    : HEADER_NAME.test(name)
  return isRead ? name : undefined
}

/** What a signature must cover or have, and does not. */
function missingOf(
  components: readonly string[],
  parameters: Parameters,
  parts: RequestParts,
): string[] {
  return [
    ...componentsFor(parts).filter((name) => !components.includes(name)),
    ...REQUIRED_PARAMETERS.filter((name) => !parameters.has(name)),
  ]
}

/** Methods of requests that have no content, or whose content means nothing (RFC 9110 s9.3). */
const WITHOUT_CONTENT: readonly string[] = ['GET', 'HEAD', 'OPTIONS']

/** Of content that the verifier does not see, the method says that it may be there. */
function componentsFor({ method, body }: RequestParts): readonly string[] {
  const hasBody = body === undefined ? !WITHOUT_CONTENT.includes(method) : body !== ''
  return hasBody ? [...REQUIRED_COMPONENTS, BODY_COMPONENT] : REQUIRED_COMPONENTS
}

function incomplete(
  missing: readonly string[],
  parts: RequestParts,
): Refused<'requestSignatureIncomplete'> {
  const components = componentsFor(parts)
  return refuse('requestSignatureIncomplete', {
    problem: `the signature must cover ${components.join(', ')}, with the parameters ${REQUIRED_PARAMETERS.join(', ')}: ${missing.join(', ')} is missing`,
    missing,
    components,
    parameters: REQUIRED_PARAMETERS,
  })
}

interface ReadParameters
  extends Pick<SignedRequest, 'keyId' | 'algorithm' | 'createdAt' | 'nonce'> {
  /** Milliseconds since 1970; undefined where the signer set no end. */
  expiresAt: number | undefined
}

function readParameters(parameters: Parameters): Result<ReadParameters, 'requestSignatureInvalid'> {
  const of = (name: string): BareItem | undefined => parameters.get(name)
  const [created, expires, nonce, keyId, algorithm] = [
    of('created'),
    of('expires'),
    of('nonce'),
    of('keyid'),
    of('alg'),
  ]
  if (!isUnixSeconds(created) || (expires !== undefined && !isUnixSeconds(expires)))
    return invalid('malformed', 'created and expires must be whole Unix seconds')
  if (typeof nonce !== 'string' || !NONCE.test(nonce))
    return invalid('malformed', 'nonce must be a string of 8 to 128 characters')
  if (typeof keyId !== 'string' || !KEY_ID.test(keyId))
    return invalid('malformed', 'keyid must be the id of an API key, as key_123abc')
  if (algorithm !== undefined && !ALGORITHMS.some((one) => one === algorithm))
    return invalid('algorithm', `alg must be ${ALGORITHMS.join(' or ')}`)
  return ok({
    keyId,
    nonce,
    algorithm: algorithm as SignatureAlgorithm | undefined,
    createdAt: created * 1000,
    expiresAt: expires === undefined ? undefined : expires * 1000,
  })
}

function isUnixSeconds(value: BareItem | undefined): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

/** The bounds are inclusive, as those of signed messages are. */
function checkAge(
  { createdAt, expiresAt }: ReadParameters,
  now: number,
): Result<undefined, 'requestSignatureExpired'> {
  if (createdAt - now > MAX_SIGNATURE_FUTURE_SECONDS * 1000)
    return expired('in_the_future', createdAt, now)
  if (expiresAt !== undefined && now > expiresAt) return expired('expired', createdAt, now)
  return now - createdAt > MAX_SIGNATURE_AGE_SECONDS * 1000
    ? expired('too_old', createdAt, now)
    : ok(undefined)
}

/** Refuses a signature for its age; also one that the grant of its key wants to be younger. */
export function expired(
  reason: 'in_the_future' | 'expired' | 'too_old',
  createdAt: number,
  now: number,
  maxAgeSeconds = MAX_SIGNATURE_AGE_SECONDS,
): Refused<'requestSignatureExpired'> {
  return refuse('requestSignatureExpired', {
    reason,
    created: createdAt / 1000,
    serverTime: now,
    maxAgeSeconds,
  })
}

const DIGESTS: Readonly<Record<string, (text: string) => Uint8Array>> = {
  'sha-256': sha256,
  'sha-512': sha512,
}

/** Every digest of the content that is known must be of it, and one must be known (RFC 9530 s6.1: others are insecure). */
function checkDigest(
  components: readonly string[],
  { body, header }: RequestParts,
): Result<undefined, 'contentDigestMismatch' | 'requestSignatureInvalid'> {
  if (body === undefined || !components.includes(BODY_COMPONENT)) return ok(undefined)
  const given = readDictionary(header(BODY_COMPONENT))
  if (given === undefined) return invalid('malformed', 'Content-Digest is no dictionary (RFC 9651)')
  const known = [...given].filter(([name]) => Object.hasOwn(DIGESTS, name))
  if (known.length === 0)
    return invalid(
      'digest_unknown',
      `Content-Digest must have ${Object.keys(DIGESTS).join(' or ')}`,
    )
  for (const [name, [value]] of known)
    if (!(value instanceof ArrayBuffer) || !isEqual(new Uint8Array(value), DIGESTS[name]?.(body)))
      return refuse('contentDigestMismatch', { algorithm: name })
  return ok(undefined)
}

function isEqual(one: Uint8Array, other: Uint8Array = new Uint8Array()): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at])
}

/** Refuses a signature; `authority` is told where nothing else is wrong with it. */
export function invalid(
  reason: string,
  problem: string,
  more: { authority?: string } = {},
): Refused<'requestSignatureInvalid'> {
  return refuse('requestSignatureInvalid', { reason, problem, ...more })
}

/** Whether a signature has as many bytes as its algorithm makes. */
export function hasLengthOf(algorithm: SignatureAlgorithm, signature: Uint8Array): boolean {
  return signature.length === ALGORITHM_BYTES[algorithm]
}
