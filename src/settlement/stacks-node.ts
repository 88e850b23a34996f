import { type ClarityValue, deserializeCV } from '@stacks/transactions'
import * as z from 'zod'
import { toHex } from '../crypto/bytes.ts'
import { type ClarityHex, principal, stringAscii } from '../stacks/clarity.ts'
import type { Network } from '../stacks/network.ts'
import { discard, type PeerResponse } from '../wire/response.ts'
import {
  type Account,
  type Chain,
  type ChainStatus,
  type Nonces,
  OUTCOMES,
  type TokenFacts,
} from './chain.ts'
import { ASSET_NAME, requestQuote } from './quote.ts'
import { openStacksApi, post, type StacksApi, type StacksApiOptions } from './stacks-api.ts'
import { reasonWord, type SubmitResult, submitResultOf } from './submit-result.ts'
import { amountOutOf } from './transaction.ts'

const Rejection = z.object({ error: z.string(), reason: z.string() })
const nonce = z.int().nonnegative()
const AccountJson = z.object({ nonce, balance: z.string().regex(/^0x[0-9a-f]{1,32}$/i) })
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
const Interface = z.object({
  fungible_tokens: z.array(z.object({ name: z.string().regex(ASSET_NAME) })),
})
const Estimate = z.object({ estimations: z.array(z.object({ fee: z.number().nonnegative() })) })
const ReadOnly = z.discriminatedUnion('okay', [
  z.object({ okay: z.literal(true), result: z.string() }),
  z.object({ okay: z.literal(false), cause: z.string().optional() }),
])

/** Read-only functions by which verifiers tell whether a uuid is used: the deployed one's, then the devnet's first one's. */
const USED_FUNCTIONS = ['check', 'is-used'] as const

const MAX_TOKEN_FACTS = 1_000

export interface StacksNodeOptions
  extends Omit<StacksApiOptions, 'timeoutMs' | 'apiHeaders'>,
    Partial<Pick<StacksApiOptions, 'timeoutMs' | 'apiHeaders'>> {
  network: Network
  quoteUrl: string
}

/** A client of a Stacks node's HTTP API and of the quote service. */
export function connectStacksNode({
  network,
  quoteUrl,
  timeoutMs = 10_000,
  apiHeaders = {},
  ...options
}: StacksNodeOptions): Chain {
  const api = openStacksApi({ ...options, timeoutMs, apiHeaders })
  const { fetch, now } = options
  return {
    ...transactions(api, now),
    ...accounts(api),
    ...contracts(api),
    quote: shareUnderWay((tokenIn, tokenOut, amountIn) =>
      requestQuote({ network, quoteUrl, fetch, timeoutMs }, tokenIn, tokenOut, amountIn),
    ),
    async isReachable() {
      const response = await api.send('/v2/info').catch(() => undefined)
      if (response !== undefined) await discard(response)
      return response?.ok === true
    },
    async fund(address) {
      const response = await api.send('/faucet', post({ address }))
      if (response.ok) return api.read(response)
      await discard(response)
      throw new Error(`the faucet responded with ${response.status}`)
    },
  }
}

/**
 * Concurrent calls with equal arguments share one request. Nothing is kept once it has ended: an execute that begins later looks
 * anew, and a failure fails only those that waited for it.
 */
function shareUnderWay<Args extends string[], T>(
  request: (...args: Args) => Promise<T>,
): (...args: Args) => Promise<T> {
  const underWay = new Map<string, Promise<T>>()
  return (...args) => {
    const name = args.join(' ')
    const known = underWay.get(name)
    if (known !== undefined) return known
    const begun = request(...args).finally(() => underWay.delete(name))
    underWay.set(name, begun)
    return begun
  }
}

/** A block takes as long, and an estimate follows from past blocks. */
const ESTIMATE_MAX_AGE_MS = 5_000
const MAX_ESTIMATES = 1_000

/** Of a payload (SIP-005): its type, the address of a contract, and the names of the contract and the function. */
const PAYLOAD_CONTRACT_CALL = 2
const CONTRACT_NAME_AT = 22

/** What a node's estimate depends on: the size, and the function that is called. Undefined for what calls none. */
function estimateName(payload: Uint8Array, byteLength: number): string | undefined {
  if (payload[0] !== PAYLOAD_CONTRACT_CALL) return undefined
  const functionNameAt = CONTRACT_NAME_AT + 1 + (payload[CONTRACT_NAME_AT] ?? 0)
  const end = functionNameAt + 1 + (payload[functionNameAt] ?? 0)
  return `${toHex(payload.subarray(0, end))} ${byteLength}`
}

/** The node's estimates of fees, each kept for a moment. That there is none is not kept. */
function feeEstimates(api: StacksApi, now: () => number): Chain['estimateFee'] {
  const kept = new Map<string, { fee: Promise<number | undefined>; readAt: number }>()
  return async (payload, byteLength) => {
    const name = estimateName(payload, byteLength)
    if (name === undefined) return requestEstimate(api, payload, byteLength)
    const known = kept.get(name)
    if (known !== undefined && Math.abs(now() - known.readAt) < ESTIMATE_MAX_AGE_MS)
      return known.fee
    if (kept.size >= MAX_ESTIMATES) kept.delete(kept.keys().next().value as string)
    const one = { fee: requestEstimate(api, payload, byteLength), readAt: now() }
    kept.set(name, one)
    const fee = await one.fee
    if (fee === undefined && kept.get(name) === one) kept.delete(name)
    return fee
  }
}

async function requestEstimate(
  api: StacksApi,
  payload: Uint8Array,
  byteLength: number,
): Promise<number | undefined> {
  const found = await api.request(
    '/v2/fees/transaction',
    Estimate,
    post({ transaction_payload: toHex(payload), estimated_len: byteLength }),
  )
  if (found === undefined || found === 'absent') return undefined
  const [low, middle] = found.estimations
  const estimate = middle ?? low
  return estimate === undefined ? undefined : Math.ceil(estimate.fee)
}

function transactions(
  api: StacksApi,
  now: () => number,
): Pick<Chain, 'submit' | 'find' | 'height' | 'estimateFee'> {
  return {
    submit: (raw) => submit(api, raw),
    async find(txid) {
      const found = await api.requestEither(
        [`/extended/v3/transactions/0x${txid}?include=result`, FoundV3],
        [`/extended/v1/tx/0x${txid}`, FoundV1],
      )
      if (found === undefined) return { kind: 'unknown' }
      return found === 'absent' ? { kind: 'absent' } : chainStatusOf(found)
    },
    async height() {
      const info = await api.request('/v2/info', Info)
      return info === 'absent' ? undefined : info?.stacks_tip_height
    },
    estimateFee: feeEstimates(api, now),
  }
}

async function submit(api: StacksApi, raw: Uint8Array<ArrayBuffer>): Promise<SubmitResult> {
  try {
    const response = await api.send('/v2/transactions', {
      method: 'POST',
      headers: { 'Content-Type': 'application/octet-stream' },
      body: raw,
    })
    if (response.status !== 400) {
      await discard(response)
      return response.ok
        ? { kind: 'accepted' }
        : { kind: 'unknown', reason: `HTTP ${response.status}` }
    }
    const rejection = Rejection.safeParse(await jsonOf(api, response))
    // A node answers bytes that it cannot decode in plain text.
    return rejection.success
      ? submitResultOf(rejection.data.reason)
      : { kind: 'refused', reason: 'Deserialization' }
  } catch (error) {
    return { kind: 'unknown', reason: error instanceof Error ? error.name : 'unreachable' }
  }
}

function accounts(api: StacksApi): Pick<Chain, 'account' | 'nonces'> {
  async function account(address: string) {
    const found = await api.request(`/v2/accounts/${address}?proof=0`, AccountJson)
    if (found === undefined || found === 'absent') return undefined
    return { nonce: found.nonce, balance: BigInt(found.balance) }
  }
  return {
    account,
    async nonces(address) {
      const confirmed = await account(address)
      if (confirmed === undefined) return undefined
      const found = await api.requestEither(
        [`/extended/v3/principals/${address}/nonces`, NoncesV3],
        [`/extended/v1/address/${address}/nonces`, NoncesV1],
      )
      if (found === undefined || found === 'absent') return undefined
      return noncesOf(confirmed, found)
    },
  }
}

function contracts(
  api: StacksApi,
): Pick<
  Chain,
  'tokenBalance' | 'tokenHolding' | 'isUuidUsed' | 'isInputAllowed' | 'assetName' | 'tokenFacts'
> {
  const assetNames = new Map<string, string>()
  const allowedInputs = new Set<string>()
  const tokenFacts = new Map<string, TokenFacts>()
  const tokenHolding = shareUnderWay(async (contractId, owner) => {
    const value = await callReadOnly(api, contractId, 'get-balance', [principal(owner)])
    if (value === undefined || value === 'absent') return value
    const balance = value.type === 'ok' ? value.value : value
    return balance.type === 'uint' ? BigInt(balance.value) : 'absent'
  })
  return {
    tokenHolding,
    async tokenBalance(contractId, owner) {
      const held = await tokenHolding(contractId, owner)
      return held === 'absent' ? 0n : held
    },
    async isUuidUsed(verifier, uuid) {
      for (const name of USED_FUNCTIONS) {
        const value = await callReadOnly(api, verifier, name, [stringAscii(uuid)])
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
      const value = await callReadOnly(api, router, 'is-input', [principal(token)])
      if (value === undefined) return undefined
      if (value === 'absent' || value.type !== 'true') return false
      allowedInputs.add(name) // What a router allows it allows for ever.
      return true
    },
    async assetName(contractId) {
      const known = assetNames.get(contractId)
      if (known !== undefined) return known
      const path = `/v2/contracts/interface/${contractId.replace('.', '/')}`
      const found = await api.request(path, Interface)
      if (found === undefined || found === 'absent') return undefined
      // The interface lists assets by name: of several, none is known to be the one that is paid.
      const [asset, another] = found.fungible_tokens
      if (asset === undefined || another !== undefined) return undefined
      assetNames.set(contractId, asset.name)
      return asset.name
    },
    async tokenFacts(contractId) {
      const known = tokenFacts.get(contractId)
      if (known !== undefined) return known
      const [symbol, decimals] = await Promise.all(
        ['get-symbol', 'get-decimals'].map((name) => callReadOnly(api, contractId, name, [])),
      )
      if (symbol === undefined || decimals === undefined) return undefined
      const facts = tokenFactsOf(symbol, decimals)
      if (facts === undefined) return 'absent'
      // Any caller may ask for any contract: the memory of the answers is bounded.
      if (tokenFacts.size >= MAX_TOKEN_FACTS)
        tokenFacts.delete(tokenFacts.keys().next().value as string)
      tokenFacts.set(contractId, facts)
      return facts
    },
  }
}

/** Undefined for what is no SIP-010 token. No token has more decimals than a uint has digits. */
function tokenFactsOf(
  symbol: ClarityValue | 'absent',
  decimals: ClarityValue | 'absent',
): TokenFacts | undefined {
  if (symbol === 'absent' || decimals === 'absent') return undefined
  if (symbol.type !== 'ok' || decimals.type !== 'ok') return undefined
  const [text, places] = [symbol.value, decimals.value]
  if ((text.type !== 'ascii' && text.type !== 'utf8') || places.type !== 'uint') return undefined
  const count = Number(places.value)
  return count <= 38 ? { symbol: text.value, decimals: count } : undefined
}

/** The result of a read-only function; `absent` when the contract or the function does not exist. */
async function callReadOnly(
  api: StacksApi,
  contractId: string,
  name: string,
  args: readonly ClarityHex[],
): Promise<ClarityValue | 'absent' | undefined> {
  const [address = '', contract = ''] = contractId.split('.')
  const found = await api.request(
    `/v2/contracts/call-read/${address}/${contract}/${name}`,
    ReadOnly,
    post({ sender: address, arguments: args.map((arg) => `0x${arg}`) }),
  )
  if (found === undefined || found === 'absent') return found
  try {
    return found.okay ? deserializeCV(found.result) : 'absent'
  } catch {
    return undefined
  }
}

/** Undefined for a text that is no JSON. Rejects where there is none: what the node did is not known then. */
async function jsonOf(api: StacksApi, response: PeerResponse): Promise<unknown> {
  try {
    return await api.read(response)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** A node holds 25 pending transactions of an account; several nodes behind one API may differ by some. */
const MAX_NONCES_AHEAD = 1_000

/**
 * Undefined for a next nonce that no mempool leads to: the operator's stored nonce never decreases, so that one lie would keep
 * the account from settling for good.
 *
 * `missing_nonces` lists what is missing between the last confirmed and the highest pending nonce. Of an account without a
 * confirmed transaction the API lists neither pending nor missing ones, and `last_nonce` alone says that there are some.
 */
function noncesOf(
  { nonce: confirmed, balance }: Account,
  found: z.output<typeof NoncesV3>,
): Nonces | undefined {
  const last = found.mempool?.last_nonce ?? undefined
  const missing = new Set(found.mempool?.missing_nonces)
  const next = Math.max(confirmed, found.next_nonce, last === undefined ? 0 : last + 1)
  if (next > confirmed + MAX_NONCES_AHEAD) return undefined
  return {
    confirmed,
    next,
    balance,
    isUnused: (nonce) => last === undefined || nonce > last || missing.has(nonce),
  }
}

function chainStatusOf({ status, canonical, block, result }: Found): ChainStatus {
  if (status.startsWith('dropped_')) return { kind: 'dropped', reason: reasonWord(status) }
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
