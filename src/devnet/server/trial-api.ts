import { type Context, Hono } from 'hono'
import { TOKENS } from '../chain.ts'
import type { Faults } from '../faults.ts'
import type { Devnet } from '../node.ts'
import { bestQuote, type DevnetQuote, publicShapeOf } from '../quote.ts'
import { badRequest, isAddress, isPrincipal, jsonBody } from './request.ts'
import { summaryOf } from './transaction-json.ts'

const MAX_U128 = 2n ** 128n - 1n

/** Requests that no Stacks node serves: quotes, and what trials and tests need. */
export function trialApi(devnet: Devnet, faults: Faults): Hono {
  const api = new Hono()
  api.get('/quote', (c) =>
    faults.take('public-quote', c.req.path) === undefined
      ? getQuote(c, devnet)
      : getPublicQuote(c, devnet),
  )
  api.post('/faucet', async (c) => {
    const address = (await jsonBody(c))?.address
    if (typeof address !== 'string' || !isAddress(address)) return badRequest(c, 'Invalid address')
    devnet.grant(address)
    return c.json(holdingsOf(devnet, address))
  })
  api.get('/balances/:principal', (c) => {
    const principal = c.req.param('principal')
    return isPrincipal(principal)
      ? c.json(holdingsOf(devnet, principal))
      : badRequest(c, 'Invalid principal')
  })
  api.get('/transactions/:principal', (c) => {
    const principal = c.req.param('principal')
    if (!isAddress(principal)) return badRequest(c, 'Invalid principal')
    return c.json(devnet.transactionsOf(principal).map(summaryOf))
  })
  return api
}

function getQuote(c: Context, devnet: Devnet): Response {
  const quote = quoteOf(c, devnet)
  if (typeof quote === 'string') return c.json({ success: false, error: quote }, 400)
  return quote === undefined
    ? c.json({ success: false, error: 'No route found' })
    : c.json({ success: true, data: quote })
}

function getPublicQuote(c: Context, devnet: Devnet): Response {
  const quote = quoteOf(c, devnet)
  return quote === undefined || typeof quote === 'string'
    ? c.json({ success: false, error: 'Failed to get quote' }, 500)
    : c.json({ success: true, data: publicShapeOf(quote) })
}

/** The best quote, undefined where no route exists, or why the request is invalid. */
function quoteOf(c: Context, { chain }: Devnet): DevnetQuote | undefined | string {
  const { tokenIn = '', tokenOut = '', amount = '' } = c.req.query()
  if (!/^[0-9]{1,39}$/.test(amount) || BigInt(amount) === 0n || BigInt(amount) > MAX_U128)
    return 'amount must be an integer from 1 to 2^128 - 1'
  if (!isPrincipal(tokenIn) || !isPrincipal(tokenOut))
    return 'tokenIn and tokenOut must be contract ids'
  return bestQuote(chain, tokenIn, tokenOut, BigInt(amount))
}

function holdingsOf({ chain }: Devnet, principal: string) {
  const tokens = TOKENS.map((token) => [token, chain.tokenBalance(token, principal).toString()])
  return {
    address: principal,
    stx: chain.stxBalance(principal).toString(),
    tokens: Object.fromEntries(tokens) as Record<string, string>,
  }
}
