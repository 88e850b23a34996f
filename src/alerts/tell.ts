import type { Database } from '../db/database.ts'
import type { AlertAction, Alerts } from '../keys/terms.ts'
import { announce } from '../notices/announce.ts'
import type { AnnouncedType } from '../notices/notice.ts'
import type { Json } from '../wire/json.ts'
import type { AlertServices } from './services.ts'

/** What the owner of a key is told: a rule of the key found something, and what the service did. */
export interface Told {
  walletAddress: string
  keyId: string
  rule: keyof Alerts | 'heartbeat'
  action: AlertAction | 'cancel'
  /** Milliseconds since 1970. */
  at: number
  details: { [name: string]: Json }
}

const TYPES: { readonly [Rule in Told['rule']]: AnnouncedType } = {
  heartbeat: 'key.silent',
  newAddress: 'key.new_address',
  newNetwork: 'key.new_network',
  errorRate: 'key.unusual_rate',
  requestsPerMinute: 'key.unusual_rate',
  spendPerHour: 'key.limit_exceeded',
  expiring: 'key.expiring',
}

/** Tells the owner of a key, in the transaction of what was done. */
export async function tell(
  tx: Database,
  { log }: Pick<AlertServices, 'log'>,
  { walletAddress, keyId, rule, action, at, details }: Told,
): Promise<void> {
  const data = { ...details, rule, action }
  await announce(tx, { walletAddress, type: TYPES[rule], keyId, data, at })
  log('info', 'api_key_alert', { walletAddress, keyId, rule, action })
}
