import { transactionLabel } from '../crypto/labels.ts'
import type { SettlementServices } from './services.ts'
import type { SignedTransaction } from './transaction.ts'

/** Encrypts a transaction's bytes for storage: they hold the order's intent signature. */
export function encryptTransaction(
  { encryption }: Pick<SettlementServices, 'encryption'>,
  { raw, txid }: SignedTransaction,
): Promise<Uint8Array> {
  return encryption.encrypt(raw, transactionLabel(txid))
}
