import type { ClarityValue } from '@stacks/transactions'
import type { Candidate } from './admission.ts'
import type { Cost, Execution } from './chain.ts'
import type { AbortedStatus, DroppedStatus } from './faults.ts'
import type { Fate } from './journal.ts'

export type DevnetTransactionStatus = 'pending' | 'success' | AbortedStatus | DroppedStatus

export interface DevnetTransaction extends Candidate {
  status: DevnetTransactionStatus
  receivedAt: number
  receivedAtHeight: number
  replacedBy?: string
  fate: Fate
  mined?: Inclusion
}

export interface Inclusion {
  /** False once another fork replaced its block. */
  canonical: boolean
  /** False once its microblock was orphaned: its block may be canonical all the same. */
  microblockCanonical: boolean
  height: number
  at: number
  result: ClarityValue
  events: number
  cost: Cost
  vmError: string | null
}

/** The transactions that the node has, by txid, and the next nonce of each account. */
export interface Ledger {
  readonly transactions: Map<string, DevnetTransaction>
  readonly pending: Map<string, DevnetTransaction>
  readonly nextNonces: Map<string, number>
}

/** The nonces of an account, as the API of Stacks lists them. */
export interface PrincipalNonces {
  next: number
  lastMined: number | null
  lastPending: number | null
  pending: number[]
  missing: number[]
}

export function emptyLedger(): Ledger {
  return { transactions: new Map(), pending: new Map(), nextNonces: new Map() }
}

export function nonceOf({ nextNonces }: Ledger, address: string): number {
  return nextNonces.get(address) ?? 0
}

/** Throws for a txid that was never accepted. */
export function known({ transactions }: Ledger, txid: string): DevnetTransaction {
  const tx = transactions.get(txid)
  if (tx === undefined) throw new Error(`journal mines ${txid}, which it never accepted`)
  return tx
}

/** Whether the node has a transaction: dropped and orphaned ones must be admitted again. */
export function isPresent(tx: DevnetTransaction | undefined): tx is DevnetTransaction {
  if (tx === undefined || tx.status.startsWith('dropped_')) return false
  return tx.mined === undefined || isOnChain(tx.mined)
}

export function isOnChain({ canonical, microblockCanonical }: Inclusion): boolean {
  return canonical && microblockCanonical
}

/** The pending transaction of the same account and nonce. */
export function rivalOf({ pending }: Ledger, { sender, nonce }: Candidate) {
  return [...pending.values()].find((tx) => tx.sender === sender && tx.nonce === nonce)
}

/** Puts a transaction into the mempool, in place of its rival if there is one. */
export function accept(
  ledger: Ledger,
  candidate: Candidate,
  { at, height, fate = {} }: { at: number; height: number; fate?: Fate | undefined },
): void {
  const rival = rivalOf(ledger, candidate)
  if (rival !== undefined) {
    drop(ledger, rival.txid, 'dropped_replace_by_fee')
    rival.replacedBy = candidate.txid
  }
  const received = { receivedAt: at, receivedAtHeight: height }
  const tx: DevnetTransaction = { ...candidate, status: 'pending', ...received, fate }
  ledger.transactions.set(tx.txid, tx)
  ledger.pending.set(tx.txid, tx)
}

export function drop(ledger: Ledger, txid: string, as: DroppedStatus): void {
  known(ledger, txid).status = as
  ledger.pending.delete(txid)
}

/** Moves a transaction from the mempool to the block at this height. */
export function include(
  ledger: Ledger,
  tx: DevnetTransaction,
  { status, at, height, outcome }: Included,
): void {
  ledger.pending.delete(tx.txid)
  ledger.nextNonces.set(tx.sender, tx.nonce + 1)
  tx.status = status
  tx.mined = {
    canonical: true,
    microblockCanonical: true,
    height,
    at,
    result: outcome.result,
    events: outcome.events.length,
    cost: outcome.cost,
    vmError: outcome.vmError,
  }
}

export interface Included {
  status: DevnetTransactionStatus
  at: number
  height: number
  outcome: Execution
}

/** Where a reorganisation leaves the transactions of the blocks that it removes. */
export const REORGANISE_TO = ['mempool', 'nowhere', 'microblock'] as const
export type ReorganiseTo = (typeof REORGANISE_TO)[number]

/** Takes a mined transaction off the chain. */
export function exclude(ledger: Ledger, tx: DevnetTransaction, to: ReorganiseTo): void {
  ledger.nextNonces.set(tx.sender, Math.min(nonceOf(ledger, tx.sender), tx.nonce))
  if (to === 'nowhere' && tx.mined !== undefined) tx.mined.canonical = false
  if (to === 'microblock' && tx.mined !== undefined) tx.mined.microblockCanonical = false
  if (to !== 'mempool') return
  delete tx.mined
  tx.status = 'pending'
  ledger.pending.set(tx.txid, tx)
}

/**
 * Computed as the API computes it: `pending` and `missing` lie strictly between the last mined and the highest pending
 * nonce, so the highest is in neither, and both are empty for an account without a mined transaction.
 */
export function noncesOf(ledger: Ledger, address: string): PrincipalNonces {
  const nonces = [...ledger.pending.values()]
    .filter(({ sender }) => sender === address)
    .map(({ nonce }) => nonce)
  const lastPending = nonces.length === 0 ? null : Math.max(...nonces)
  const mined = nonceOf(ledger, address)
  const lastMined = mined === 0 ? null : mined - 1
  const between: number[] = []
  if (lastMined !== null && lastPending !== null)
    for (let nonce = lastPending - 1; nonce > lastMined; nonce--) between.push(nonce)
  return {
    next: Math.max(lastMined ?? -1, lastPending ?? -1) + 1,
    lastMined,
    lastPending,
    pending: between.filter((nonce) => nonces.includes(nonce)).reverse(),
    missing: between.filter((nonce) => !nonces.includes(nonce)),
  }
}
