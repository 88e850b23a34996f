import { type ClarityValue, deserializeCV, serializeCV } from '@stacks/transactions'
import { ok, type Result } from '../result.ts'
import { admit, type Candidate, readmit, rejected, type Tip } from './admission.ts'
import { type Chain, type Outcome, startChain } from './chain.ts'
import { violation } from './guards.ts'
import { type Entry, openJournal } from './journal.ts'

export type TransactionStatus =
  | 'pending'
  | 'success'
  | 'abort_by_response'
  | 'abort_by_post_condition'
  | 'dropped_replace_by_fee'

export interface Transaction extends Candidate {
  status: TransactionStatus
  receivedAt: number
  receivedAtHeight: number
  replacedBy?: string
  mined?: {
    height: number
    at: number
    result: ClarityValue
    events: number
    vmError: string | null
  }
}

export interface Nonces {
  next: number
  lastMined: number | null
  pending: number[]
  missing: number[]
}

export interface Devnet {
  /** Runs alone: a rebuild takes a while, and nobody may see the chain in between. */
  exclusively<T>(run: () => T | Promise<T>): Promise<T>
  readonly chain: Chain
  submit(bytes: Uint8Array): Promise<Result<string, 'rejected'>>
  grant(address: string): void
  transaction(txid: string): Transaction | undefined
  nonceOf(address: string): number
  noncesOf(address: string): Nonces
}

export interface DevnetOptions {
  /** Where the journal is kept; without it nothing outlives the process. */
  data?: string | undefined
  /** How often blocks are mined; 0: at once. */
  blockMs?: number
}

export async function startDevnet({ data, blockMs = 0 }: DevnetOptions): Promise<Devnet> {
  const journal = openJournal(data)
  const transactions = new Map<string, Transaction>()
  const pending = new Map<string, Transaction>()
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

  function rivalOf({ sender, nonce }: Candidate): Transaction | undefined {
    return [...pending.values()].find((tx) => tx.sender === sender && tx.nonce === nonce)
  }

  function hold(candidate: Candidate, at: number): void {
    const rival = rivalOf(candidate)
    if (rival !== undefined) {
      rival.status = 'dropped_replace_by_fee'
      rival.replacedBy = candidate.txid
      pending.delete(rival.txid)
    }
    const tx: Transaction = {
      ...candidate,
      status: 'pending',
      receivedAt: at,
      receivedAtHeight: chain.height(),
    }
    transactions.set(tx.txid, tx)
    pending.set(tx.txid, tx)
  }

  function settle(tx: Transaction, status: TransactionStatus, at: number, outcome: Outcome): void {
    pending.delete(tx.txid)
    nextNonces.set(tx.sender, tx.nonce + 1)
    tx.status = status
    tx.mined = {
      height: chain.height(),
      at,
      result: outcome.result,
      events: outcome.events.length,
      vmError: outcome.vmError,
    }
  }

  async function mine(tx: Transaction): Promise<void> {
    const at = Date.now()
    const outcome = chain.mine(tx.sender, tx.fee, tx.action)
    const guarded = outcome.ok && tx.action.kind === 'call'
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

  /** Clarity cannot take a block back, so the chain is made again without it. */
  async function replay(): Promise<void> {
    await chain.restart()
    for (const entry of journal.entries) {
      if ('granted' in entry) chain.grant(entry.granted)
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
    if (!('mined' in entry)) return
    const tx = known(transactions, entry.mined)
    if (entry.undone === undefined) {
      const outcome = chain.mine(tx.sender, tx.fee, tx.action)
      settle(tx, outcome.ok ? 'success' : 'abort_by_response', entry.at, outcome)
      return
    }
    chain.mine(tx.sender, tx.fee, { kind: 'nothing' })
    settle(tx, 'abort_by_post_condition', entry.at, undoneOutcome(entry.undone))
  }

  for (const entry of journal.entries) restore(entry)
  if (blockMs === 0) await mineReady()
  else setInterval(() => exclusively(mineReady), blockMs)

  return {
    exclusively,
    chain,

    async submit(bytes) {
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
      journal.append({ accepted: Buffer.from(bytes).toString('hex'), at })
      hold(candidate, at)
      if (blockMs === 0) await mineReady()
      return ok(candidate.txid)
    },

    grant(address) {
      chain.grant(address)
      journal.append({ granted: address })
    },

    transaction: (txid) => transactions.get(txid),
    nonceOf,

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

function known(transactions: ReadonlyMap<string, Transaction>, txid: string): Transaction {
  const tx = transactions.get(txid)
  if (tx === undefined) throw new Error(`journal mines ${txid}, which it never accepted`)
  return tx
}

/** Bytes that the node has are answered with their txid again; replaced ones are judged anew. */
function isHeld(tx: Transaction | undefined): tx is Transaction {
  return tx !== undefined && tx.status !== 'dropped_replace_by_fee'
}

function undoneOutcome({ result, reason }: { result: string; reason: string }): Outcome {
  return { ok: false, result: deserializeCV(result), events: [], vmError: reason }
}
