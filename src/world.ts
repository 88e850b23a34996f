import type { Database } from './db/database.ts'
import type { Config } from './env.ts'
import type { Gate } from './gate/gate.ts'
import type { IpLimits } from './http/ip-limits.ts'
import type { KeyHash, Token } from './keys/token.ts'
import type { Log } from './log.ts'
import type { Mac } from './mac.ts'
import type { Feed } from './orders/feed.ts'
import type { Seal } from './seal.ts'
import type { Chain } from './settlement/chain.ts'
import type { Operators } from './settlement/operator.ts'
import type { Recover } from './stacks/recover.ts'
import type { UsageRecorder } from './usage/record.ts'

/** Everything that a verb may touch. The entries build it; nothing else reads a clock, randomness or the network. */
export interface World {
  config: Config
  db: Database
  gate: Gate
  chain: Chain
  operators: Operators
  ipLimits: IpLimits
  seal: Seal
  /** The platform's own SHA-256, for the token that every request of a bot brings. */
  hashToken(token: Token): KeyHash
  /** Authenticates what a key or a session may do. */
  mac: Mac
  /** Statistics of how keys are used; not the exact counters. */
  usage: UsageRecorder
  /** What becomes of orders; absent where no process lives on between requests. */
  feed?: Feed | undefined
  /** The engine that checks signatures. */
  recover: Recover
  log: Log
  /** Milliseconds since 1970; read once per request. */
  now(): number
  randomBytes(length: number): Uint8Array<ArrayBuffer>
}
