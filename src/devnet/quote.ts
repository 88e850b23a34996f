import { bufferCV, type ClarityValue, someCV, uintCV } from '@stacks/transactions'
import type { ClarityChain } from './chain.ts'
import { ASSETS, DEPLOYER, VAULTS } from './constants.ts'

export interface QuoteHop {
  vault: string
  /** 16 bytes, hex. */
  opcode: string
  tokenIn: string
  tokenOut: string
  /** The asset for a post-condition on the vault; null where the token's balances are a map. */
  asset: string | null
  amountIn: string
  amountOut: string
}

export interface DevnetQuote {
  amountIn: string
  amountOut: string
  expectedPrice: number
  minimumReceived: string
  route: { hops: QuoteHop[] }
}

const MAX_HOPS = 5
const SLIPPAGE_PERCENT = 1n
const SELLS_A = '00'.repeat(16)
const SELLS_B = `01${'00'.repeat(15)}`

/** The best route that uses a vault at most once, priced by the vaults' own read-only function. */
export function bestQuote(
  chain: ClarityChain,
  tokenIn: string,
  tokenOut: string,
  amount: bigint,
): DevnetQuote | undefined {
  let best: QuoteHop[] | undefined
  const search = (token: string, amountIn: bigint, hops: QuoteHop[]) => {
    if (token === tokenOut && hops.length > 0) {
      if (best === undefined || amountIn > amountOutOf(best)) best = hops
      return
    }
    if (hops.length === MAX_HOPS) return
    for (const { vault, tokenA, tokenB } of VAULTS) {
      if (hops.some((hop) => hop.vault === vault)) continue
      if (token !== tokenA && token !== tokenB) continue
      const [opcode, next] = token === tokenA ? [SELLS_A, tokenB] : [SELLS_B, tokenA]
      const amountOut = amountThrough(chain, vault, opcode, amountIn)
      if (amountOut === 0n) continue
      const hop: QuoteHop = {
        vault,
        opcode,
        tokenIn: token,
        tokenOut: next,
        asset: ASSETS[next] ?? null,
        amountIn: amountIn.toString(),
        amountOut: amountOut.toString(),
      }
      search(next, amountOut, [...hops, hop])
    }
  }
  search(tokenIn, amount, [])
  if (best === undefined) return

  const amountOut = amountOutOf(best)
  return {
    amountIn: amount.toString(),
    amountOut: amountOut.toString(),
    expectedPrice: Number(amountOut) / Number(amount),
    minimumReceived: ((amountOut * (100n - SLIPPAGE_PERCENT)) / 100n).toString(),
    route: { hops: best },
  }
}

/** The shape of the public quote service: amounts and opcodes are JSON numbers, a hop has no more than these two. */
export function publicShapeOf({ route, ...quote }: DevnetQuote) {
  return {
    amountIn: Number(quote.amountIn),
    amountOut: Number(quote.amountOut),
    expectedPrice: quote.expectedPrice,
    minimumReceived: Number(quote.minimumReceived),
    route: {
      hops: route.hops.map(({ vault, opcode }) => ({
        vault,
        opcode: Number.parseInt(opcode.slice(0, 2), 16),
      })),
    },
  }
}

function amountOutOf(hops: QuoteHop[]): bigint {
  return BigInt(hops.at(-1)?.amountOut ?? 0)
}

function amountThrough(chain: ClarityChain, vault: string, opcode: string, amount: bigint): bigint {
  const args = [uintCV(amount), someCV(bufferCV(Buffer.from(opcode, 'hex')))]
  const delta = chain.readOnly(vault, 'quote', args, DEPLOYER)
  return delta.type === 'ok' ? dyOf(delta.value) : 0n
}

function dyOf(delta: ClarityValue): bigint {
  const dy = delta.type === 'tuple' ? delta.value.dy : undefined
  return dy?.type === 'uint' ? BigInt(dy.value) : 0n
}
