import { type Context, Hono } from 'hono'

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

const HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
}

/** Reads a file of swagger-ui-dist. */
export type ReadDocsFile = (c: Context, name: string) => Promise<BodyInit | null>

/** Serves /docs, a page that renders /openapi.json. Every file comes from this service. */
export function docsPages(read: ReadDocsFile): Hono {
  const app = new Hono()
  app.get('/docs', (c) => c.html(PAGE, 200, HEADERS))
  app.get('/docs/start.js', (c) =>
    c.body(START, 200, { ...HEADERS, 'Content-Type': 'text/javascript' }),
  )
  app.get('/docs/:file', async (c) => {
    const name = c.req.param('file')
    const type = FILES.get(name)
    if (type === undefined) return c.notFound()
    return new Response(await read(c, name), { headers: { ...HEADERS, 'Content-Type': type } })
  })
  return app
}
