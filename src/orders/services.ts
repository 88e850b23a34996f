import type { Encryption } from '../crypto/encryption.ts'
import type { Mac } from '../crypto/mac.ts'
import type { Database } from '../db/database.ts'
import type { Distribution } from '../db/distribution.ts'
import type { DatabaseClock } from '../db/time.ts'
import type { Config } from '../env.ts'
import type { Log } from '../log.ts'
import type { Recover } from '../stacks/recover.ts'
import type { OrderFeed } from './feed.ts'
import type { InsertOrder } from './insert.ts'

/** What managing orders needs of the process. */
export interface OrderServices {
  config: Pick<
    Config,
    | 'STACKS_NETWORK'
    | 'ROUTERS'
    | 'ENFORCE_TARGET_PRICE'
    | 'UNSEALED_ORDERS_UNTIL'
    | 'SIGNED_DOMAIN'
  >
  db: Database
  /** Where shards are; undefined on one Postgres. */
  distribution?: Distribution | undefined
  /** Postgres' clock: see src/db/time.ts. */
  databaseTime: DatabaseClock
  encryption: Encryption
  /** The accounts that execute orders. */
  operators: { active(): readonly { address: string }[] }
  insertOrder: InsertOrder
  /** Authenticates orders. */
  mac: Mac
  /** The engine that recovers public keys from signatures. */
  recover: Recover
  /** Order events for streams; undefined where no process outlives a request. */
  feed?: OrderFeed | undefined
  log: Log
}
