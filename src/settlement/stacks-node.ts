import {
  type ClarityValue,
  deserializeCV,
  principalCV,
  serializeCV,
  stringAsciiCV,
} from '@stacks/transactions'
import * as z from 'zod'
import { toHex } from '../crypto/bytes.ts'
import { ok, refuse } from '../result.ts'
import { isContractId } from '../stacks/address.ts'
import type { Network } from '../stacks/network.ts'
import { type Chain, type ChainStatus, type Nonces, OUTCOMES, type Quote } from './chain.ts'
import { type SubmitResult, submitResultOf } from './submit-result.ts'
import { amountOutOf } from './transaction.ts'

const Rejection = z.object({ error: z.string(), reason: z.string() })
const nonce = z.int().nonnegative()
const Account = z.object({ nonce, balance: z.string().regex(/^0x[0-9a-f]{1,32}$/i) })
const MempoolV3 = z.object({
  last_nonce: nonce.nullish(),
  missing_nonces: z.array(nonce).optional(),
})
const NoncesV3 = z.object({
  next_nonce: nonce,
  last_confirmed_nonce: nonce.nullish(),
  mempool: MempoolV3.optional(),
})
const NoncesV1 = z
  .object({
    possible_next_nonce: nonce,
    last_executed_tx_nonce: nonce.nullish(),
    last_mempool_tx_nonce: nonce.nullish(),
    detected_missing_nonces: z.array(nonce).optional(),
  })
  .transform((v1) => ({
    next_nonce: v1.possible_next_nonce,
    last_confirmed_nonce: v1.last_executed_tx_nonce,
    mempool: { last_nonce: v1.last_mempool_tx_nonce, missing_nonces: v1.detected_missing_nonces },
  }))
const Info = z.object({ stacks_tip_height: z.int().nonnegative() })

const result = z.object({ hex: z.string() }).nullish()
const FoundV3 = z.object({
  status: z.string(),
  canonical: z.boolean().optional(),
  block: z.object({ height: z.int().nonnegative() }).optional(),
  result,
})
type Found = z.output<typeof FoundV3>
const FoundV1 = z
  .object({
    tx_status: z.string(),
    canonical: z.boolean().optional(),
    microblock_canonical: z.boolean().optional(),
    block_height: z.int().optional(),
    tx_result: result,
  })
  .transform(
    (v1): Found => ({
      status: v1.tx_status,
      canonical: v1.canonical !== false && v1.microblock_canonical !== false,
      block: v1.block_height === undefined ? undefined : { height: v1.block_height },
      result: v1.tx_result,
    }),
  )
const Interface = z.object({ fungible_tokens: z.array(z.object({ name: z.string() })) })
const Estimate = z.object({ estimations: z.array(z.object({ fee: z.number().nonnegative() })) })
const ReadOnly = z.discriminatedUnion('okay', [
  z.object({ okay: z.literal(true), result: z.string() }),
  z.object({ okay: z.literal(false), cause: z.string().optional() }),
])

const MAX_U128 = 2n ** 128n - 1n
/** A whole number as text, or as a JSON number that is exact: a larger one has lost digits before it arrives here. */
const amount = z
  .union([z.string().regex(/^[0-9]{1,39}$/), z.int().nonnegative().transform(String)])
  .refine((text) => BigInt(text) <= MAX_U128)
/** Hex, or a small number for its first byte, as the real quote service sends it. */
const opcode = z.union([
  z.string().regex(/^(0x)?([0-9a-fA-F]{2}){0,16}$/),
  z
    .int()
    .min(0)
    .max(255)
    .transform((byte) => byte.toString(16).padStart(2, '0')),
])
const QuoteResponse = z.discriminatedUnion('success', [
  z.object({
    success: z.literal(true),
    data: z.object({
      amountOut: amount,
      minimumReceived: amount,
      route: z.object({
        hops: z
          .array(
            z.object({
              vault: z.string(),
              opcode,
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

/** Read-only functions by which verifiers tell whether a uuid is used: the deployed one's, then the devnet's first one's. */
const USED_FUNCTIONS = ['check', 'is-used'] as const

/** Wait after a 429 without Retry-After. */
const DEFAULT_BACKOFF_MS = 5_000
const MAX_BACKOFF_MS = 60_000

export interface StacksNodeOptions {
  network: Network
  apiUrl: string
  quoteUrl: string
  fetch: typeof globalThis.fetch
  /** Milliseconds since 1970, for the end of a back-off. */
  now: () => number
  /** Longest wait for a response. */
  timeoutMs?: number
  /** Sent with every request to the API, for example an API key. */
  apiHeaders?: Readonly<Record<string, string>>
}

/** A client of a Stacks node's HTTP API and of the quote service. */
export function connectStacksNode({
  network,
  apiUrl,
  quoteUrl,
  fetch,
  now,
  timeoutMs = 10_000,
  apiHeaders = {},
}: StacksNodeOptions): Chain {
  const base = apiUrl.replace(/\/$/, '')
  const assetNames = new Map<string, string>()
  const allowedInputs = new Set<string>()
  let backOffUntil = 0

  /** A redirect is not followed: workerd has no `redirect: 'error'`. A 429 pauses every look-up until Retry-After. */
  async function send(path: string, init: RequestInit = {}): Promise<Response> {
    const response = await fetch(base + path, {
      ...init,
      headers: { ...apiHeaders, ...init.headers },
      signal: AbortSignal.timeout(timeoutMs),
      redirect: 'manual',
    })
    if (response.status === 429) backOffUntil = now() + backOffMs(response, now())
    return response
  }

  /** The parsed response; `absent` for a 404; undefined for any other response, none, or during a back-off. */
  async function request<T>(
    path: string,
    schema: z.ZodType<T>,
    init?: RequestInit,
  ): Promise<T | 'absent' | undefined> {
    if (now() < backOffUntil) return undefined
    try {
      const response = await send(path, init)
      if (!response.ok) {
        await response.body?.cancel()
        return response.status === 404 ? 'absent' : undefined
      }
      return schema.parse(await response.json())
    } catch {
      return undefined
    }
  }
  const post = (body: unknown): RequestInit => ({
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  })

  /** The response of a newer endpoint, or of an older one where the newer one is gone; not after a 429. */
  async function requestEither<T>(
    newer: readonly [path: string, schema: z.ZodType<T>],
    older: readonly [path: string, schema: z.ZodType<T>],
  ): Promise<T | 'absent' | undefined> {
    const first = await request(...newer)
    if (first !== undefined && first !== 'absent') return first
    const second = await request(...older)
    return second ?? first
  }

  async function callReadOnly(
    contractId: string,
    name: string,
    args: ClarityValue[],
  ): Promise<ClarityValue | 'absent' | undefined> {
    const [address = '', contract = ''] = contractId.split('.')
    const found = await request(
      `/v2/contracts/call-read/${address}/${contract}/${name}`,
      ReadOnly,
      post({ sender: address, arguments: args.map((arg) => `0x${serializeCV(arg)}`) }),
    )
    if (found === undefined || found === 'absent') return found
    try {
      return found.okay ? deserializeCV(found.result) : 'absent'
    } catch {
      return undefined
    }
  }

  return {
    async submit(raw): Promise<SubmitResult> {
      try {
        const response = await send('/v2/transactions', {
          method: 'POST',
          headers: { 'Content-Type': 'application/octet-stream' },
          body: raw,
        })
        if (response.ok) return { kind: 'accepted' }
        const unknown: SubmitResult = { kind: 'unknown', reason: `HTTP ${response.status}` }
        if (response.status !== 400) return unknown
        const rejection = Rejection.safeParse(await jsonOf(response))
        // A node answers bytes that it cannot decode in plain text.
        if (!rejection.success) return { kind: 'refused', reason: 'Deserialization' }
        return submitResultOf(rejection.data.reason)
      } catch (error) {
        return { kind: 'unknown', reason: error instanceof Error ? error.name : 'unreachable' }
      }
    },

    async find(txid) {
      const found = await requestEither(
        [`/extended/v3/transactions/0x${txid}?include=result`, FoundV3],
        [`/extended/v1/tx/0x${txid}`, FoundV1],
      )
      if (found === undefined) return { kind: 'unknown' }
      return found === 'absent' ? { kind: 'absent' } : chainStatusOf(found)
    },

    async height() {
      const info = await request('/v2/info', Info)
      return info === 'absent' ? undefined : info?.stacks_tip_height
    },

    async account(address) {
      const account = await request(`/v2/accounts/${address}?proof=0`, Account)
      if (account === undefined || account === 'absent') return undefined
      return { nonce: account.nonce, balance: BigInt(account.balance) }
    },

    async nonces(address) {
      const account = await request(`/v2/accounts/${address}?proof=0`, Account)
      if (account === undefined || account === 'absent') return undefined
      const found = await requestEither(
        [`/extended/v3/principals/${address}/nonces`, NoncesV3],
        [`/extended/v1/address/${address}/nonces`, NoncesV1],
      )
      return found === undefined || found === 'absent' ? undefined : noncesOf(account.nonce, found)
    },

    async estimateFee(payload, byteLength) {
      const found = await request(
        '/v2/fees/transaction',
        Estimate,
        post({ transaction_payload: toHex(payload), estimated_len: byteLength }),
      )
      if (found === undefined || found === 'absent') return undefined
      const [low, middle] = found.estimations
      const estimate = middle ?? low
      return estimate === undefined ? undefined : Math.ceil(estimate.fee)
    },

    async tokenBalance(contractId, owner) {
      const value = await callReadOnly(contractId, 'get-balance', [principalCV(owner)])
      if (value === undefined || value === 'absent') return undefined
      const balance = value.type === 'ok' ? value.value : value
      return balance.type === 'uint' ? BigInt(balance.value) : undefined
    },

    async isUuidUsed(verifier, uuid) {
      for (const name of USED_FUNCTIONS) {
        const value = await callReadOnly(verifier, name, [stringAsciiCV(uuid)])
        if (value === undefined) return undefined
        if (value === 'absent') continue
        const used = value.type === 'ok' || value.type === 'some' ? value.value : value
        if (used.type === 'true') return true
        if (used.type === 'false' || used.type === 'none') return false
      }
      return undefined
    },

    async isInputAllowed(router, token) {
      const name = `${router} ${token}`
      if (allowedInputs.has(name)) return true
      const value = await callReadOnly(router, 'is-input', [principalCV(token)])
      if (value === undefined) return undefined
      if (value === 'absent' || value.type !== 'true') return false
      allowedInputs.add(name) // What a router allows it allows for ever.
      return true
    },

    async quote(tokenIn, tokenOut, amountIn) {
      const url = new URL(quoteUrl)
      for (const [name, value] of Object.entries({ tokenIn, tokenOut, amount: amountIn }))
        url.searchParams.set(name, value)
      try {
        const response = await fetch(url.href, { signal: AbortSignal.timeout(timeoutMs) })
        if (response.status >= 500) return refuse('chainUnavailable')
        const quoted = QuoteResponse.safeParse(await response.json())
        if (!quoted.success) return refuse('chainUnavailable')
        if (!quoted.data.success) return refuse('noRoute')
        const { amountOut, minimumReceived, route } = quoted.data.data
        const quote: Quote = { amountOut, minimumReceived, hops: route.hops }
        return isRouteOf(network, quote) ? ok(quote) : refuse('chainUnavailable')
      } catch {
        return refuse('chainUnavailable')
      }
    },

    async assetName(contractId) {
      const known = assetNames.get(contractId)
      if (known !== undefined) return known
      const found = await request(
        `/v2/contracts/interface/${contractId.replace('.', '/')}`,
        Interface,
      )
      if (found === undefined || found === 'absent') return undefined
      // The interface lists assets by name: of several, none is known to be the one that is paid.
      const [asset, another] = found.fungible_tokens
      if (asset === undefined || another !== undefined) return undefined
      assetNames.set(contractId, asset.name)
      return asset.name
    },

    async isReachable() {
      const response = await send('/v2/info').catch(() => undefined)
      await response?.body?.cancel()
      return response?.ok === true
    },

    async fund(address) {
      const response = await send('/faucet', post({ address }))
      if (!response.ok) throw new Error(`the faucet responded with ${response.status}`)
      return response.json()
    },
  }
}

async function jsonOf(response: Response): Promise<unknown> {
  try {
    return JSON.parse(await response.text())
  } catch {
    return undefined
  }
}

function backOffMs({ headers }: Response, now: number): number {
  const retryAfter = headers.get('retry-after') ?? ''
  const seconds = /^\d{1,9}$/.test(retryAfter)
    ? Number(retryAfter)
    : (Date.parse(retryAfter) - now) / 1000
  const ms = Number.isFinite(seconds) ? Math.max(0, seconds * 1000) : DEFAULT_BACKOFF_MS
  return Math.min(ms, MAX_BACKOFF_MS)
}

/**
 * `missing_nonces` lists what is missing between the last confirmed and the highest pending nonce. Of an account without a
 * confirmed transaction the API lists neither pending nor missing ones, and `last_nonce` alone says that there are some.
 */
function noncesOf(confirmed: number, found: z.output<typeof NoncesV3>): Nonces {
  const last = found.mempool?.last_nonce ?? undefined
  const missing = new Set(found.mempool?.missing_nonces)
  return {
    confirmed,
    next: Math.max(confirmed, found.next_nonce, last === undefined ? 0 : last + 1),
    isUnused: (nonce) => last === undefined || nonce > last || missing.has(nonce),
  }
}

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

/** Whether every contract of a route is one of the network: what is signed comes from a peer. */
function isRouteOf(network: Network, { hops }: Quote): boolean {
  return hops.every(
    ({ vault, asset }) =>
      isContractId(vault, network) &&
      (asset === undefined || isContractId(asset.split('::')[0], network)),
  )
}
