import type { Mac } from '../crypto/mac.ts'
import type { Database } from '../db/database.ts'
import type { Config } from '../env.ts'
import type { Log } from '../log.ts'

/** What managing keys needs of the process. */
export interface KeyServices {
  config: Pick<
    Config,
    | 'STACKS_NETWORK'
    | 'KEY_PREFIX'
    | 'MAX_ACTIVE_KEYS_PER_WALLET'
    | 'RATE_LIMIT_PER_MINUTE'
    | 'EXTRA_SCOPES'
  >
  db: Database
  /** Authenticates what a key or a session may do. */
  mac: Mac
  log: Log
  randomBytes(length: number): Uint8Array<ArrayBuffer>
}
