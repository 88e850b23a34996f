/** The meaning of a node's response to a submitted transaction. None of them but `accepted` says what other nodes have. */
export type SubmitResult =
  /** The node has it. It may still be dropped, or abort. */
  | { kind: 'accepted' }
  /** The node rejects it permanently: the fault is in the bytes, or in the node. */
  | { kind: 'refused'; reason: string }
  /** The node wants a higher fee. */
  | { kind: 'feeTooLow'; reason: string }
  /** The operator's account cannot pay for it. */
  | { kind: 'noFunds'; reason: string }
  /** The node rejects it because its nonce is used, mined or in the mempool; possibly by this very transaction. */
  | { kind: 'nonceTaken'; reason: string }
  /** The node rejects it now and may accept it later. */
  | { kind: 'waiting'; reason: string }
  /** Unknown whether the node took it. */
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
  NotEnoughFunds: 'noFunds',
  FeeTooLow: 'feeTooLow',
  EstimatorError: 'waiting',
  BadNonce: 'nonceTaken',
  ConflictingNonceInMempool: 'nonceTaken',
  TooMuchChaining: 'waiting',
  TemporarilyBlacklisted: 'waiting',
}

/** Interprets the `reason` of a node's rejection. */
export function submitResultOf(reason: string): SubmitResult {
  const kind = Object.hasOwn(REASONS, reason) ? REASONS[reason] : undefined
  return { kind: kind ?? 'unknown', reason: reasonWord(reason) }
}

/** A reason of a node that may be stored, logged and returned to clients: all of stacks-core are one word. */
export function reasonWord(reason: string): string {
  return /^[A-Za-z]\w{0,63}$/.test(reason) ? reason : 'unreadable'
}
