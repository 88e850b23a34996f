import type { Encryption } from '../crypto/encryption.ts'
import type { Database } from '../db/database.ts'
import type { Config } from '../env.ts'
import type { Log } from '../log.ts'
import type { Recover } from '../stacks/recover.ts'
import type { OrderFeed } from './feed.ts'

/** What managing orders needs of the process. */
export interface OrderServices {
  config: Pick<Config, 'STACKS_NETWORK' | 'ROUTER_CONTRACT'>
  db: Database
  encryption: Encryption
  /** The engine that recovers public keys from signatures. */
  recover: Recover
  /** Order events for streams; undefined where no process outlives a request. */
  feed?: OrderFeed | undefined
  log: Log
}
