import type { Encryption } from '../crypto/encryption.ts'
import type { Database } from '../db/database.ts'
import type { Config } from '../env.ts'
import type { Log } from '../log.ts'
import type { Chain } from './chain.ts'
import type { OperatorAccounts } from './operator.ts'

/** What settlement needs of the process. */
export interface SettlementServices {
  config: Pick<
    Config,
    | 'STACKS_NETWORK'
    | 'ROUTER_CONTRACT'
    | 'SLIPPAGE_BPS'
    | 'ENFORCE_TARGET_PRICE'
    | 'CONFIRMATIONS'
    | 'STUCK_AFTER_SECONDS'
    | 'MAX_FEE_IN_MICRO_STX'
    | 'NODE_TIMEOUT_MS'
    | 'RECONCILE_INTERVAL_MS'
  >
  db: Database
  encryption: Encryption
  chain: Chain
  operators: OperatorAccounts
  log: Log
  /** Milliseconds since 1970. */
  now(): number
}
