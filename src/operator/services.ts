import type { ArchiveServices } from '../archive/services.ts'
import type { KeepHead } from '../audit/heads.ts'
import type { Config } from '../env.ts'
import type { CheckServices } from '../provenance/check.ts'
import type { CredentialServices } from '../service-credentials/manage.ts'
import type { Chain } from '../settlement/chain.ts'
import type { SettlementServices } from '../settlement/services.ts'
import type { WebhookServices } from '../webhooks/services.ts'

/** What the acts of an operator need: of a running service its world, else a database that was opened for one command. */
export interface OperatorServices
  extends ArchiveServices,
    WebhookServices,
    Pick<SettlementServices, 'operators'> {
  config: Pick<
    Config,
    | 'STACKS_NETWORK'
    | 'ROUTERS'
    | 'STUCK_AFTER_SECONDS'
    | 'MAX_FEE_IN_MICRO_STX'
    | 'NODE_TIMEOUT_MS'
    | 'RECONCILE_INTERVAL_MS'
    | 'TREASURY_ADDRESS'
    | 'TREASURY_MAX_PER_RUN_IN_MICRO_STX'
    | 'TREASURY_MAX_PER_DAY_IN_MICRO_STX'
  > &
    CheckServices['config'] &
    WebhookServices['config'] &
    CredentialServices['config']
  keepHead: KeepHead
  randomBytes(length: number): Uint8Array<ArrayBuffer>
  /** Undefined where the configuration names no chain. */
  chain: Chain | undefined
  /** Milliseconds since 1970. */
  now(): number
}
