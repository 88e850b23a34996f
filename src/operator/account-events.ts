import { appendAudit } from '../audit/append.ts'
import type { AuditHead } from '../audit/event.ts'
import type { Database } from '../db/database.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import type { Json } from '../wire/json.ts'

/**
 * An event in the audit chain of an operator account: the chain of its address, as a wallet has one. The transaction locks the wallet
 * first, because that is the order of locks.
 */
export interface AccountEvent {
  event: 'fund_operator' | 'retire_operator' | 'resume_operator' | 'return_operator_funds'
  address: string
  at: number
  details?: { [name: string]: Json }
}

/** Takes the lock that `appendAccountEvent` needs. */
export async function lockAccount(tx: Database, address: string): Promise<void> {
  await lockWallet(tx, address)
}

export function appendAccountEvent(
  tx: Database,
  { event, address, at, details = {} }: AccountEvent,
): Promise<AuditHead> {
  return appendAudit(tx, { event, walletAddress: address, actor: 'operator', at, details })
}
