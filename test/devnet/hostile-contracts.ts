import {
  COMMITTED_ROUTER,
  INPUT_TOKEN,
  INTENT_VERIFIER,
  OUTPUT_TOKEN,
  ROUTER,
} from '../../src/devnet/constants.ts'
import { swapAccountOf } from '../../src/stacks/committed.ts'
import { type CommittedOrder, literal, refundArgs, type Step, swapArgs } from './committed.ts'

/** Contracts of executors and owners that take what they can. Each is the source of one contract, in Clarity 3. */

/** The account of the devnet's committed router. */
export const ACCOUNT = swapAccountOf(COMMITTED_ROUTER)

interface VaultOptions {
  /** What it takes of the input that it is called with, in percent. */
  takes?: bigint
  /** What it pays of the output token, from its own balance. */
  pays?: bigint
  /** What it reports to have paid. */
  reports?: bigint
  /** What it is called with. */
  input?: string
  /** Runs first, with the authority of the principal that called the vault. */
  attack?: string
}

/** A vault that keeps the input and pays, reports and does as it likes. */
export function vault({
  takes = 100n,
  pays = 0n,
  reports = pays,
  input = INPUT_TOKEN,
  attack = 'true',
}: VaultOptions) {
  return `
(define-constant VAULT (as-contract tx-sender))
(define-public (execute (amount uint) (opcode (optional (buff 16))))
  (let ((trader tx-sender) (taken (/ (* amount u${takes}) u100)))
    ${attack}
    ${takes > 0n ? `(try! (contract-call? '${input} transfer taken trader VAULT none))` : ''}
    ${pays > 0n ? `(try! (as-contract (contract-call? '${OUTPUT_TOKEN} transfer u${pays} VAULT trader none)))` : ''}
    (ok {dx: amount, dy: u${reports}, dk: u0})))`
}

/** Tries to move what principals hold, and goes on when it cannot. */
export function grab(token: string, amount: bigint, thief: string, holders: string[]) {
  return holders
    .map(
      (holder) =>
        `(print (is-ok (contract-call? '${token} transfer u${amount} '${holder} '${thief} none)))`,
    )
    .join(' ')
}

/** Starts another order in the middle of the first. */
export function reenter(order: CommittedOrder, route: Step[]) {
  const { fn, args } = swapArgs(order, route)
  return `(print (is-ok (contract-call? '${COMMITTED_ROUTER} ${fn} ${args.map(literal).join(' ')})))`
}

/** Asks for a refund in the middle of an order. */
export function refundInside(order: CommittedOrder) {
  return `(print (is-ok ${callOfRefund(order)}))`
}

/** Asks for a refund in the name of a deployer that calls for another reason. */
export function refundMiddleman(order: CommittedOrder) {
  return `(define-public (claim-airdrop) ${callOfRefund(order)})`
}

function callOfRefund(order: CommittedOrder) {
  return `(contract-call? '${COMMITTED_ROUTER} refund ${refundArgs(order).map(literal).join(' ')})`
}

/** Executes an order of the legacy router, for the same recipient, in the middle of the first. */
export function payOtherDebt(input: string, hop: string, out: string) {
  return `(try! (contract-call? '${ROUTER} x-swap-1 ${input} ${hop} ${out}))`
}

/** Executes an order for a sender that calls it for another reason. */
export function middleman(order: CommittedOrder, route: Step[]) {
  const { fn, args } = swapArgs(order, route)
  return `(define-public (claim-airdrop)
    (contract-call? '${COMMITTED_ROUTER} ${fn} ${args.map(literal).join(' ')}))`
}

/** Allows an input for a deployer that calls it for another reason. */
export function allowInside(input: string) {
  return `(define-public (claim-airdrop) (contract-call? '${COMMITTED_ROUTER} allow-input '${input}))`
}

/**
 * One transaction: the victim's signature moves the input to the router, an order of the thief's own runs vaults or
 * tokens of the thief's, and these take what the router holds.
 */
export function moveAndSwap(victim: CommittedOrder, own: CommittedOrder, route: Step[]) {
  const { fn, args } = swapArgs(own, route)
  return `(define-public (take)
    (begin
      (try! (contract-call? '${INPUT_TOKEN} x-transfer 0x${victim.signature} u${victim.amount} "${victim.uuid}" '${COMMITTED_ROUTER}))
      (contract-call? '${COMMITTED_ROUTER} ${fn} ${args.map(literal).join(' ')})))`
}

/** An input token that moves nothing, and whose `transfer` takes what the principal that calls it holds of another. */
export function hostileInput(stolen: string, amount: bigint, thief: string) {
  return `
(define-data-var moved uint u0)
(define-public (x-transfer (signature (buff 65)) (amount uint) (uuid (string-ascii 36)) (target principal))
  (begin
    (try! (contract-call? '${INTENT_VERIFIER} execute signature "TRANSFER_TOKENS" none (some amount) (some target) uuid))
    (ok (var-set moved amount))))
(define-public (transfer (amount uint) (from principal) (to principal) (memo (optional (buff 34))))
  (begin (print (is-ok (contract-call? '${stolen} transfer u${amount} from '${thief} none))) (ok true)))
(define-read-only (get-balance (who principal)) (ok (var-get moved)))`
}

/** An output token that says it moved, and did not. */
export const LYING_OUTPUT = `
(define-public (transfer (amount uint) (from principal) (to principal) (memo (optional (buff 34)))) (ok true))
(define-read-only (get-balance (who principal)) (ok u1000000000))`

/** An output token of which every transfer makes the recipient richer by one. */
export const COUNTING_OUTPUT = `
(define-map gained principal uint)
(define-public (transfer (amount uint) (from principal) (to principal) (memo (optional (buff 34))))
  (ok (map-set gained to (+ u1 (default-to u0 (map-get? gained to))))))
(define-read-only (get-balance (who principal)) (ok (default-to u0 (map-get? gained who))))`
