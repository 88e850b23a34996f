import { createHash } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import type { HttpBindings } from '@hono/node-server'
import {
  addressToString,
  type ClarityValue,
  createAddress,
  cvToString,
  deserializeCV,
  serializeCV,
  txidFromData,
} from '@stacks/transactions'
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { hexU128 } from './admission.ts'
import { type Cost, NO_COST, TOKENS } from './chain.ts'
import { DEVNET_CHAIN_ID } from './constants.ts'
import { DROPPED, type DroppedStatus, openFaults, readFaults } from './faults.ts'
import type { Devnet, DevnetTransaction } from './node.ts'
import { bestQuote } from './quote.ts'

const MAX_BODY_BYTES = 2 * 1024 * 1024
/** Ten years: in empty blocks that takes the VM about 3 s. */
const MAX_SECONDS = 315_360_000
const MAX_U128 = 2n ** 128n - 1n
const CONTRACT_NAME = /^[a-zA-Z][a-zA-Z0-9_-]{0,127}$/
const HEX = /^(0x)?([0-9a-f]{2})+$/i

/** The parts of a Stacks node and of its API that stacks.js and the service talk to. */
export function createServer(devnet: Devnet): Hono<{ Bindings: HttpBindings }> {
  const app = new Hono<{ Bindings: HttpBindings }>()
  const faults = openFaults()
  const unreadable = (c: Context, error: string) => c.json({ error }, 400)

  app.onError((fault, c) => c.json({ error: fault.message }, 500))
  app.notFound((c) => c.json({ error: 'not found' }, 404))
  app.use(
    bodyLimit({ maxSize: MAX_BODY_BYTES, onError: (c) => c.json({ error: 'too large' }, 413) }),
  )
  app.use(async (c, next) => {
    if (c.req.method === 'POST') await c.req.arrayBuffer()
    const { path } = c.req
    if (path.startsWith('/faults')) return devnet.exclusively(next)
    const delay = faults.take('delay', path)
    if (delay !== undefined) await setTimeout(delay.ms)
    if (faults.take('hang-up-before', path) !== undefined) return hangUp(c)
    const answer = faults.take('answer', path)
    if (answer !== undefined) return Response.json(answer.body ?? {}, { status: answer.status })
    await devnet.exclusively(next)
    if (faults.take('hang-up-after', path) !== undefined) c.res = hangUp(c)
  })

  app.get('/v2/info', (c) => {
    const height = devnet.chain.height()
    return c.json({
      peer_version: 4207599116,
      burn_block_height: height,
      network_id: DEVNET_CHAIN_ID,
      parent_network_id: 3669344250,
      server_version: 'latchkey-devnet',
      stacks_tip_height: height,
      stacks_tip: blockHash(height).slice(2),
      is_fully_synced: true,
    })
  })

  app.post('/v2/transactions', async (c) => {
    const bytes = await transactionBytes(c)
    if (bytes === undefined) return unreadable(c, 'Failed to parse tx')
    const { path } = c.req
    const rejection = faults.take('reject', path)
    if (rejection !== undefined) {
      const { reason } = rejection
      return c.json({ error: 'transaction rejected', reason, txid: txidFromData(bytes) }, 400)
    }
    const submitted = await devnet.submit(bytes, {
      dropAs: faults.take('drop', path)?.as,
      abortAs: faults.take('abort', path)?.as,
    })
    return submitted.ok ? c.json(submitted.value) : c.json(submitted.details ?? {}, 400)
  })

  app.post('/v2/fees/transaction', async (c) => {
    const body = await jsonBody(c)
    const length = Number(body?.estimated_len ?? 500)
    if (!Number.isSafeInteger(length) || length < 0) return unreadable(c, 'estimated_len')
    const estimate = (rate: number) => ({ fee_rate: rate, fee: rate * length })
    return c.json({
      estimated_cost: presentCost(NO_COST),
      estimated_cost_scalar: 0,
      cost_scalar_change_by_byte: 1,
      estimations: [estimate(1), estimate(2), estimate(3)],
    })
  })
  app.get('/v2/fees/transfer', (c) => c.json(1))

  app.get('/v2/accounts/:principal', (c) => {
    const principal = c.req.param('principal')
    if (!isPrincipal(principal)) return unreadable(c, 'Invalid principal')
    const proofs = c.req.query('proof') === '0' ? {} : { balance_proof: '', nonce_proof: '' }
    return c.json({
      balance: hexU128(devnet.chain.stxBalance(principal)),
      locked: hexU128(0n),
      unlock_height: 0,
      nonce: devnet.nonceOf(principal),
      ...proofs,
    })
  })

  app.get('/v2/contracts/interface/:address/:name', (c) => {
    const abi = devnet.chain.interfaceOf(`${c.req.param('address')}.${c.req.param('name')}`)
    return abi === undefined ? c.json({ error: 'No such contract' }, 404) : c.json(abi)
  })

  app.get('/v2/contracts/source/:address/:name', (c) => {
    const source = devnet.chain.sourceOf(`${c.req.param('address')}.${c.req.param('name')}`)
    return source === undefined
      ? c.json({ error: 'No contract source data found' }, 404)
      : c.json({ source, publish_height: 1, proof: '' })
  })

  app.post('/v2/contracts/call-read/:address/:name/:fn', async (c) => {
    const { address, name, fn } = c.req.param()
    const body = await jsonBody(c)
    if (body === undefined) return unreadable(c, 'Failed to parse body')
    const { sender, arguments: hexArgs } = body
    if (typeof sender !== 'string' || !isPrincipal(sender)) return unreadable(c, 'Invalid sender')
    let args: ClarityValue[]
    try {
      if (!Array.isArray(hexArgs)) throw new Error('arguments')
      args = hexArgs.map((hex: unknown) => deserializeCV(String(hex)))
    } catch {
      return unreadable(c, 'Invalid arguments')
    }
    try {
      const result = devnet.chain.readOnly(`${address}.${name}`, fn, args, sender)
      return c.json({ okay: true, result: hexOf(result) })
    } catch (fault) {
      return c.json({ okay: false, cause: fault instanceof Error ? fault.message : String(fault) })
    }
  })

  app.get('/extended/v3/transactions/:txid', (c) => {
    const tx = devnet.transaction(txidOf(c))
    return tx === undefined
      ? c.json({ statusCode: 404, error: 'Not Found', message: 'Transaction not found' }, 404)
      : c.json(presentV3(tx, c.req.query('include')?.split(',') ?? []))
  })

  app.get('/extended/v1/tx/:txid', (c) => {
    const tx = devnet.transaction(txidOf(c))
    return tx === undefined
      ? c.json({ error: 'could not find transaction by ID' }, 404)
      : c.json(presentV1(tx))
  })

  app.get('/extended/v3/principals/:principal/nonces', (c) => {
    if (!isAddress(c.req.param('principal'))) return unreadable(c, 'Invalid principal')
    const { next, lastMined, pending, missing } = devnet.noncesOf(c.req.param('principal'))
    return c.json({
      next_nonce: next,
      last_confirmed_nonce: lastMined,
      mempool: {
        last_nonce: pending.at(-1) ?? null,
        pending_nonces: pending,
        missing_nonces: missing,
      },
    })
  })

  app.get('/extended/v1/address/:principal/nonces', (c) => {
    if (!isAddress(c.req.param('principal'))) return unreadable(c, 'Invalid principal')
    const { next, lastMined, pending, missing } = devnet.noncesOf(c.req.param('principal'))
    return c.json({
      last_executed_tx_nonce: lastMined,
      last_mempool_tx_nonce: pending.at(-1) ?? null,
      possible_next_nonce: next,
      detected_missing_nonces: missing,
      detected_mempool_nonces: pending,
    })
  })

  app.get('/quote', (c) => {
    const { tokenIn = '', tokenOut = '', amount = '' } = c.req.query()
    if (!/^[0-9]{1,39}$/.test(amount) || BigInt(amount) === 0n || BigInt(amount) > MAX_U128) {
      return c.json({ success: false, error: 'amount must be an integer from 1 to 2^128 - 1' }, 400)
    }
    if (!isPrincipal(tokenIn) || !isPrincipal(tokenOut)) {
      return c.json({ success: false, error: 'tokenIn and tokenOut must be contract ids' }, 400)
    }
    const data = bestQuote(devnet.chain, tokenIn, tokenOut, BigInt(amount))
    return data === undefined
      ? c.json({ success: false, error: 'No route found' })
      : c.json({ success: true, data })
  })

  app.post('/faucet', async (c) => {
    const address = (await jsonBody(c))?.address
    if (typeof address !== 'string' || !isAddress(address)) return unreadable(c, 'Invalid address')
    devnet.grant(address)
    return c.json(holdings(devnet, address))
  })

  app.get('/transactions/:principal', (c) => {
    const principal = c.req.param('principal')
    if (!isAddress(principal)) return unreadable(c, 'Invalid principal')
    return c.json(devnet.transactionsOf(principal).map(summary))
  })

  app.get('/faults', (c) => c.json(faults.list()))
  app.post('/faults', async (c) => {
    const given = readFaults(await jsonBody(c))
    if (given === undefined) return unreadable(c, 'not a fault: see src/devnet/faults.ts')
    faults.add(given)
    return c.json(faults.list())
  })
  app.delete('/faults', (c) => {
    faults.clear()
    return c.json([])
  })
  app.post('/faults/block-time', async (c) => {
    const ms = (await jsonBody(c))?.ms
    if (ms !== null && !Number.isSafeInteger(ms)) return unreadable(c, 'ms: a whole number or null')
    devnet.setBlockTime(ms === null ? undefined : Number(ms))
    if (ms === 0) await devnet.mine()
    return c.json({ ms })
  })
  app.post('/faults/mine', async (c) => {
    await devnet.mine()
    return c.json({ height: devnet.chain.height() })
  })
  app.post('/faults/clock', async (c) => {
    const seconds = (await jsonBody(c))?.seconds
    if (!Number.isSafeInteger(seconds) || Number(seconds) < 0 || Number(seconds) > MAX_SECONDS) {
      return unreadable(c, `seconds: a whole number up to ${MAX_SECONDS}`)
    }
    devnet.passTime(Number(seconds))
    return c.json({ height: devnet.chain.height() })
  })
  app.post('/faults/reorganise', async (c) => {
    const { txid = '', to = 'mempool' } = (await jsonBody(c)) ?? {}
    if (to !== 'mempool' && to !== 'nowhere') return unreadable(c, 'to: mempool or nowhere')
    const done = await devnet.reorganise(plainTxid(String(txid)), to)
    return done ? c.json({ height: devnet.chain.height() }) : unreadable(c, 'not mined')
  })
  app.post('/faults/drop', async (c) => {
    const { txid = '', as = 'dropped_stale_garbage_collect' } = (await jsonBody(c)) ?? {}
    if (!isDropped(as)) return unreadable(c, 'as: a dropped status')
    return devnet.drop(plainTxid(String(txid)), as) ? c.json({ as }) : unreadable(c, 'not pending')
  })

  app.get('/balances/:principal', (c) => {
    const principal = c.req.param('principal')
    return isPrincipal(principal)
      ? c.json(holdings(devnet, principal))
      : unreadable(c, 'Invalid principal')
  })

  return app
}

async function transactionBytes(c: Context): Promise<Uint8Array | undefined> {
  if (c.req.header('content-type')?.startsWith('application/octet-stream')) {
    return new Uint8Array(await c.req.arrayBuffer())
  }
  const tx = (await jsonBody(c))?.tx
  if (typeof tx === 'string' && HEX.test(tx)) return Buffer.from(tx.replace(/^0x/i, ''), 'hex')
}

async function jsonBody(c: Context): Promise<Record<string, unknown> | undefined> {
  const body: unknown = await c.req.json().catch(() => undefined)
  if (typeof body === 'object' && body !== null) return body as Record<string, unknown>
}

function holdings(devnet: Devnet, principal: string) {
  const chain = devnet.chain
  const tokens = TOKENS.map((token) => [token, chain.tokenBalance(token, principal).toString()])
  return {
    address: principal,
    stx: chain.stxBalance(principal).toString(),
    tokens: Object.fromEntries(tokens) as Record<string, string>,
  }
}

function presentV3(tx: DevnetTransaction, include: string[]) {
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
      replaced_by_tx_id: tx.replacedBy === undefined ? null : `0x${tx.replacedBy}`,
    }
  }
  const { height, at, result, events, cost, vmError } = tx.mined
  const hash = blockHash(height)
  return {
    ...shared,
    canonical: tx.mined.canonical,
    block: { height, hash, index_hash: hash, time: seconds(at), tx_index: 0 },
    bitcoin_block: { height, time: seconds(at) },
    parent_block: { hash: blockHash(height - 1), index_hash: blockHash(height - 1) },
    result: { hex: hexOf(result), repr: cvToString(result) },
    event_count: events,
    execution_cost: presentCost(cost),
    vm_error: vmError,
  }
}

function presentCost({ runtime, readCount, readLength, writeCount, writeLength }: Cost) {
  return {
    read_count: readCount,
    read_length: readLength,
    runtime,
    write_count: writeCount,
    write_length: writeLength,
  }
}

function presentV1(tx: DevnetTransaction) {
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
  const { height, at, result, events, vmError } = tx.mined
  return {
    ...shared,
    canonical: tx.mined.canonical,
    is_unanchored: false,
    microblock_canonical: true,
    block_hash: blockHash(height),
    block_height: height,
    block_time: seconds(at),
    block_time_iso: new Date(at).toISOString(),
    burn_block_height: height,
    tx_index: 0,
    tx_result: { hex: hexOf(result), repr: cvToString(result) },
    event_count: events,
    vm_error: vmError,
  }
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
  const args = action.args.map((arg) => ({ hex: hexOf(arg), repr: cvToString(arg) }))
  const call = withArguments ? { ...called, function_args: args } : called
  return { [type]: 'contract_call', contract_call: call }
}

function hexOf(value: ClarityValue): string {
  return `0x${serializeCV(value)}`
}

/** What a test wants to know of a sender's transactions, without reading Clarity. */
function summary({ txid, nonce, fee, status, mined, action }: DevnetTransaction) {
  const args = action.kind === 'call' ? action.args : []
  const uuid = args[0]?.type === 'tuple' ? args[0].value.uuid : args.at(-1)
  return {
    txid,
    nonce,
    fee: fee.toString(),
    status,
    ...(mined !== undefined && { height: mined.height, canonical: mined.canonical }),
    ...(uuid?.type === 'ascii' && { uuid: uuid.value }),
  }
}

/** Closes the connection: the response that follows is never sent. */
function hangUp(c: Context<{ Bindings: HttpBindings }>): Response {
  c.env.incoming.socket.destroy()
  return new Response(null)
}

function isDropped(as: unknown): as is DroppedStatus {
  return (DROPPED as readonly unknown[]).includes(as)
}

function txidOf(c: Context): string {
  return plainTxid(c.req.param('txid') ?? '')
}

function plainTxid(txid: string): string {
  return txid.toLowerCase().replace(/^0x/, '')
}

/** Names a block; there is no header behind it. */
function blockHash(height: number): string {
  return `0x${createHash('sha512-256').update(`latchkey-devnet ${height}`).digest('hex')}`
}

function seconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000)
}

function isPrincipal(text: string): boolean {
  const [address = '', name, ...more] = text.split('.')
  return isAddress(address) && more.length === 0 && (name === undefined || CONTRACT_NAME.test(name))
}

function isAddress(text: string): boolean {
  try {
    return /^S[TN]/.test(text) && addressToString(createAddress(text)) === text
  } catch {
    return false
  }
}
