import { addressToString, createAddress } from '@stacks/transactions'
import type { Context } from 'hono'

const CONTRACT_NAME = /^[a-zA-Z][a-zA-Z0-9_-]{0,127}$/
const HEX = /^(0x)?([0-9a-f]{2})+$/i

/** The body as a JSON object or list; undefined when it is neither. */
export async function jsonBody(c: Context): Promise<Record<string, unknown> | undefined> {
  const body: unknown = await c.req.json().catch(() => undefined)
  if (typeof body === 'object' && body !== null) return body as Record<string, unknown>
}

export function bytesOfHex(text: unknown): Uint8Array | undefined {
  if (typeof text === 'string' && HEX.test(text))
    return Buffer.from(text.replace(/^0x/i, ''), 'hex')
}

/** 400, as the devnet's own requests and the API of Stacks report it. */
export function badRequest(c: Context, error: string): Response {
  return c.json({ error }, 400)
}

/** 400, as a node reports a request that it cannot decode. */
export function undecodable(c: Context, message: string): Response {
  return c.text(message, 400)
}

export function plainTxid(txid: unknown): string {
  return String(txid).toLowerCase().replace(/^0x/, '')
}

export function isPrincipal(text: string): boolean {
  const [address = '', name, ...more] = text.split('.')
  return isAddress(address) && more.length === 0 && (name === undefined || CONTRACT_NAME.test(name))
}

export function isAddress(text: string): boolean {
  try {
    return /^S[TN]/.test(text) && addressToString(createAddress(text)) === text
  } catch {
    return false
  }
}
