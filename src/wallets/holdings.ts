import type { Chain, TokenFacts } from '../settlement/chain.ts'

/** A value, and when the chain was asked for it: milliseconds since 1970. */
export interface Reading<T> {
  value: T
  readAt: number
}

/** What is known of a wallet on chain. What the chain did not tell lately is undefined. */
export interface WalletHoldings {
  account: Reading<{ confirmed: number; next: number | undefined; microStx: bigint }> | undefined
  tokens: ReadonlyMap<string, Reading<bigint | 'absent'>>
  facts: ReadonlyMap<string, TokenFacts>
}

/** Resolves to what is known of a wallet, after an attempt to read what is too old. Never rejects. */
export type ReadHoldings = (walletAddress: string) => Promise<WalletHoldings>

/** The chain is not asked again for a value that was read, or asked for in vain, within this time. */
export const HOLDINGS_MAX_AGE_MS = 5_000
/** An older value says too little to be shown. */
const MAX_SHOWN_AGE_MS = 60_000
/** A caller waits no longer for the chain; what arrives later is kept for the next one. */
const MAX_WAIT_MS = 2_500
const MAX_WALLETS = 1_000
/** Wallets that are read at once: a chain that is slow must not gather requests without end. */
const MAX_UNDER_WAY = 50
/** A longer symbol is a node's or a contract's attempt to fill memory. */
const MAX_SYMBOL_LENGTH = 32

export interface HoldingsOptions {
  chain: Pick<Chain, 'nonces' | 'account' | 'tokenHolding' | 'tokenFacts'>
  /** Contract ids. */
  tokens: readonly string[]
  now: () => number
  pause: (ms: number) => Promise<void>
  /** Whether callers may wait for what another one began. On Workers a promise belongs to the request that made it. */
  sharesPending: boolean
}

interface Known {
  account: WalletHoldings['account']
  tokens: Map<string, Reading<bigint | 'absent'>>
  triedAt: number | undefined
  underWay: Promise<unknown> | undefined
}

/** Reads what wallets hold from the chain. Values are kept for moments, of a bounded number of wallets. */
export function openHoldings({
  chain,
  tokens,
  now,
  pause,
  sharesPending,
}: HoldingsOptions): ReadHoldings {
  const known = new Map<string, Known>()
  const facts = new Map<string, TokenFacts>()
  let underWay = 0

  /** The least recently used wallet makes room. */
  function entryOf(walletAddress: string): Known {
    const entry = known.get(walletAddress) ?? {
      account: undefined,
      tokens: new Map(),
      triedAt: undefined,
      underWay: undefined,
    }
    known.delete(walletAddress)
    if (known.size >= MAX_WALLETS) known.delete(known.keys().next().value as string)
    known.set(walletAddress, entry)
    return entry
  }

  async function readAccount(walletAddress: string, entry: Known): Promise<void> {
    const readAt = now()
    const nonces = await chain.nonces(walletAddress)
    if (nonces !== undefined) {
      const { confirmed, next, balance: microStx } = nonces
      entry.account = { value: { confirmed, next, microStx }, readAt }
      return
    }
    // The node may know the account where the API in front of it does not tell the mempool.
    const account = await chain.account(walletAddress)
    if (account === undefined) return
    const { nonce: confirmed, balance: microStx } = account
    entry.account = { value: { confirmed, next: undefined, microStx }, readAt }
  }

  async function readToken(walletAddress: string, token: string, entry: Known): Promise<void> {
    const readAt = now()
    const [held] = await Promise.all([
      chain.tokenHolding(token, walletAddress),
      facts.has(token) ? undefined : readFacts(token),
    ])
    if (held !== undefined) entry.tokens.set(token, { value: held, readAt })
  }

  async function readFacts(token: string): Promise<void> {
    const found = await chain.tokenFacts(token)
    if (found === undefined || found === 'absent') return
    if (found.symbol.length <= MAX_SYMBOL_LENGTH) facts.set(token, found)
  }

  async function refresh(walletAddress: string, entry: Known): Promise<void> {
    underWay += 1
    entry.triedAt = now()
    // A value that fails leaves the others as they are.
    await Promise.allSettled([
      readAccount(walletAddress, entry),
      ...tokens.map((token) => readToken(walletAddress, token, entry)),
    ])
    underWay -= 1
    entry.underWay = undefined
  }

  function pendingOf(walletAddress: string, entry: Known): Promise<unknown> | undefined {
    if (entry.underWay !== undefined && sharesPending) return entry.underWay
    const isDue =
      entry.triedAt === undefined || Math.abs(now() - entry.triedAt) >= HOLDINGS_MAX_AGE_MS
    if (!isDue || underWay >= MAX_UNDER_WAY) return undefined
    entry.underWay = refresh(walletAddress, entry)
    return entry.underWay
  }

  return async (walletAddress) => {
    const entry = entryOf(walletAddress)
    const pending = pendingOf(walletAddress, entry)
    if (pending !== undefined) await Promise.race([pending, pause(MAX_WAIT_MS)])
    const isShown = (reading: Reading<unknown>) =>
      Math.abs(now() - reading.readAt) < MAX_SHOWN_AGE_MS
    const { account } = entry
    return {
      account: account !== undefined && isShown(account) ? account : undefined,
      tokens: new Map([...entry.tokens].filter(([, reading]) => isShown(reading))),
      facts,
    }
  }
}
