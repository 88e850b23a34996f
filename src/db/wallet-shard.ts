import { sha256 } from '../crypto/bytes.ts'
import { memoize } from '../memoize.ts'

/** Shards from 0: a wallet, and everything of it, is of one. A database that is distributed keeps a range of them on each node. */
export const SHARDS = 65_536

const MAX_MEMOIZED = 20_000

/**
 * The shard of a wallet: the first 16 bits of SHA-256 of its address. It is stored in every row of the wallet, so it never changes; the
 * SQL function `wallet_shard` computes the same.
 */
export const walletShard = memoize(MAX_MEMOIZED, (walletAddress) => {
  const [high = 0, low = 0] = sha256(walletAddress)
  return high * 256 + low
})
