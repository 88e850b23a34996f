/** What a node's answer to a transaction means. */
export type SubmitResult =
  /** The node has it. It may still be dropped or abort. */
  | { kind: 'accepted' }
  /** The node does not take it, and never will: the fault is in the bytes. */
  | { kind: 'refused'; reason: string }
  /** The node does not take it because of the operator's account; the order is not at fault. */
  | { kind: 'postponed'; reason: string }
  /** The node does not take it because something else has its nonce: mined, or in the mempool. That may be itself. */
  | { kind: 'nonceTaken'; reason: string }
  /** The node does not take it now, and will reschedule. */
  | { kind: 'waiting'; reason: string }
  /** Nobody knows whether the node took it: the same bytes may be sent again, other bytes never. */
  | { kind: 'unknown'; reason: string }

/** The reasons of stacks-core's mempool. `ServerFailure..` and every other one say nothing: `unknown`. */
const REASONS: Readonly<Record<string, Exclude<SubmitResult['kind'], 'accepted'>>> = {
  Serialization: 'refused',
  Deserialization: 'refused',
  SignatureValidation: 'refused',
  BadAddressVersionByte: 'refused',
  BadTransactionVersion: 'refused',
  BadFunctionArgument: 'refused',
  NoSuchContract: 'refused',
  NoSuchPublicFunction: 'refused',
  ContractAlreadyExists: 'refused',
  NoCoinbaseViaMempool: 'refused',
  NoTenureChangeViaMempool: 'refused',
  PoisonMicroblocksDoNotConflict: 'refused',
  PoisonMicroblockHasUnknownPubKeyHash: 'refused',
  PoisonMicroblockIsInvalid: 'refused',
  TransferAmountMustBePositive: 'refused',
  TransferRecipientCannotEqualSender: 'refused',
  NotEnoughFunds: 'postponed',
  FeeTooLow: 'postponed',
  EstimatorError: 'postponed',
  BadNonce: 'nonceTaken',
  ConflictingNonceInMempool: 'nonceTaken',
  TooMuchChaining: 'waiting',
  TemporarilyBlacklisted: 'waiting',
}

/** Reads the `reason` of a node that did not take a transaction. */
export function submitResultOf(reason: string): SubmitResult {
  const kind = Object.hasOwn(REASONS, reason) ? REASONS[reason] : undefined
  return { kind: kind ?? 'unknown', reason }
}
