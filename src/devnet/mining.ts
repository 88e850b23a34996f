import { deserializeCV, noneCV, responseErrorCV, serializeCV } from '@stacks/transactions'
import { readmit } from './admission.ts'
import { type ClarityChain, type Execution, NO_COST } from './chain.ts'
import type { AbortedStatus } from './faults.ts'
import { violation } from './guards.ts'
import type { Entry, Journal, Undone } from './journal.ts'
import {
  accept,
  type DevnetTransaction,
  exclude,
  include,
  isOnChain,
  known,
  type Ledger,
  nonceOf,
  type ReorganiseTo,
} from './ledger.ts'

/** A chain, the journal that rebuilds it, and the transactions on it and waiting for it. */
export interface ChainState {
  readonly chain: ClarityChain
  readonly journal: Journal
  readonly ledger: Ledger
}

/** `(err none)`: also the result of a call that broke in the VM. */
const ABORTED_RESULT = serializeCV(responseErrorCV(noneCV()))

/** Mines every pending transaction that a block can include, one a block. */
export async function mineReady(state: ChainState): Promise<void> {
  const { chain, ledger } = state
  for (;;) {
    const ready = [...ledger.pending.values()].find(
      ({ fate, nonce, sender, fee }) =>
        !fate.held && nonce === nonceOf(ledger, sender) && chain.stxBalance(sender) >= fee,
    )
    if (ready === undefined) return
    await mine(state, ready)
  }
}

async function mine(state: ChainState, tx: DevnetTransaction): Promise<void> {
  const at = Date.now()
  const { abortAs } = tx.fate
  if (abortAs !== undefined) return mineAborted(state, tx, abortAs, at)
  const { chain, journal } = state
  const outcome = chain.mine(tx.sender, tx.fee, tx.action)
  const broken = outcome.ok ? brokenGuard(tx, outcome) : undefined
  if (broken === undefined) {
    journal.append({ mined: tx.txid, at })
    return includeExecuted(state, tx, at, outcome)
  }
  const undone = { result: serializeCV(outcome.result), reason: broken }
  await replay(state)
  chain.mine(tx.sender, tx.fee, { kind: 'nothing' })
  journal.append({ mined: tx.txid, at, undone })
  includeUndone(state, tx, at, undone)
}

function brokenGuard({ action, guards, sender }: DevnetTransaction, { events }: Execution) {
  const isGuarded = action.kind === 'call' || action.kind === 'deploy'
  return isGuarded ? violation(guards, events, sender) : undefined
}

function mineAborted(state: ChainState, tx: DevnetTransaction, as: AbortedStatus, at: number) {
  const undone = { result: ABORTED_RESULT, reason: 'a fault of this devnet', as }
  state.chain.mine(tx.sender, tx.fee, { kind: 'nothing' })
  state.journal.append({ mined: tx.txid, at, undone })
  includeUndone(state, tx, at, undone)
}

function includeExecuted(
  { chain, ledger }: ChainState,
  tx: DevnetTransaction,
  at: number,
  outcome: Execution,
): void {
  const status = outcome.ok ? 'success' : 'abort_by_response'
  include(ledger, tx, { status, at, height: chain.height(), outcome })
}

function includeUndone(
  { chain, ledger }: ChainState,
  tx: DevnetTransaction,
  at: number,
  { result, reason, as = 'abort_by_post_condition' }: Undone,
): void {
  const outcome = {
    ok: false,
    result: deserializeCV(result),
    events: [],
    cost: NO_COST,
    vmError: reason,
  }
  include(ledger, tx, { status: as, at, height: chain.height(), outcome })
}

/** Applies an entry of the journal to a chain that starts. */
export function restore(state: ChainState, entry: Entry): void {
  const { chain, ledger } = state
  if ('accepted' in entry) {
    const { at, fate } = entry
    const candidate = readmit(Buffer.from(entry.accepted, 'hex'))
    accept(ledger, candidate, { at, height: chain.height(), fate })
  }
  if ('granted' in entry) chain.grant(entry.granted)
  if ('passed' in entry) chain.passTime(entry.passed)
  if (!('mined' in entry)) return
  const tx = known(ledger, entry.mined)
  const outcome = mineAgain(chain, tx, entry.undone)
  if (entry.undone === undefined) includeExecuted(state, tx, entry.at, outcome)
  else includeUndone(state, tx, entry.at, entry.undone)
}

/** Clarity cannot remove a block, so the chain is rebuilt without it. */
async function replay({ chain, journal, ledger }: ChainState): Promise<void> {
  await chain.restart()
  for (const entry of canonicalEntries(journal.entries)) {
    if ('granted' in entry) chain.grant(entry.granted)
    if ('passed' in entry) chain.passTime(entry.passed)
    if ('mined' in entry) mineAgain(chain, known(ledger, entry.mined), entry.undone)
  }
}

function mineAgain(chain: ClarityChain, tx: DevnetTransaction, undone: Undone | undefined) {
  return chain.mine(tx.sender, tx.fee, undone === undefined ? tx.action : { kind: 'nothing' })
}

/** Removes the block of a transaction and all later ones; false when it is in no block of the chain. */
export async function reorganise(
  state: ChainState,
  txid: string,
  to: ReorganiseTo,
): Promise<boolean> {
  const { journal, ledger } = state
  const first = ledger.transactions.get(txid)?.mined
  if (first === undefined || !isOnChain(first)) return false
  const gone = [...ledger.transactions.values()].filter(
    ({ mined }) => mined !== undefined && isOnChain(mined) && mined.height >= first.height,
  )
  journal.append({ orphaned: gone.map((tx) => tx.txid) })
  for (const tx of gone.toSorted((a, b) => b.nonce - a.nonce)) exclude(ledger, tx, to)
  await replay(state)
  return true
}

/** The entries that lead to the chain as it is: without the blocks that were reorganised away. */
export function canonicalEntries(entries: readonly Entry[]): Entry[] {
  const kept: Entry[] = []
  for (const entry of entries) {
    if (!('orphaned' in entry)) {
      kept.push(entry)
      continue
    }
    const gone = new Set(entry.orphaned)
    for (let at = kept.length - 1; at >= 0; at--) {
      const one = kept[at]
      if (one !== undefined && 'mined' in one && gone.delete(one.mined)) kept.splice(at, 1)
    }
  }
  return kept
}
