import { type Result, refuse } from '../../result.ts'
import { targetOfUrl } from '../../signed-requests/base.ts'
import {
  hasSignature,
  type ReadReason,
  type RequestParts,
  readSignedRequest,
} from '../../signed-requests/read.ts'
import {
  type RequestVerifyReason,
  type VerifiedSignature,
  verifyRequest,
} from '../../signed-requests/verify.ts'
import { keepBodyText } from '../body.ts'
import { type AppContext, headerOf, stateOf } from '../context.ts'
import { readForwarded } from '../forwarded.ts'
import { unwrap } from '../problem.ts'
import { countFailedKey } from './address.ts'

/** Whether the request has a signature of an API key (RFC 9421), valid or not. Signatures with other tags are for other readers. */
export function presentsRequestSignature(c: AppContext): boolean {
  return hasSignature(headerOf(c, 'signature-input'))
}

/**
 * Verifies the signature of a request and uses its nonce up. What is wrong with its form, its cover or its age is counted against the address
 * and refused without a statement, and so is what does not fit a key that the process knows, before the key is read again.
 */
export async function authenticateSignature(
  c: AppContext,
  { fresh = false }: { fresh?: boolean } = {},
): Promise<VerifiedSignature> {
  if (headerOf(c, 'x-api-key') !== undefined || headerOf(c, 'authorization') !== undefined)
    unwrap(
      refuse('invalidRequest', {
        problem: 'a signed request has no other credential: leave X-API-Key and Authorization out',
      }),
    )
  const { world, now } = stateOf(c)
  const parts =
    stateOf(c).isForwardAuth === true
      ? partsOfForwarded(c)
      : partsOf(c, unwrap(await keepBodyText(c)))
  const signed = readSignedRequest(parts, now)
  if (!signed.ok) {
    countFailedKey(c)
    return unwrap(signed)
  }
  let isCounted = false
  const onMismatch = () => {
    isCounted = true
    countFailedKey(c)
  }
  const { authority } = parts
  const verified = await verifyRequest(world, signed.value, { authority, now, fresh, onMismatch })
  if (!verified.ok && !isCounted) countFailedKey(c)
  return unwrap(verified)
}

function partsOf(c: AppContext, body: string): RequestParts {
  return {
    method: c.req.method,
    authority: publicHost(c, headerOf(c, 'host') ?? new URL(c.req.url).host),
    ...targetOfUrl(c.req.url),
    header: (name) => c.req.header(name),
    body,
  }
}

/** The request that a proxy asks about. Its content stays at the proxy: the backend compares it with the digest that was signed. */
function partsOfForwarded(c: AppContext): RequestParts {
  const { method, authority, path, query } = readForwarded(c) ?? {}
  if (method === undefined || authority === undefined || path === undefined)
    return unwrap(
      refuse('invalidRequest', {
        problem:
          'a signed request behind a proxy is verified by X-Forwarded-Method, X-Forwarded-Host and X-Forwarded-Uri of a trusted proxy',
      }),
    )
  return {
    method,
    authority: publicHost(c, authority),
    path,
    query: query || '?',
    header: (name) => c.req.header(name),
    body: undefined,
  }
}

/** A signed request to another service, as its backend tells of it. */
export interface ToldRequest {
  method: string
  url: string
  headers: Readonly<Record<string, string>>
}

/** Verifies the signature of a request to another service, without its content, and uses its nonce up. */
export async function verifyToldRequest(
  c: AppContext,
  { method, url, headers }: ToldRequest,
): Promise<Result<VerifiedSignature, ReadReason | RequestVerifyReason>> {
  const { now } = stateOf(c)
  const fields = new Map(Object.entries(headers).map(([name, text]) => [name.toLowerCase(), text]))
  const authority = publicHost(c, new URL(url).host)
  const target = { method, authority, ...targetOfUrl(url) }
  const signed = readSignedRequest(
    { ...target, header: (name) => fields.get(name), body: undefined },
    now,
  )
  return signed.ok ? verifyRequest(stateOf(c).world, signed.value, { authority, now }) : signed
}

/**
 * The host that was signed for. A sender chooses the Host of a request, and so could send here what was signed for another service: only
 * configured hosts count, and where a proxy writes another one, the first of them. A devnet without configured hosts takes what is sent.
 */
function publicHost(c: AppContext, sent: string): string {
  const host = sent.toLowerCase()
  const { PUBLIC_HOSTS: hosts } = stateOf(c).world.config
  const [first] = hosts
  return first === undefined || hosts.includes(host) ? host : first
}
