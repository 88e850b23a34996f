/**
 * An authorized signing server: its callers ask for orders, it signs them with the wallet's key and places them with an API key. It
 * decides by itself who may ask, and for what: a caller has a token of its own, and a limit.
 *
 * LATCHKEY_URL, LATCHKEY_API_KEY (with the permission `create`), SIGNING_PRIVATE_KEY, and in CALLERS a JSON object by name:
 * {"desk": {"token": "32 characters or more", "maxAmountIn": "5000000", "inputTokens": ["ST..token"]}}.
 */
import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createClient, LatchkeyError, privateKeySigner } from 'latchkey/client'

interface Caller {
  token: string
  maxAmountIn: string
  inputTokens: string[]
}

/** What a caller may ask for. The recipient is the wallet itself, and the price has a minimum: neither is the caller's. */
interface Request {
  inputToken: string
  outputToken: string
  amountIn: string
  minAmountOut: string
}

const MAX_BODY_BYTES = 4_096
const MIN_TOKEN_LENGTH = 32

const callers = Object.entries(JSON.parse(process.env.CALLERS ?? '{}') as Record<string, Caller>)
if (callers.length === 0 || callers.some(([, { token }]) => token.length < MIN_TOKEN_LENGTH))
  throw new Error(`CALLERS needs callers with tokens of ${MIN_TOKEN_LENGTH} characters or more`)
const client = createClient({
  baseUrl: process.env.LATCHKEY_URL ?? 'http://127.0.0.1:8787',
  apiKey: process.env.LATCHKEY_API_KEY ?? '',
  signer: privateKeySigner(process.env.SIGNING_PRIVATE_KEY ?? '', 'devnet'),
})

/** The caller whose token a request carries. Digests are compared, so that neither time nor length tells of a token. */
function authenticate(request: IncomingMessage): [name: string, caller: Caller] | undefined {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  const given = digest(/^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1] ?? '')
  return callers.find(([, { token }]) => timingSafeEqual(digest(token), given))
}

/** What a caller may not ask for; undefined when it may. */
function forbidden({ maxAmountIn, inputTokens }: Caller, order: Request): string | undefined {
  if (!inputTokens.includes(order.inputToken)) return 'inputToken is not one of yours'
  return BigInt(order.amountIn) > BigInt(maxAmountIn)
    ? `amountIn is above ${maxAmountIn}`
    : undefined
}

async function readOrder(request: IncomingMessage): Promise<Request | undefined> {
  let text = ''
  for await (const chunk of request.setEncoding('utf8')) {
    text += chunk
    if (text.length > MAX_BODY_BYTES) return undefined
  }
  try {
    const { inputToken, outputToken, amountIn, minAmountOut } = JSON.parse(text)
    const amounts = [amountIn, minAmountOut].every((amount) => /^[1-9]\d{0,38}$/.test(amount))
    const tokens = [inputToken, outputToken].every((token) => typeof token === 'string')
    return amounts && tokens ? { inputToken, outputToken, amountIn, minAmountOut } : undefined
  } catch {
    return undefined
  }
}

async function answer(request: IncomingMessage): Promise<[status: number, body: object]> {
  if (request.method !== 'POST' || request.url !== '/api/create-order')
    return [404, { error: 'Not found' }]
  const [name, caller] = authenticate(request) ?? []
  if (caller === undefined) return [401, { error: 'Unauthorized' }]
  const order = await readOrder(request)
  if (order === undefined)
    return [400, { error: 'inputToken, outputToken, amountIn and minAmountOut are needed' }]
  const reason = forbidden(caller, order)
  if (reason !== undefined) return [403, { error: reason }]
  try {
    const placed = await client.orders.create(order)
    console.log(`${name} placed ${placed.uuid}`)
    return [200, { success: true, order: placed }]
  } catch (error) {
    if (!(error instanceof LatchkeyError)) throw error
    return [502, { error: error.message, code: error.code, details: error.details }]
  }
}

const server = createServer((request, response) => {
  answer(request)
    .catch((error: unknown): [number, object] => {
      console.error(error)
      return [500, { error: 'Internal error' }]
    })
    .then(([status, body]) => {
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
    })
})
server.listen(Number(process.env.PORT ?? 8788), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
