import { createHash } from 'node:crypto'
import { type ClarityValue, cvToString, serializeCV } from '@stacks/transactions'
import type { Cost } from '../chain.ts'
import { type DevnetTransaction, isOnChain } from '../ledger.ts'

/** A transaction as `/extended/v3/transactions` returns it; `include` names its optional fields. */
export function presentV3(tx: DevnetTransaction, include: string[]) {
  const shared = {
    tx_id: `0x${tx.txid}`,
    sender: { address: tx.sender, nonce: tx.nonce },
    sponsor: null,
    fee_rate: tx.fee.toString(),
    status: tx.status,
    ...payloadOf(tx, 'type', 'recipient', include.includes('function_args')),
  }
  if (tx.mined === undefined) {
    return {
      ...shared,
      receipt_time: seconds(tx.receivedAt),
      receipt_block_height: tx.receivedAtHeight,
      replaced_by_tx_id: null,
    }
  }
  const { height, at, result, events, cost, vmError } = tx.mined
  const hash = blockHash(height)
  return {
    ...shared,
    block: { height, hash, index_hash: hash, time: seconds(at), tx_index: 0 },
    bitcoin_block: { height, time: seconds(at) },
    parent_block: { hash: blockHash(height - 1), index_hash: blockHash(height - 1) },
    ...(include.includes('result') && { result: presentValue(result) }),
    event_count: events,
    execution_cost: presentCost(cost),
    vm_error: vmError,
  }
}

/** A transaction as `/extended/v1/tx` returns it. */
export function presentV1(tx: DevnetTransaction) {
  const shared = {
    tx_id: `0x${tx.txid}`,
    nonce: tx.nonce,
    fee_rate: tx.fee.toString(),
    sender_address: tx.sender,
    sponsored: false,
    tx_status: tx.status,
    ...payloadOf(tx, 'tx_type', 'recipient_address', true),
  }
  if (tx.mined === undefined) {
    return {
      ...shared,
      receipt_time: seconds(tx.receivedAt),
      receipt_time_iso: new Date(tx.receivedAt).toISOString(),
      replaced_by_tx_id: tx.replacedBy === undefined ? null : `0x${tx.replacedBy}`,
    }
  }
  const { canonical, microblockCanonical, height, at, result, events, vmError } = tx.mined
  return {
    ...shared,
    canonical,
    is_unanchored: false,
    microblock_canonical: microblockCanonical,
    block_hash: blockHash(height),
    block_height: height,
    block_time: seconds(at),
    block_time_iso: new Date(at).toISOString(),
    burn_block_height: height,
    tx_index: 0,
    tx_result: presentValue(result),
    event_count: events,
    vm_error: vmError,
  }
}

/** The devnet's own, short form: a test reads it without decoding Clarity. */
export function summaryOf({ txid, nonce, fee, status, mined, action }: DevnetTransaction) {
  const call = action.kind === 'call' ? action : undefined
  const uuid = uuidOf(call?.args ?? [])
  return {
    txid,
    nonce,
    fee: fee.toString(),
    status,
    ...(mined !== undefined && { height: mined.height, canonical: isOnChain(mined) }),
    ...(call !== undefined && { contract: call.contract, fn: call.fn }),
    ...(uuid !== undefined && { uuid }),
  }
}

/** The uuid of an order: in the first argument of a swap, or the last one of a call that burns it. */
function uuidOf(args: ClarityValue[]): string | undefined {
  const uuid = args[0]?.type === 'tuple' ? args[0].value.uuid : args.at(-1)
  return uuid?.type === 'ascii' ? uuid.value : undefined
}

export function presentCost({ runtime, readCount, readLength, writeCount, writeLength }: Cost) {
  return {
    read_count: readCount,
    read_length: readLength,
    runtime,
    write_count: writeCount,
    write_length: writeLength,
  }
}

/** The hash of a block is derived from its height: there is no header behind it. */
export function blockHash(height: number): string {
  return `0x${createHash('sha512-256').update(`latchkey-devnet ${height}`).digest('hex')}`
}

function payloadOf(
  { action, sender }: DevnetTransaction,
  type: string,
  recipient: string,
  withArguments: boolean,
) {
  if (action.kind === 'transfer') {
    const transfer = { [recipient]: action.recipient, amount: action.amount.toString(), memo: null }
    return { [type]: 'token_transfer', token_transfer: transfer }
  }
  if (action.kind === 'deploy') {
    const contract = {
      clarity_version: action.clarityVersion ?? null,
      contract_id: `${sender}.${action.name}`,
    }
    return { [type]: 'smart_contract', smart_contract: contract }
  }
  if (action.kind !== 'call') return {}
  const called = { contract_id: action.contract, function_name: action.fn }
  const call = withArguments ? { ...called, function_args: action.args.map(presentValue) } : called
  return { [type]: 'contract_call', contract_call: call }
}

function presentValue(value: ClarityValue) {
  return { hex: `0x${serializeCV(value)}`, repr: cvToString(value) }
}

function seconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000)
}
