import { type Context, Hono } from 'hono'

/**
 * Scripts come from this service only, and no text becomes markup or code: the one Trusted Types policy names the worker
 * that verifies audits. Wallet extensions inject their providers outside of the page's policy.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  'trusted-types latchkey',
].join('; ')

const HEADERS = {
  'Content-Security-Policy': POLICY,
  'Cross-Origin-Opener-Policy': 'same-origin-allow-popups',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
}

/** A new build is seen at the next visit. The names of its other files contain a hash of their content. */
const REVALIDATED = 'no-cache'
const IMMUTABLE = 'public, max-age=31536000, immutable'

/** The page, and the licences of what is bundled into it. */
const AT_THE_TOP: Readonly<Record<string, string>> = {
  '/': 'index.html',
  '/licenses.md': 'licenses.md',
}

/** Responds with a file of the built page: 200 with its type and ETag, 304 or 404. */
export type RespondWithPageFile = (c: Context, path: string) => Promise<Response>

/** Serves the page at `/`, its licences beside it, and its files under `/assets/`. */
export function pageFiles(respondWith: RespondWithPageFile): Hono {
  const app = new Hono()
  for (const [path, file] of Object.entries(AT_THE_TOP))
    app.get(path, (c) => withHeaders(c, file, REVALIDATED))
  app.get('/assets/:file{[A-Za-z0-9._-]+}', (c) =>
    withHeaders(c, `assets/${c.req.param('file')}`, IMMUTABLE),
  )

  async function withHeaders(c: Context, path: string, caching: string): Promise<Response> {
    const response = await respondWith(c, path)
    if (response.status !== 200 && response.status !== 304) return c.notFound()
    const headers = new Headers(response.headers)
    for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value)
    headers.set('Cache-Control', caching)
    return new Response(response.body, { status: response.status, headers })
  }

  return app
}
