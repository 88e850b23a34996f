import type { Database } from '../db/database.ts'
import type { AlertAction } from '../keys/terms.ts'
import type { Json } from '../wire/json.ts'
import type { AlertServices } from './services.ts'

/** What the owner of a key is told: a rule of the key found something, and what the service did. */
export interface Told {
  walletAddress: string
  keyId: string
  rule: string
  action: AlertAction | 'cancel'
  /** Milliseconds since 1970. */
  at: number
  details: { [name: string]: Json }
}

/** Tells the owner of a key, in the transaction of what was done. */
export async function tell(
  _tx: Database,
  { log }: Pick<AlertServices, 'log'>,
  { walletAddress, keyId, rule, action }: Told,
): Promise<void> {
  log('info', 'api_key_alert', { walletAddress, keyId, rule, action })
}
