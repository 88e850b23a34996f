import {
  type ClarityValue,
  deserializeCV,
  noneCV,
  responseErrorCV,
  serializeCV,
} from '@stacks/transactions'
import { ok, type Result } from '../result.ts'
import { admit, type Candidate, readmit, rejected, type Tip } from './admission.ts'
import { type ClarityChain, type Cost, NO_COST, type Outcome, startChain } from './chain.ts'
import type { AbortedStatus, DroppedStatus } from './faults.ts'
import { violation } from './guards.ts'
import { type Entry, openJournal } from './journal.ts'

export type DevnetTransactionStatus = 'pending' | 'success' | AbortedStatus | DroppedStatus

export interface DevnetTransaction extends Candidate {
  status: DevnetTransactionStatus
  receivedAt: number
  receivedAtHeight: number
  replacedBy?: string
  /** How it is to end, whatever its call does. */
  doom?: AbortedStatus
  mined?: {
    /** False once its block was reorganised away. */
    canonical: boolean
    height: number
    at: number
    result: ClarityValue
    events: number
    cost: Cost
    vmError: string | null
  }
}

export interface MempoolNonces {
  next: number
  lastMined: number | null
  pending: number[]
  missing: number[]
}

export interface Devnet {
  /** Runs exclusively: the chain must not be read while it is rebuilt. */
  exclusively<T>(run: () => T | Promise<T>): Promise<T>
  readonly chain: ClarityChain
  submit(bytes: Uint8Array, fate?: Fate): Promise<Result<string, 'rejected'>>
  grant(address: string): void
  transaction(txid: string): DevnetTransaction | undefined
  transactionsOf(address: string): DevnetTransaction[]
  /** How often blocks are mined from now on; 0: at once; undefined: when `mine` says so. */
  setBlockTime(milliseconds: number | undefined): void
  mine(): Promise<void>
  /** Lets time pass on the chain's clock, in empty blocks. */
  passTime(seconds: number): void
  /**
   * Another fork wins: the block of a transaction and all that came after it are gone. Their transactions wait in the
   * mempool again, or are nowhere, and are still told of as mined in a block that is not canonical.
   */
  reorganise(txid: string, to: 'mempool' | 'nowhere'): Promise<boolean>
  /** Throws a waiting transaction away. */
  drop(txid: string, as: DroppedStatus): boolean
  nonceOf(address: string): number
  noncesOf(address: string): MempoolNonces
}

/** What a fault makes of a transaction that the mempool would take. */
export interface Fate {
  dropAs?: DroppedStatus | 'nothing' | undefined
  abortAs?: AbortedStatus | undefined
}

export interface DevnetOptions {
  /** Where the journal is kept; without it nothing outlives the process. */
  data?: string | undefined
  /** How often blocks are mined; 0: at once. */
  blockMs?: number
}

export async function startDevnetNode({ data, blockMs = 0 }: DevnetOptions): Promise<Devnet> {
  let blockTime: number | undefined = blockMs
  let timer: ReturnType<typeof setInterval> | undefined
  const journal = openJournal(data)
  const transactions = new Map<string, DevnetTransaction>()
  const pending = new Map<string, DevnetTransaction>()
  const nextNonces = new Map<string, number>()
  const chain = await startChain()
  let last: Promise<unknown> = Promise.resolve()

  const nonceOf = (address: string) => nextNonces.get(address) ?? 0

  const tip: Tip = {
    nonce: nonceOf,
    balance: (address) => chain.stxBalance(address),
    interfaceOf: (contract) => chain.interfaceOf(contract),
  }

  function exclusively<T>(run: () => T | Promise<T>): Promise<T> {
    const done = last.then(run)
    last = done.catch(() => {})
    return done
  }

  function rivalOf({ sender, nonce }: Candidate): DevnetTransaction | undefined {
    return [...pending.values()].find((tx) => tx.sender === sender && tx.nonce === nonce)
  }

  function hold(candidate: Candidate, at: number, doom?: AbortedStatus): void {
    const rival = rivalOf(candidate)
    if (rival !== undefined) {
      rival.status = 'dropped_replace_by_fee'
      rival.replacedBy = candidate.txid
      pending.delete(rival.txid)
    }
    const tx: DevnetTransaction = {
      ...candidate,
      status: 'pending',
      receivedAt: at,
      receivedAtHeight: chain.height(),
      ...(doom !== undefined && { doom }),
    }
    transactions.set(tx.txid, tx)
    pending.set(tx.txid, tx)
  }

  function throwAway(txid: string, as: DroppedStatus): void {
    known(transactions, txid).status = as
    pending.delete(txid)
  }

  function revive(tx: DevnetTransaction): void {
    delete tx.mined
    tx.status = 'pending'
    pending.set(tx.txid, tx)
  }

  function settle(
    tx: DevnetTransaction,
    status: DevnetTransactionStatus,
    at: number,
    outcome: Outcome,
  ): void {
    pending.delete(tx.txid)
    nextNonces.set(tx.sender, tx.nonce + 1)
    tx.status = status
    tx.mined = {
      canonical: true,
      height: chain.height(),
      at,
      result: outcome.result,
      events: outcome.events.length,
      cost: outcome.cost,
      vmError: outcome.vmError,
    }
  }

  async function mine(tx: DevnetTransaction): Promise<void> {
    const at = Date.now()
    if (tx.doom !== undefined) return mineDoomed(tx, tx.doom, at)
    const outcome = chain.mine(tx.sender, tx.fee, tx.action)
    const guarded = outcome.ok && (tx.action.kind === 'call' || tx.action.kind === 'deploy')
    const broken = guarded ? violation(tx.guards, outcome.events, tx.sender) : undefined
    if (broken === undefined) {
      journal.append({ mined: tx.txid, at })
      settle(tx, outcome.ok ? 'success' : 'abort_by_response', at, outcome)
      return
    }
    const undone = { result: serializeCV(outcome.result), reason: broken }
    await replay()
    chain.mine(tx.sender, tx.fee, { kind: 'nothing' })
    journal.append({ mined: tx.txid, at, undone })
    settle(tx, 'abort_by_post_condition', at, undoneOutcome(undone))
  }

  function mineDoomed(tx: DevnetTransaction, as: AbortedStatus, at: number): void {
    const undone = { result: DOOMED_RESULT, reason: 'a fault of this devnet', as }
    chain.mine(tx.sender, tx.fee, { kind: 'nothing' })
    journal.append({ mined: tx.txid, at, undone })
    settle(tx, as, at, undoneOutcome(undone))
  }

  /** Clarity cannot take a block back, so the chain is made again without it. */
  async function replay(): Promise<void> {
    await chain.restart()
    for (const entry of canonical(journal.entries)) {
      if ('granted' in entry) chain.grant(entry.granted)
      if ('passed' in entry) chain.passTime(entry.passed)
      if (!('mined' in entry)) continue
      const { sender, fee, action } = known(transactions, entry.mined)
      chain.mine(sender, fee, entry.undone === undefined ? action : { kind: 'nothing' })
    }
  }

  async function mineReady(): Promise<void> {
    for (;;) {
      const ready = [...pending.values()].find(
        (tx) => tx.nonce === nonceOf(tx.sender) && chain.stxBalance(tx.sender) >= tx.fee,
      )
      if (ready === undefined) return
      await mine(ready)
    }
  }

  function restore(entry: Entry): void {
    if ('accepted' in entry) hold(readmit(Buffer.from(entry.accepted, 'hex')), entry.at)
    if ('granted' in entry) chain.grant(entry.granted)
    if ('passed' in entry) chain.passTime(entry.passed)
    if (!('mined' in entry)) return
    const tx = known(transactions, entry.mined)
    if (entry.undone === undefined) {
      const outcome = chain.mine(tx.sender, tx.fee, tx.action)
      settle(tx, outcome.ok ? 'success' : 'abort_by_response', entry.at, outcome)
      return
    }
    chain.mine(tx.sender, tx.fee, { kind: 'nothing' })
    const status = entry.undone.as ?? 'abort_by_post_condition'
    settle(tx, status, entry.at, undoneOutcome(entry.undone))
  }

  function setBlockTime(milliseconds: number | undefined): void {
    blockTime = milliseconds
    clearInterval(timer)
    if (milliseconds) timer = setInterval(() => exclusively(mineReady), milliseconds)
  }

  for (const entry of canonical(journal.entries)) restore(entry)
  setBlockTime(blockTime)
  if (blockTime === 0) await mineReady()

  return {
    exclusively,
    chain,

    async submit(bytes, { dropAs, abortAs } = {}) {
      const admitted = admit(bytes, tip)
      if (!admitted.ok) {
        const seen = transactions.get(String(admitted.details?.txid))
        return isHeld(seen) ? ok(seen.txid) : admitted
      }
      const candidate = admitted.value
      if (isHeld(transactions.get(candidate.txid))) return ok(candidate.txid)
      const rival = rivalOf(candidate)
      if (rival !== undefined && candidate.fee <= rival.fee) {
        return rejected(candidate.txid, { reason: 'ConflictingNonceInMempool' })
      }
      const at = Date.now()
      if (dropAs === 'nothing') return ok(candidate.txid)
      if (dropAs === undefined) journal.append({ accepted: Buffer.from(bytes).toString('hex'), at })
      hold(candidate, at, abortAs)
      if (dropAs !== undefined) throwAway(candidate.txid, dropAs)
      if (blockTime === 0) await mineReady()
      return ok(candidate.txid)
    },

    grant(address) {
      chain.grant(address)
      journal.append({ granted: address })
    },

    passTime(seconds) {
      chain.passTime(seconds)
      journal.append({ passed: seconds })
    },

    transaction: (txid) => transactions.get(txid),
    transactionsOf: (address) => [...transactions.values()].filter((tx) => tx.sender === address),
    nonceOf,
    setBlockTime,
    mine: mineReady,

    async reorganise(txid, to) {
      const first = transactions.get(txid)?.mined
      if (!first?.canonical) return false
      const gone = [...transactions.values()].filter(
        (tx) => tx.mined?.canonical === true && tx.mined.height >= first.height,
      )
      journal.append({ orphaned: gone.map((tx) => tx.txid) })
      for (const tx of gone.toSorted((a, b) => b.nonce - a.nonce)) {
        nextNonces.set(tx.sender, Math.min(nonceOf(tx.sender), tx.nonce))
        if (to === 'nowhere' && tx.mined !== undefined) tx.mined.canonical = false
        else revive(tx)
      }
      await replay()
      return true
    },

    drop(txid, as) {
      if (!pending.has(txid)) return false
      throwAway(txid, as)
      return true
    },

    noncesOf(address) {
      const mined = nonceOf(address)
      const nonces = [...pending.values()]
        .filter((tx) => tx.sender === address)
        .map((tx) => tx.nonce)
        .sort((a, b) => a - b)
      const next = (nonces.at(-1) ?? mined - 1) + 1
      const missing: number[] = []
      for (let nonce = mined; nonce < next; nonce++) {
        if (!nonces.includes(nonce)) missing.push(nonce)
      }
      return { next, lastMined: mined > 0 ? mined - 1 : null, pending: nonces, missing }
    },
  }
}

function known(
  transactions: ReadonlyMap<string, DevnetTransaction>,
  txid: string,
): DevnetTransaction {
  const tx = transactions.get(txid)
  if (tx === undefined) throw new Error(`journal mines ${txid}, which it never accepted`)
  return tx
}

/** Bytes that the node has are answered with their txid again; dropped and orphaned ones are judged anew. */
function isHeld(tx: DevnetTransaction | undefined): tx is DevnetTransaction {
  return tx !== undefined && !tx.status.startsWith('dropped_') && tx.mined?.canonical !== false
}

/** (err none), as the devnet tells of a call that broke. */
const DOOMED_RESULT = serializeCV(responseErrorCV(noneCV()))

/** The entries that made the chain as it is now: without the blocks that were reorganised away. */
function canonical(entries: readonly Entry[]): Entry[] {
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

function undoneOutcome({ result, reason }: { result: string; reason: string }): Outcome {
  return { ok: false, result: deserializeCV(result), events: [], cost: NO_COST, vmError: reason }
}
