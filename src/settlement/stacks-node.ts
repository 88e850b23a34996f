import * as z from 'zod'
import { ok, refuse } from '../result.ts'
import { answerOf } from './answer.ts'
import type { Chain } from './chain.ts'

const TIMEOUT_MS = 10_000

const Refused = z.object({ error: z.string(), reason: z.string() })
const Account = z.object({ nonce: z.int().nonnegative() })
const Nonces = z.object({ possible_next_nonce: z.int().nonnegative() })
const Interface = z.object({ fungible_tokens: z.array(z.object({ name: z.string() })) })
const QuoteAnswer = z.discriminatedUnion('success', [
  z.object({
    success: z.literal(true),
    data: z.object({
      amountOut: z.coerce.string().regex(/^[0-9]{1,39}$/),
      minimumReceived: z.coerce.string().regex(/^[0-9]{1,39}$/),
      route: z.object({
        hops: z
          .array(
            z.object({
              vault: z.string(),
              opcode: z.string().regex(/^(0x)?([0-9a-fA-F]{2}){0,16}$/),
              asset: z
                .string()
                .regex(/^S[0-9A-Z]+\.[\w-]+::[\w-]+$/)
                .nullish()
                .transform((asset) => asset ?? undefined),
            }),
          )
          .min(1)
          .max(5),
      }),
    }),
  }),
  z.object({ success: z.literal(false), error: z.unknown() }),
])

/** A client of a Stacks node's HTTP API and of the quote service. */
export function connectStacksNode({
  apiUrl,
  quoteUrl,
  fetch,
}: {
  apiUrl: string
  quoteUrl: string
  fetch: typeof globalThis.fetch
}): Chain {
  const base = apiUrl.replace(/\/$/, '')
  const get = (path: string) =>
    fetch(base + path, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: 'error' })
  const assetNames = new Map<string, string>()

  return {
    async submit(raw) {
      try {
        const response = await fetch(`${base}/v2/transactions`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/octet-stream' },
          body: raw,
          signal: AbortSignal.timeout(TIMEOUT_MS),
          redirect: 'error',
        })
        if (response.ok) return { kind: 'accepted' }
        if (response.status >= 500) return { kind: 'unknown', reason: `HTTP ${response.status}` }
        const refused = Refused.safeParse(await response.json())
        return refused.success
          ? answerOf(refused.data.reason)
          : { kind: 'unknown', reason: `HTTP ${response.status}` }
      } catch (error) {
        return { kind: 'unknown', reason: error instanceof Error ? error.name : 'unreachable' }
      }
    },

    async nextNonce(address) {
      const seen = await get(`/extended/v1/address/${address}/nonces`).catch(() => undefined)
      const nonces = seen?.ok ? Nonces.safeParse(await seen.json()) : undefined
      if (nonces?.success) return nonces.data.possible_next_nonce
      const account = await get(`/v2/accounts/${address}?proof=0`)
      return Account.parse(await account.json()).nonce
    },

    async quote(tokenIn, tokenOut, amount) {
      const query = new URLSearchParams({ tokenIn, tokenOut, amount })
      try {
        const response = await fetch(`${quoteUrl}?${query}`, {
          signal: AbortSignal.timeout(TIMEOUT_MS),
        })
        const answer = QuoteAnswer.safeParse(await response.json())
        if (!answer.success) return refuse('chainUnavailable')
        if (!answer.data.success) return refuse('noRoute')
        const { amountOut, minimumReceived, route } = answer.data.data
        return ok({ amountOut, minimumReceived, hops: route.hops })
      } catch {
        return refuse('chainUnavailable')
      }
    },

    async assetName(contractId) {
      const known = assetNames.get(contractId)
      if (known !== undefined) return known
      const [address, name] = contractId.split('.')
      try {
        const response = await get(`/v2/contracts/interface/${address}/${name}`)
        const found = Interface.parse(await response.json()).fungible_tokens[0]?.name
        if (found !== undefined) assetNames.set(contractId, found)
        return found
      } catch {
        return undefined
      }
    },

    async isReachable() {
      const info = await get('/v2/info').catch(() => undefined)
      return info?.ok === true
    },

    async fund(address) {
      const response = await fetch(`${base}/faucet`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ address }),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      })
      if (!response.ok) throw new Error(`faucet answered ${response.status}`)
      return response.json()
    },
  }
}
