/**
 * What the backends of this folder share: a server behind a proxy that has asked Latchkey about each request. It listens on this machine
 * alone: a client that reached it without the proxy could write the headers itself.
 */
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Who asks, as the proxy says. */
export interface Caller {
  /** The wallet: `SP...` or `ST...`. */
  walletAddress: string
  keyId: string
}

export interface Answer {
  status: number
  body: unknown
}

type Handle = (caller: Caller, request: { path: string; body: unknown }) => Answer

const MAX_BODY_BYTES = 4_096
const PRINCIPAL = /^stacks:\d+:(S[0-9A-Z]{20,40})$/

/** Serves handlers by method and path. The scope was checked by the proxy; it is checked again, so that a wrong route admits nothing. */
export function serveBackend(scope: string, routes: Readonly<Record<string, Handle>>): void {
  const server = createServer(async (request, response) => {
    const { status, body } = await answerTo(request).catch(() =>
      refuse(400, 'no JSON object, or not the one that was signed'),
    )
    response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' })
    response.end(JSON.stringify(body))
  })

  async function answerTo(request: IncomingMessage): Promise<Answer> {
    const path = (request.url ?? '').split('?')[0] ?? ''
    const route = Object.keys(routes).find((one) => matches(one, `${request.method} ${path}`))
    const handle = route === undefined ? undefined : routes[route]
    if (handle === undefined) return refuse(404, 'not found')
    const caller = callerOf(request, scope)
    if (caller === undefined) return refuse(403, 'not admitted by the proxy')
    return handle(caller, { path, body: await readJson(request) })
  }

  server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo
    console.log(JSON.stringify({ event: 'listening', port }))
  })
  process.on('SIGTERM', () => server.close())
}

export function refuse(status: number, error: string): Answer {
  return { status, body: { error } }
}

function matches(route: string, request: string): boolean {
  return new RegExp(`^${route.replaceAll(/\{\w+\}/g, '[\\w-]+')}$`).test(request)
}

function callerOf({ headers }: IncomingMessage, scope: string): Caller | undefined {
  const text = (name: string) => String(headers[name] ?? '')
  const walletAddress = PRINCIPAL.exec(text('x-auth-principal'))?.[1]
  const scopes = text('x-auth-scopes').split(' ')
  if (walletAddress === undefined || !scopes.includes(scope)) return undefined
  return { walletAddress, keyId: text('x-auth-key-id') }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new Error('too large')
    chunks.push(chunk)
  }
  const content = Buffer.concat(chunks)
  requireDigest(request, content)
  return size === 0 ? undefined : JSON.parse(content.toString())
}

/**
 * Of a signed request the proxy's question had the digest, and not the content: whether the two fit is for the reader of the content to
 * find out. Every digest that is sent has to fit, and one of them has to be known.
 */
function requireDigest({ headers }: IncomingMessage, content: Buffer): void {
  const sent = headers['content-digest']
  if (sent === undefined) return
  const digests = [...String(sent).matchAll(/(?:^|,)\s*(sha-256|sha-512)=:([\w+/=]+):/g)]
  const fits = digests.every(
    ([, name = '', digest]) =>
      createHash(name.replace('-', '')).update(content).digest('base64') === digest,
  )
  if (digests.length === 0 || !fits) throw new Error('other content than was signed')
}
