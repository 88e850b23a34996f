import * as z from 'zod'
import { ok, refuse } from '../result.ts'
import type { Chain, ChainStatus, Nonces } from './chain.ts'
import { submitResultOf } from './submit-result.ts'
import { amountOutOf } from './transaction.ts'

const Refused = z.object({ error: z.string(), reason: z.string() })
const nonce = z.int().nonnegative()
const Account = z.object({ nonce })
const NoncesV3 = z.object({
  next_nonce: nonce,
  mempool: z.object({ pending_nonces: z.array(nonce) }).optional(),
})
const NoncesV1 = z.object({
  possible_next_nonce: nonce,
  detected_mempool_nonces: z.array(nonce).optional(),
})
const Info = z.object({ stacks_tip_height: z.int().nonnegative() })

const result = z.object({ hex: z.string() }).nullish()
const FoundV3 = z.object({
  status: z.string(),
  canonical: z.boolean().optional(),
  block: z.object({ height: z.int().nonnegative() }).optional(),
  result,
})
const FoundV1 = z
  .object({
    tx_status: z.string(),
    canonical: z.boolean().optional(),
    block_height: z.int().optional(),
    tx_result: result,
  })
  .transform(({ tx_status, canonical, block_height, tx_result }) => ({
    status: tx_status,
    canonical,
    block: block_height === undefined ? undefined : { height: block_height },
    result: tx_result,
  }))
const Interface = z.object({ fungible_tokens: z.array(z.object({ name: z.string() })) })
const QuoteResponse = z.discriminatedUnion('success', [
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
  timeoutMs = 10_000,
}: {
  apiUrl: string
  quoteUrl: string
  fetch: typeof globalThis.fetch
  /** Longest wait for a response. */
  timeoutMs?: number
}): Chain {
  const base = apiUrl.replace(/\/$/, '')
  // A redirect is not followed: workerd has no `redirect: 'error'`.
  const get = (path: string) =>
    fetch(base + path, { signal: AbortSignal.timeout(timeoutMs), redirect: 'manual' })
  const assetNames = new Map<string, string>()

  /** The parsed response; `absent` for a 404; undefined for any other response or none. */
  async function request<T>(path: string, schema: z.ZodType<T>): Promise<T | 'absent' | undefined> {
    try {
      const response = await get(path)
      if (response.status === 404) {
        await response.body?.cancel()
        return 'absent'
      }
      return response.ok ? schema.parse(await response.json()) : undefined
    } catch {
      return undefined
    }
  }

  async function mempoolOf(address: string): Promise<Pick<Nonces, 'next' | 'pending'>> {
    const v3 = await request(`/extended/v3/principals/${address}/nonces`, NoncesV3)
    if (v3 !== undefined && v3 !== 'absent')
      return { next: v3.next_nonce, pending: v3.mempool?.pending_nonces ?? [] }
    const v1 = await request(`/extended/v1/address/${address}/nonces`, NoncesV1)
    if (v1 !== undefined && v1 !== 'absent')
      return { next: v1.possible_next_nonce, pending: v1.detected_mempool_nonces ?? [] }
    return { next: 0, pending: [] }
  }

  return {
    async submit(raw) {
      try {
        const response = await fetch(`${base}/v2/transactions`, {
          method: 'POST',
          headers: { 'Content-Type': 'application/octet-stream' },
          body: raw,
          signal: AbortSignal.timeout(timeoutMs),
          redirect: 'manual',
        })
        if (response.ok) return { kind: 'accepted' }
        if (response.status >= 500) return { kind: 'unknown', reason: `HTTP ${response.status}` }
        const refused = Refused.safeParse(await response.json())
        return refused.success
          ? submitResultOf(refused.data.reason)
          : { kind: 'unknown', reason: `HTTP ${response.status}` }
      } catch (error) {
        return { kind: 'unknown', reason: error instanceof Error ? error.name : 'unreachable' }
      }
    },

    async find(txid) {
      const v3 = await request(`/extended/v3/transactions/0x${txid}?include=result`, FoundV3)
      if (v3 !== undefined && v3 !== 'absent') return chainStatusOf(v3)
      const v1 = await request(`/extended/v1/tx/0x${txid}`, FoundV1)
      if (v1 !== undefined && v1 !== 'absent') return chainStatusOf(v1)
      return { kind: v3 ?? 'unknown' }
    },

    async height() {
      const info = await request('/v2/info', Info)
      return info === 'absent' ? undefined : info?.stacks_tip_height
    },

    async nonces(address) {
      const account = await request(`/v2/accounts/${address}?proof=0`, Account)
      if (account === undefined || account === 'absent') return undefined
      const { next, pending } = await mempoolOf(address)
      return { confirmed: account.nonce, next: Math.max(account.nonce, next), pending }
    },

    async quote(tokenIn, tokenOut, amount) {
      const query = new URLSearchParams({ tokenIn, tokenOut, amount })
      try {
        const response = await fetch(`${quoteUrl}?${query}`, {
          signal: AbortSignal.timeout(timeoutMs),
        })
        const answer = QuoteResponse.safeParse(await response.json())
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
        signal: AbortSignal.timeout(timeoutMs),
      })
      if (!response.ok) throw new Error(`the faucet responded with ${response.status}`)
      return response.json()
    },
  }
}

type Found = z.output<typeof FoundV3>

const OUTCOMES = ['success', 'abort_by_response', 'abort_by_post_condition'] as const

function chainStatusOf({ status, canonical, block, result }: Found): ChainStatus {
  if (status.startsWith('dropped_')) return { kind: 'dropped', reason: status }
  const outcome = OUTCOMES.find((one) => one === status)
  if (outcome === undefined || block === undefined) return { kind: 'pending' }
  if (canonical === false) return { kind: 'orphaned' }
  const amountOut = outcome === 'success' && result?.hex ? amountOutOf(result.hex) : undefined
  return {
    kind: 'mined',
    outcome,
    height: block.height,
    ...(amountOut !== undefined && { amountOut }),
  }
}
