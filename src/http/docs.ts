import type { AppContext } from './context.ts'
import { type Gzip, type SharedDocument, shareDocument } from './shared-document.ts'

/** A map, because an object also has members that were not put into it, as `constructor`. */
const FILES: ReadonlyMap<string, string> = new Map([
  ['style.css', 'text/css; charset=utf-8'],
  ['try.js', 'text/javascript; charset=utf-8'],
  ['icon.svg', 'image/svg+xml'],
])

/** Headers of /docs and its files. */
export const DOCS_HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
}

/** Reads a file that the build wrote for /docs; undefined where it is not built. */
export type ReadDocsFile = (
  c: AppContext,
  name: string,
) => Promise<Uint8Array<ArrayBuffer> | undefined>

/** Returns the page at /docs, for an empty name, or one of its files; undefined for any other name. */
export type Docs = (c: AppContext, name: string) => Promise<SharedDocument | undefined>

/** /docs: the page of the reference, and its files. Every file comes from this service, is read once and kept. */
export function openDocs(page: () => string, read: ReadDocsFile, gzip: Gzip): Docs {
  const known = new Map<string, SharedDocument>()
  return async (c, name) => {
    const found = known.get(name)
    if (found !== undefined) return found
    const type = name === '' ? 'text/html; charset=utf-8' : FILES.get(name)
    if (type === undefined) return undefined
    // Two first requests may both read it; a promise would belong to one request, which Workers forbid to await in another.
    const content = name === '' ? page() : await read(c, name)
    if (content === undefined) return undefined
    const document = await shareDocument(content, type, gzip)
    known.set(name, document)
    return document
  }
}
