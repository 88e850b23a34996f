import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Hono } from 'hono'

const FOLDER = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))

const FILES: Readonly<Record<string, string>> = {
  'swagger-ui.css': 'text/css',
  'swagger-ui-bundle.js': 'text/javascript',
  'favicon-32x32.png': 'image/png',
}

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

/** Serves /docs, which shows /openapi.json to people. Every file comes from this service. */
export function docsFiles(): Hono {
  const app = new Hono()
  app.get('/docs', (c) => c.html(PAGE, 200, HEADERS))
  app.get('/docs/start.js', (c) =>
    c.body(START, 200, { ...HEADERS, 'Content-Type': 'text/javascript' }),
  )
  app.get('/docs/:file', async (c) => {
    const name = c.req.param('file')
    const type = FILES[name]
    if (type === undefined) return c.notFound()
    return c.body(await readFile(join(FOLDER, name)), 200, { ...HEADERS, 'Content-Type': type })
  })
  return app
}
