/**
 * Requests for quotes, for keys with the scope `rfq`: a quote is firm for ten seconds, for the wallet that asked, and is taken once. Any key
 * of that wallet may take it.
 */
import { randomUUID } from 'node:crypto'
import { refuse, serveBackend } from './backend.ts'

interface Quote {
  id: string
  walletAddress: string
  /** In the smallest unit. */
  amount: string
  price: string
  /** Milliseconds since 1970. */
  until: number
}

const FIRM_MS = 10_000
const MAX_QUOTES = 1_000
const quotes = new Map<string, Quote>()

serveBackend('rfq', {
  'POST /rfq/quotes': ({ walletAddress }, { body }) => {
    const { amount } = (body ?? {}) as { amount?: unknown }
    if (typeof amount !== 'string' || !/^[1-9]\d{0,30}$/.test(amount))
      return refuse(400, 'amount is a whole number, as text')
    for (const { id, until } of quotes.values()) if (until < Date.now()) quotes.delete(id)
    if (quotes.size >= MAX_QUOTES) return refuse(503, 'too many quotes')
    const until = Date.now() + FIRM_MS
    const quote: Quote = { id: randomUUID(), walletAddress, amount, price: '0.0000092', until }
    quotes.set(quote.id, quote)
    return { status: 201, body: quote }
  },
  'POST /rfq/quotes/{id}/accept': ({ walletAddress, keyId }, { path }) => {
    const quote = quotes.get(path.split('/')[3] ?? '')
    // The quote of another wallet is answered as none: its id tells nothing.
    if (quote === undefined || quote.walletAddress !== walletAddress || quote.until < Date.now())
      return refuse(404, 'no such quote')
    quotes.delete(quote.id)
    return { status: 200, body: { ...quote, acceptedBy: keyId } }
  },
})
