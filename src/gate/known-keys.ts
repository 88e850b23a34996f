import type { Mac } from '../crypto/mac.ts'
import { walletShard } from '../db/shard.ts'
import { type Rights, type RightsValues, readRights, rightsText } from '../keys/rights.ts'
import type { KeyHash } from '../keys/secret.ts'

/** What one version of a key's row means: the rights that it gives, after their MAC was verified. */
export interface KnownKey {
  readonly rights: Rights
  /** Of its wallet. */
  readonly shard: number
  /**
   * The transaction that wrote the row. It names the version, as an ETag does: of all versions that a transaction writes of a row, others see
   * the last one only.
   */
  readonly xmin: string
  /** Milliseconds since 1970. */
  readonly readAt: number
}

/** A row as `KEY_VERSION` of src/gate/admit.ts returns it. */
type ReadRow = [rights: RightsValues, mac: string | null, xmin: string, since: string]

/**
 * What rows mean, by the hash that was presented. It decides nothing: the statement that admits a request compares the
 * version with the row's own, and returns the row where it is another one.
 */
export interface KnownKeys {
  find(hash: KeyHash, now: number): KnownKey | undefined
  /**
   * Reads a row and verifies its MAC, and remembers it when the key was read before. `key` is undefined when the row was edited:
   * nothing is remembered of it.
   */
  read(
    hash: KeyHash,
    row: string,
    now: number,
  ): { keyId: string; shard: number; key: KnownKey | undefined }
  /** Since when the server runs whose versions are remembered; undefined before the first row. */
  servedSince(): string | undefined
}

/** About 15 MB. */
const MAX_KEYS = 10_000
/**
 * How long a version names its row. Transaction numbers return after 2^32 transactions, which takes Postgres hours: a party that
 * can write to the database cannot wait for the number of a version that is remembered.
 */
const MAX_AGE_MS = 60_000
/** Hashes that were read once: a key is remembered when it is read again, so that keys which are used seldom cost no memory. */
const SEEN_SLOTS = 2 ** 14

/**
 * Opens a memory of row versions. A server that starts anew, or another one that takes its place, may give numbers again that an
 * earlier one gave to transactions that were lost: versions are forgotten with the server that they were read from. The start of its
 * postmaster names it, and with it the timeline: one postmaster is the primary of one timeline at most. Where sessions crash and the same
 * postmaster recovers from its log, no version that is remembered returns: the statement that read it was flushed, and all before it.
 */
export function openKnownKeys(mac: Mac, max = MAX_KEYS): KnownKeys {
  const keys = new Map<KeyHash, KnownKey & { isUsed: boolean }>()
  /** The first 32 bits of hashes, each in the slot of its low bits. */
  const seen = new Uint32Array(SEEN_SLOTS)
  let since: string | undefined

  function wasSeen(hash: KeyHash): boolean {
    const bits = Number.parseInt(hash.slice(0, 8), 16)
    const slot = bits % SEEN_SLOTS
    if (seen[slot] === bits) return true
    seen[slot] = bits
    return false
  }

  /** Second chance: a key that was used since it was considered last is kept, and considered again later. */
  function evictOne(): void {
    for (const [hash, key] of keys) {
      keys.delete(hash)
      if (!key.isUsed) return
      key.isUsed = false
      keys.set(hash, key)
    }
  }

  return {
    find(hash, now) {
      const key = keys.get(hash)
      if (key === undefined) return undefined
      if (now - key.readAt > MAX_AGE_MS || now < key.readAt) return undefined
      key.isUsed = true
      return key
    },
    read(hash, row, now) {
      const [values, stored, xmin, server] = JSON.parse(row) as ReadRow
      const rights = readRights(values)
      const shard = walletShard(rights.walletAddress)
      if (server !== since) {
        since = server
        keys.clear()
      }
      if (!mac.verify(rightsText(rights), stored)) {
        keys.delete(hash)
        return { keyId: rights.id, shard, key: undefined }
      }
      const key = { rights, shard, xmin, readAt: now, isUsed: false }
      if (!keys.has(hash)) {
        if (!wasSeen(hash)) return { keyId: rights.id, shard, key }
        if (keys.size >= max) evictOne()
      }
      keys.set(hash, key)
      return { keyId: rights.id, shard, key }
    },
    servedSince: () => since,
  }
}
