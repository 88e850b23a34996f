import type { KeepHead } from '../audit/heads.ts'
import type { Encryption } from '../crypto/encryption.ts'
import type { Mac } from '../crypto/mac.ts'
import type { Database } from '../db/database.ts'
import type { Distribution } from '../db/distribution.ts'
import type { Config } from '../env.ts'
import type { Log } from '../log.ts'

/** What the verbs on keys need of the process. */
export interface KeyServices {
  config: Pick<
    Config,
    | 'STACKS_NETWORK'
    | 'KEY_PREFIX'
    | 'MAX_ACTIVE_KEYS_PER_WALLET'
    | 'MAX_KEYS_PER_WALLET'
    | 'RATE_LIMIT_PER_MINUTE'
    | 'EXTRA_SCOPES'
  >
  db: Database
  /** Where shards are; undefined on one Postgres. */
  distribution?: Distribution | undefined
  /** Computes the MACs of keys and sessions. */
  mac: Mac
  encryption: Encryption
  log: Log
  keepHead: KeepHead
  randomBytes(length: number): Uint8Array<ArrayBuffer>
}
