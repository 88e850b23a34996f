import { sha256, toHex } from '../crypto/bytes.ts'
import { type AppContext, headerOf, stateOf } from './context.ts'
import { respondWithText } from './respond.ts'

type Bytes = Uint8Array<ArrayBuffer>

/** A document that is the same for every client: all responses send the same bytes, which one process holds once. */
export interface SharedDocument {
  type: string
  /** Weak, because the compressed form has the same one. */
  etag: string
  plain: Bytes
  gzip: Bytes | undefined
}

/** Compresses a document. Undefined where the platform compresses responses itself. */
export type Gzip = ((bytes: Bytes) => Promise<Bytes>) | undefined

const ETAG_DIGITS = 32
const MAX_AGE_SECONDS = 3_600
/** What is smaller fits into one packet. */
const LEAST_COMPRESSED = 1_024

export async function shareDocument(
  content: string | Bytes,
  type: string,
  gzip: Gzip,
): Promise<SharedDocument> {
  const plain = typeof content === 'string' ? new TextEncoder().encode(content) : content
  const isWorth = plain.byteLength > LEAST_COMPRESSED && !type.startsWith('image/')
  return {
    type,
    etag: `W/"${toHex(sha256(plain)).slice(0, ETAG_DIGITS)}"`,
    plain,
    gzip: isWorth ? await gzip?.(plain) : undefined,
  }
}

/** Responds with a document, or with 304 to a client that has it. */
export function respondWithDocument(
  c: AppContext,
  { type, etag, plain, gzip }: SharedDocument,
  extraHeaders: Record<string, string> = {},
): Response {
  const headers = {
    ...extraHeaders,
    ETag: etag,
    'Cache-Control': `public, max-age=${MAX_AGE_SECONDS}`,
    Vary: stateOf(c).origin === '*' ? 'Accept-Encoding' : 'Accept-Encoding, Origin',
  }
  if (hasEtag(headerOf(c, 'if-none-match'), etag)) return respondWithText(c, null, 304, headers)
  const isZipped = gzip !== undefined && acceptsGzip(headerOf(c, 'accept-encoding'))
  return respondWithText(c, isZipped ? gzip : plain, 200, {
    ...headers,
    'Content-Type': type,
    ...(isZipped && { 'Content-Encoding': 'gzip' }),
  })
}

/** The weak comparison of RFC 9110 s13.1.2. */
function hasEtag(ifNoneMatch: string | undefined, etag: string): boolean {
  const weak = (tag: string) => tag.trim().replace(/^W\//, '')
  const given = ifNoneMatch?.split(',').map(weak) ?? []
  return given.includes('*') || given.includes(weak(etag))
}

function acceptsGzip(acceptEncoding = ''): boolean {
  return acceptEncoding
    .split(',')
    .map((coding) => coding.toLowerCase().replaceAll(/\s/g, ''))
    .some((coding) => /^(gzip|x-gzip|\*)(;|$)/.test(coding) && !/;q=0(\.0*)?$/.test(coding))
}
