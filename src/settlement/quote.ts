import * as z from 'zod'
import { ok, type Result, refuse } from '../result.ts'
import { isContractId } from '../stacks/address.ts'
import type { Network } from '../stacks/network.ts'
import { discard, type PeerFetch, readResponseJson } from '../wire/response.ts'
import { extendUrl } from '../wire/url.ts'
import type { Hop, Quote } from './chain.ts'

const MAX_U128 = 2n ** 128n - 1n
/** A router takes so many vaults. */
const MAX_HOPS = 5
const MAX_BYTES = 2 ** 20

/** A whole number as text, or as a JSON number that is exact: a larger one has lost digits before it arrives here. */
const amount = z
  .union([z.string().regex(/^[0-9]{1,39}$/), z.int().nonnegative().transform(String)])
  .refine((text) => BigInt(text) <= MAX_U128)
/** A name of an asset, as Clarity defines it. */
export const ASSET_NAME = /^[a-zA-Z][a-zA-Z0-9_!?+<>=/*-]{0,127}$/
/** Hex, or a small number for its first byte, as public quote services send it. */
const opcode = z.union([
  z.string().regex(/^(0x)?([0-9a-fA-F]{2}){0,16}$/),
  z
    .int()
    .min(0)
    .max(255)
    .transform((byte) => byte.toString(16).padStart(2, '0')),
])
const hop = z
  .object({
    vault: z.union([z.string(), z.object({ contractId: z.string() })]),
    opcode,
    asset: z.string().max(300).nullish(),
  })
  .transform(
    ({ vault, opcode, asset }): Hop => ({
      vault: typeof vault === 'string' ? vault : vault.contractId,
      opcode,
      ...(asset != null && { asset }),
    }),
  )
/** The hops are in `route`, or beside the amount, and then there may be no minimum: the service's slippage makes one. */
const Found = z.object({
  success: z.literal(true),
  data: z.object({
    amountOut: amount,
    minimumReceived: amount.optional(),
    route: z.object({ hops: z.array(hop).max(MAX_HOPS) }).optional(),
    hops: z.array(hop).max(MAX_HOPS).optional(),
  }),
})
const QuoteResponse = z.discriminatedUnion('success', [
  Found,
  z.object({ success: z.literal(false), error: z.unknown() }),
])

export interface QuoteOptions {
  network: Network
  quoteUrl: string
  fetch: PeerFetch
  timeoutMs: number
}

/** Requests a route. `noRoute`: the service knows of none. Some services respond 500 in that case: `chainUnavailable`. */
export async function requestQuote(
  { network, quoteUrl, fetch, timeoutMs }: QuoteOptions,
  tokenIn: string,
  tokenOut: string,
  amountIn: string,
): Promise<Result<Quote, 'noRoute' | 'chainUnavailable'>> {
  try {
    const url = extendUrl(quoteUrl, '', { tokenIn, tokenOut, amount: amountIn })
    // A followed redirect would lead a credential of the address, and the service's requests, to another host.
    const signal = AbortSignal.timeout(timeoutMs)
    const response = await fetch(url, { signal, redirect: 'manual' })
    if (response.status >= 500 || (response.status >= 300 && response.status < 400)) {
      await discard(response)
      return refuse('chainUnavailable')
    }
    const quoted = QuoteResponse.safeParse(await readResponseJson(response, MAX_BYTES))
    if (!quoted.success) return refuse('chainUnavailable')
    if (!quoted.data.success) return refuse('noRoute')
    const { amountOut, minimumReceived = '0', route, hops = route?.hops ?? [] } = quoted.data.data
    if (hops.length === 0) return refuse('noRoute')
    return hops.every((one) => isHopOf(network, one))
      ? ok({ amountOut, minimumReceived, hops })
      : refuse('chainUnavailable')
  } catch {
    return refuse('chainUnavailable')
  }
}

/** Whether every contract of a hop is one of the network: it comes from a peer, and will be signed. */
function isHopOf(network: Network, { vault, asset }: Hop): boolean {
  const [token, name = '', ...more] = asset?.split('::') ?? []
  const isAsset = isContractId(token, network) && ASSET_NAME.test(name) && more.length === 0
  return isContractId(vault, network) && (asset === undefined || isAsset)
}
