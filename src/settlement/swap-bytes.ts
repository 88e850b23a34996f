import { fromHex, toHex } from '../crypto/bytes.ts'
import {
  asciiName,
  buffer,
  type ClarityHex,
  contractPrincipal,
  NONE,
  principal,
  some,
  stringAscii,
  tuple,
  uint,
} from '../stacks/clarity.ts'
import { committedTermsTuple, swapAccountOf } from '../stacks/committed.ts'
import { chainId, type Network } from '../stacks/network.ts'
import type { Hop } from './chain.ts'
import type { RoutableOrder, Route } from './swap.ts'

/*
 * The bytes of a swap (SIP-005), written from its parts: stacks.js decodes every address of a call several times, and checks what
 * was checked before, which takes longer than the signature. A test compares them with those of stacks.js.
 */

/** What a swap is built from: a verified order and its route. */
export type Swap = Pick<
  RoutableOrder,
  | 'router'
  | 'inputToken'
  | 'amountIn'
  | 'signature'
  | 'uuid'
  | 'outputToken'
  | 'recipient'
  | 'terms'
> &
  Pick<Route, 'hops' | 'outputAsset' | 'minimumReceived'>

/** The most that a post-condition can name: Clarity's amounts have 128 bits, those of post-conditions 64. */
export const MAX_CONDITION_AMOUNT = 2n ** 64n - 1n

const VERSION = { mainnet: '00', testnet: '80', devnet: '80' } as const satisfies Record<
  Network,
  string
>
/** Standard authorization by one key, without signer, nonce, fee and signature. */
const AUTHORIZATION = `0400${'00'.repeat(20 + 8 + 8 + 1 + 65)}`
/** Any anchor mode; deny mode. */
const MODES = '0302'
const CONTRACT_CALL = '02'
const FUNGIBLE = '01'
const AT_LEAST = '03'
/** Of a principal in a post-condition, which differs from that of a Clarity value. */
const CONDITION_PRINCIPAL = { '05': '02', '06': '03' } as const

/** A transaction without what its signer decides, and where its payload begins. */
export interface SwapBytes {
  bytes: Uint8Array<ArrayBuffer>
  payloadAt: number
}

/**
 * Writes `x-swap-N` of the router: one tuple for the input, one for each hop, one for the output. For a committed router the
 * output is the terms, and a hop before the last names the token that it pays, where the quote says it.
 */
export function swapBytes(swap: Swap, network: Network): SwapBytes {
  const conditions = postConditionsOf(swap)
  const head = `${VERSION[network]}${hexOf(chainId(network), 4)}${AUTHORIZATION}${MODES}${hexOf(conditions.length, 4)}${conditions.join('')}`
  const args = argumentsOf(swap, network)
  const call = `${CONTRACT_CALL}${contractOf(swap.router)}${asciiName(`x-swap-${swap.hops.length}`)}`
  return {
    bytes: fromHex(`${head}${call}${hexOf(args.length, 4)}${args.join('')}`),
    payloadAt: head.length / 2,
  }
}

function argumentsOf(swap: Swap, network: Network): ClarityHex[] {
  const input = tuple({
    amount: uint(BigInt(swap.amountIn)),
    signature: buffer(toHex(swap.signature)),
    token: contractPrincipal(swap.inputToken),
    uuid: stringAscii(swap.uuid),
  })
  const hops = swap.hops.map((hop, at) =>
    tuple({
      opcode: buffer(hop.opcode.replace(/^0x/, '').toLowerCase()),
      ...(swap.terms !== undefined && at < swap.hops.length - 1 && { token: tokenPaidBy(hop) }),
      vault: contractPrincipal(hop.vault),
    }),
  )
  const output =
    swap.terms === undefined
      ? tuple({ to: principal(swap.recipient), token: contractPrincipal(swap.outputToken) })
      : committedTermsTuple(swap.terms, network)
  return [input, ...hops, output]
}

/**
 * Deny mode with these exceptions: the last vault pays at least the minimum, the other vaults pay any amount, and the
 * router passes it on. A malicious token contract in a trader's order cannot move the operator's own assets.
 */
function postConditionsOf(swap: Swap): string[] {
  const output = `${swap.outputToken}::${swap.outputAsset}`
  const last = swap.hops.length - 1
  const trader = swap.terms === undefined ? swap.router : swapAccountOf(swap.router)
  return swap.hops.flatMap((hop, at) => {
    const asset = at === last ? output : hop.asset
    if (asset === undefined) return []
    return [
      sends(hop.vault, asset, at === last ? swap.minimumReceived : '0'),
      sends(trader, asset, '0'),
    ]
  })
}

function sends(sender: string, asset: string, atLeast: string): string {
  const [token = '', name = ''] = asset.split('::')
  const value = principal(sender)
  const kind = CONDITION_PRINCIPAL[value.slice(0, 2) as keyof typeof CONDITION_PRINCIPAL]
  const amount = BigInt(atLeast)
  const capped = amount < MAX_CONDITION_AMOUNT ? amount : MAX_CONDITION_AMOUNT
  return `${FUNGIBLE}${kind}${value.slice(2)}${contractOf(token)}${asciiName(name)}${AT_LEAST}${hexOf(capped, 8)}`
}

function tokenPaidBy({ asset }: Hop): ClarityHex {
  const [token] = asset?.split('::') ?? []
  return token === undefined ? NONE : some(contractPrincipal(token))
}

/** A contract as transactions name it: a Clarity value without its type. */
function contractOf(contractId: string): string {
  return contractPrincipal(contractId).slice(2)
}

function hexOf(number: number | bigint, bytes: number): string {
  return number.toString(16).padStart(2 * bytes, '0')
}
