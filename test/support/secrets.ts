import { randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { toBase62 } from '../../src/crypto/bytes.ts'
import { SHARDS, walletShard } from '../../src/db/shard.ts'
import { makeSecret, RANDOM_BYTES, type Secret } from '../../src/keys/secret.ts'

/** A secret that no key has: of a wallet's shard, or of any. */
export function unknownSecret(prefix = 'ck_live_', walletAddress?: string): Secret {
  const shard =
    walletAddress === undefined
      ? randomBytes(2).readUInt16BE() % SHARDS
      : walletShard(walletAddress)
  return makeSecret(prefix, shard, randomBytes(RANDOM_BYTES))
}

/** A secret as the release before shards made it: 256 random bits, and no shard. */
export function oldSecret(prefix = 'ck_live_', random: Uint8Array = randomBytes(32)): Secret {
  const body = prefix + toBase62(random, 43)
  const crc = Buffer.alloc(4)
  crc.writeUInt32BE(crc32(body))
  return (body + toBase62(crc, 6)) as Secret
}
