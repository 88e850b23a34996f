import type { AppContext } from './context.ts'
import { type Gzip, type SharedDocument, shareDocument } from './shared-document.ts'

/** A map, because an object also has members that were not put into it, as `constructor`. */
const FILES: ReadonlyMap<string, string> = new Map([
  ['swagger-ui.css', 'text/css'],
  ['swagger-ui-bundle.js', 'text/javascript'],
  ['favicon-32x32.png', 'image/png'],
])

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Latchkey API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="api"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`

const START = `SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#api',
  deepLinking: true,
  validatorUrl: null,
  tryItOutEnabled: true,
})
`

/** Headers of /docs and its files. */
export const DOCS_HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
}

/** Reads a file of swagger-ui-dist. */
export type ReadDocsFile = (c: AppContext, name: string) => Promise<Uint8Array<ArrayBuffer>>

/** Returns the page at /docs, for an empty name, or one of its files; undefined for any other name. */
export type Docs = (c: AppContext, name: string) => Promise<SharedDocument | undefined>

/** /docs, a page that renders /openapi.json. Every file comes from this service, is read once and kept. */
export function openDocs(read: ReadDocsFile, gzip: Gzip): Docs {
  const known = new Map<string, SharedDocument>()
  const own = new Map([
    ['', { text: PAGE, type: 'text/html; charset=UTF-8' }],
    ['start.js', { text: START, type: 'text/javascript' }],
  ])
  return async (c, name) => {
    const found = known.get(name)
    if (found !== undefined) return found
    const made = own.get(name)
    const type = made?.type ?? FILES.get(name)
    if (type === undefined) return undefined
    // Two first requests may both read it; a promise would belong to one request, which Workers forbid to await in another.
    const document = await shareDocument(made?.text ?? (await read(c, name)), type, gzip)
    known.set(name, document)
    return document
  }
}
