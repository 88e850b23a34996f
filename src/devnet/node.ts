import { ok, type Result } from '../result.ts'
import { admit, rejected, type Tip } from './admission.ts'
import { type ClarityChain, startChain } from './chain.ts'
import type { DroppedStatus } from './faults.ts'
import { type Fate, openJournal } from './journal.ts'
import {
  accept,
  type DevnetTransaction,
  drop,
  emptyLedger,
  isPresent,
  nonceOf,
  noncesOf,
  type PrincipalNonces,
  type ReorganiseTo,
  rivalOf,
} from './ledger.ts'
import { type ChainState, canonicalEntries, mineReady, reorganise, restore } from './mining.ts'

export interface Devnet {
  /** Runs exclusively: the chain must not be read while it is rebuilt. */
  exclusively<T>(run: () => T | Promise<T>): Promise<T>
  readonly chain: ClarityChain
  /** A fault may change them. */
  readonly feeRates: FeeRates
  /** Returns the txid. */
  submit(
    bytes: Uint8Array,
    fault?: SubmissionFault,
  ): Promise<Result<string, 'rejected' | 'undecodable'>>
  grant(address: string): void
  transaction(txid: string): DevnetTransaction | undefined
  transactionsOf(address: string): DevnetTransaction[]
  /** The interval of blocks from now on; 0: a block at once; undefined: only by `mine`. */
  setBlockTime(milliseconds: number | undefined): void
  mine(): Promise<void>
  /** Advances the chain's clock, by empty blocks. */
  passTime(seconds: number): void
  /** Another fork wins: the block of a transaction and all later ones are removed. False when it is not mined. */
  reorganise(txid: string, to: ReorganiseTo): Promise<boolean>
  /** Drops a pending transaction; false when it is not pending. */
  drop(txid: string, as: DroppedStatus): boolean
  nonceOf(address: string): number
  noncesOf(address: string): PrincipalNonces
}

/** In micro-STX a byte. */
export interface FeeRates {
  /** The middle one of the three estimates. */
  estimate: number
  /** The least that the mempool admits: a whole number. */
  minimum: number
}

export const DEFAULT_FEE_RATES: Readonly<FeeRates> = { estimate: 2, minimum: 1 }

/** What a fault does to an admitted transaction. */
export interface SubmissionFault extends Fate {
  dropAs?: DroppedStatus | 'nothing' | undefined
}

export interface DevnetOptions {
  /** The folder of the journal; without it nothing outlives the process. */
  data?: string | undefined
  /** The interval of blocks; 0: a block at once. */
  blockMs?: number
}

export async function startDevnetNode({ data, blockMs = 0 }: DevnetOptions): Promise<Devnet> {
  const chain = await startChain()
  const journal = openJournal(data)
  const ledger = emptyLedger()
  const state: ChainState = { chain, journal, ledger }
  const feeRates = { ...DEFAULT_FEE_RATES }
  const exclusively = sequence()
  const blocks = blockTimer(() => exclusively(() => mineReady(state)))

  for (const entry of canonicalEntries(journal.entries)) restore(state, entry)
  blocks.set(blockMs)
  if (blockMs === 0) await mineReady(state)

  return {
    exclusively,
    chain,
    feeRates,
    async submit(bytes, fault) {
      const submitted = submit(state, feeRates, bytes, fault)
      if (!submitted.ok) return submitted
      const { txid, isNew } = submitted.value
      if (isNew && blocks.interval() === 0) await mineReady(state)
      return ok(txid)
    },
    grant(address) {
      chain.grant(address)
      journal.append({ granted: address })
    },
    passTime(seconds) {
      chain.passTime(seconds)
      journal.append({ passed: seconds })
    },
    transaction: (txid) => ledger.transactions.get(txid),
    transactionsOf: (address) =>
      [...ledger.transactions.values()].filter((tx) => tx.sender === address),
    setBlockTime: blocks.set,
    mine: () => mineReady(state),
    reorganise: (txid, to) => reorganise(state, txid, to),
    drop(txid, as) {
      if (!ledger.pending.has(txid)) return false
      drop(ledger, txid, as)
      return true
    },
    nonceOf: (address) => nonceOf(ledger, address),
    noncesOf: (address) => noncesOf(ledger, address),
  }
}

function submit(
  { chain, journal, ledger }: ChainState,
  { minimum }: FeeRates,
  bytes: Uint8Array,
  { dropAs, ...fate }: SubmissionFault = {},
): Result<{ txid: string; isNew: boolean }, 'rejected' | 'undecodable'> {
  const { transactions } = ledger
  const tip: Tip = {
    minimumFeeRate: BigInt(minimum),
    nonce: (address) => nonceOf(ledger, address),
    balance: chain.stxBalance,
    interfaceOf: chain.interfaceOf,
  }
  const admitted = admit(bytes, tip)
  // A transaction that the node has gets its txid again, also where it could not be admitted a second time.
  const txid = admitted.ok ? admitted.value.txid : String(admitted.details?.txid)
  if (isPresent(transactions.get(txid))) return ok({ txid, isNew: false })
  if (!admitted.ok) return admitted

  const candidate = admitted.value
  const rival = rivalOf(ledger, candidate)
  if (rival !== undefined && candidate.fee <= rival.fee)
    return rejected(txid, { reason: 'ConflictingNonceInMempool' })
  if (dropAs === 'nothing') return ok({ txid, isNew: false })
  const at = Date.now()
  const accepted = Buffer.from(bytes).toString('hex')
  if (dropAs === undefined) journal.append({ accepted, at, fate })
  accept(ledger, candidate, { at, height: chain.height(), fate })
  if (dropAs !== undefined) drop(ledger, txid, dropAs)
  return ok({ txid, isNew: true })
}

/** Runs functions one after another: each starts once the one before has resolved or rejected. */
function sequence(): Devnet['exclusively'] {
  let last: Promise<unknown> = Promise.resolve()
  return (run) => {
    const done = last.then(run)
    last = done.catch(() => {})
    return done
  }
}

function blockTimer(mineBlocks: () => Promise<void>) {
  let interval: number | undefined
  let timer: ReturnType<typeof setInterval> | undefined
  return {
    interval: () => interval,
    set(milliseconds: number | undefined) {
      interval = milliseconds
      clearInterval(timer)
      if (milliseconds) timer = setInterval(mineBlocks, milliseconds)
    },
  }
}
