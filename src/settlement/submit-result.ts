/** The meaning of a node's response to a submitted transaction. */
export type SubmitResult =
  /** The node has it. It may still be dropped, or abort. */
  | { kind: 'accepted' }
  /** The node rejects it permanently: the fault is in the bytes. */
  | { kind: 'refused'; reason: string }
  /** The node rejects it because of the operator's account; the order is not at fault. */
  | { kind: 'postponed'; reason: string }
  /** The node rejects it because its nonce is used, mined or in the mempool; possibly by this very transaction. */
  | { kind: 'nonceTaken'; reason: string }
  /** The node rejects it now and may accept it later. */
  | { kind: 'waiting'; reason: string }
  /** Unknown whether the node took it: the same bytes may be sent again, other bytes must not. */
  | { kind: 'unknown'; reason: string }

/** The reasons of stacks-core's mempool. `ServerFailure..` and every other reason mean `unknown`. */
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

/** Interprets the `reason` of a node's rejection. */
export function submitResultOf(reason: string): SubmitResult {
  const kind = Object.hasOwn(REASONS, reason) ? REASONS[reason] : undefined
  return { kind: kind ?? 'unknown', reason }
}
