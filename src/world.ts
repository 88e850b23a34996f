import type { Replica } from './db/replica.ts'
import type { DatabaseWatch } from './db/watch.ts'
import type { Config } from './env.ts'
import type { Gate } from './gate/gate.ts'
import type { IpLimits } from './http/ip-limits.ts'
import type { Readiness } from './http/readiness.ts'
import type { KeyHash, Secret } from './keys/secret.ts'
import type { KeyServices } from './keys/services.ts'
import type { VerifyReport } from './leaks/github.ts'
import type { OrderServices } from './orders/services.ts'
import type { UseCredential } from './service-credentials/use.ts'
import type { OperatorAccounts } from './settlement/operator.ts'
import type { SettlementServices } from './settlement/services.ts'
import type { UseNonce } from './signed-requests/nonces.ts'
import type { Signers } from './signed-requests/signers.ts'
import type { UsageRecorder } from './usage/record.ts'
import type { WalletFeed } from './wallets/feed.ts'
import type { ReadHoldings } from './wallets/holdings.ts'
import type { Deliverer } from './webhooks/deliver.ts'
import type { WebhookServices } from './webhooks/services.ts'

/** Everything that the routes may use. The entry modules build it; no room reads a clock, randomness or the network otherwise. */
export interface World extends KeyServices, OrderServices, SettlementServices, WebhookServices {
  config: Config
  gate: Gate
  watch: DatabaseWatch
  operators: OperatorAccounts
  ipLimits: IpLimits
  /** Shares the checks of GET /ready among requests. */
  readiness: Readiness
  /** Verifies reports of leaked keys; undefined where they are not taken. */
  verifyLeakReport?: VerifyReport | undefined
  /** SHA-256 of a presented secret, by the platform's fastest implementation. */
  hashSecret(secret: Secret): KeyHash
  /** What verifies signed requests, by the ids of keys. */
  signers: Signers
  /** Uses up the nonce of a signed request. */
  useNonce: UseNonce
  /** Authenticates the operator's other services, which ask about keys. */
  useCredential: UseCredential
  /** Statistics of key usage, apart from the exact counters. */
  usage: UsageRecorder
  /** A copy of the database for reads that may lag; undefined where none is configured. */
  replica?: Replica | undefined
  /** What wallets hold on chain, as read within seconds. */
  readHoldings: ReadHoldings
  /** Versions of wallets for streams; undefined where no process outlives a request. */
  walletFeed?: WalletFeed | undefined
  /** Deliveries of webhooks that this process makes; undefined where no process outlives a request. */
  deliverer?: Deliverer | undefined
  /** Postgres' time in milliseconds since 1970, as `watch` knows it; read once per request. */
  now(): number
}
