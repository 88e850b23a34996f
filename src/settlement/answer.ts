/** What a node's answer to a transaction means. */
export type Answer =
  /** The node has it. It may still be dropped or abort. */
  | { kind: 'accepted' }
  /** The node did not take it, and never will: nothing was begun on chain. */
  | { kind: 'refused'; reason: string }
  /** The node did not take it because of the operator's account; the order is not at fault. */
  | { kind: 'postponed'; reason: string }
  /** Nobody knows whether the node took it: the same bytes may be sent again, other bytes never. */
  | { kind: 'unknown'; reason: string }

/** The operator's trouble: nothing was accepted, and the order can be tried again. */
const POSTPONED = new Set(['NotEnoughFunds', 'FeeTooLow', 'EstimatorError'])

/** The nonce is in doubt: the bytes, or others of ours, may be on their way. */
const UNKNOWN = new Set([
  'BadNonce',
  'ConflictingNonceInMempool',
  'TooMuchChaining',
  'TemporarilyBlacklisted',
])

/** Reads the `reason` of a node that refused a transaction. Whatever is not known to be final is `unknown`. */
export function answerOf(reason: string): Answer {
  if (POSTPONED.has(reason)) return { kind: 'postponed', reason }
  if (UNKNOWN.has(reason) || reason.startsWith('ServerFailure')) return { kind: 'unknown', reason }
  return PERMANENT.has(reason) ? { kind: 'refused', reason } : { kind: 'unknown', reason }
}

const PERMANENT = new Set([
  'Serialization',
  'Deserialization',
  'SignatureValidation',
  'BadAddressVersionByte',
  'BadTransactionVersion',
  'NoCoinbaseViaMempool',
  'NoTenureChangeViaMempool',
  'NoSuchContract',
  'NoSuchPublicFunction',
  'BadFunctionArgument',
  'ContractAlreadyExists',
  'PoisonMicroblocksDoNotConflict',
  'PoisonMicroblockHasUnknownPubKeyHash',
  'PoisonMicroblockIsInvalid',
  'TransferAmountMustBePositive',
  'TransferRecipientCannotEqualSender',
])
