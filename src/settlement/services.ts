import type { Encryption } from '../crypto/encryption.ts'
import type { Mac } from '../crypto/mac.ts'
import type { Database } from '../db/database.ts'
import type { Distribution } from '../db/distribution.ts'
import type { DatabaseClock } from '../db/time.ts'
import type { Config } from '../env.ts'
import type { Log } from '../log.ts'
import type { Chain } from './chain.ts'
import type { OperatorAccounts } from './operator.ts'

/** What settlement needs of the process. */
export interface SettlementServices {
  config: Pick<
    Config,
    | 'STACKS_NETWORK'
    | 'ROUTERS'
    | 'INTENT_VERIFIER_CONTRACT'
    | 'SLIPPAGE_BPS'
    | 'ENFORCE_TARGET_PRICE'
    | 'CONFIRMATIONS'
    | 'STUCK_AFTER_SECONDS'
    | 'GIVE_UP_AFTER_SECONDS'
    | 'MAX_FEE_IN_MICRO_STX'
    | 'NODE_TIMEOUT_MS'
    | 'RECONCILE_INTERVAL_MS'
    | 'MAX_SETTLING_PER_WALLET'
    | 'MAX_FAILED_PER_WALLET_AND_DAY'
    | 'MAX_BURNS_PER_WALLET_AND_DAY'
    | 'MAX_REQUESTED_BURNS_PER_DAY'
    | 'BALANCE_REQUESTS_PER_MINUTE'
  >
  db: Database
  /** Where shards are; undefined on one Postgres. */
  distribution?: Distribution | undefined
  databaseTime: DatabaseClock
  encryption: Encryption
  /** Authenticates orders. */
  mac: Mac
  chain: Chain
  operators: OperatorAccounts
  /** What this process is called in leases: random. */
  holder: string
  log: Log
  /** Milliseconds since 1970. */
  now(): number
}
