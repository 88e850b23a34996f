import { type ClarityValue, deserializeCV, serializeCV, txidFromData } from '@stacks/transactions'
import { type Context, Hono } from 'hono'
import { hexU128 } from '../admission.ts'
import { NO_COST } from '../chain.ts'
import { DEVNET_CHAIN_ID } from '../constants.ts'
import type { Faults } from '../faults.ts'
import type { Devnet, FeeRates } from '../node.ts'
import { badRequest, bytesOfHex, isPrincipal, jsonBody, undecodable } from './request.ts'
import { blockHash, presentCost } from './transaction-json.ts'

/** `/v2`: the requests that a node itself serves. */
export function nodeApi(devnet: Devnet, faults: Faults): Hono {
  const api = new Hono()
  api.get('/info', (c) => c.json(infoOf(devnet)))
  api.get('/accounts/:principal', (c) => {
    const principal = c.req.param('principal')
    if (!isPrincipal(principal)) return badRequest(c, 'Invalid principal')
    const proofs = c.req.query('proof') === '0' ? {} : { balance_proof: '', nonce_proof: '' }
    return c.json({ ...accountOf(devnet, principal), ...proofs })
  })
  api.post('/transactions', (c) => postTransaction(c, devnet, faults))
  api.post('/fees/transaction', (c) => postFeeEstimate(c, devnet))
  api.get('/fees/transfer', (c) => c.json(devnet.feeRates.minimum))
  addContracts(api, devnet)
  return api
}

function infoOf({ chain }: Devnet) {
  const height = chain.height()
  return {
    peer_version: 4207599116,
    burn_block_height: height,
    network_id: DEVNET_CHAIN_ID,
    parent_network_id: 3669344250,
    server_version: 'latchkey-devnet',
    stacks_tip_height: height,
    stacks_tip: blockHash(height).slice(2),
    is_fully_synced: true,
  }
}

function accountOf(devnet: Devnet, principal: string) {
  return {
    balance: hexU128(devnet.chain.stxBalance(principal)),
    locked: hexU128(0n),
    unlock_height: 0,
    nonce: devnet.nonceOf(principal),
  }
}

async function postTransaction(c: Context, devnet: Devnet, faults: Faults): Promise<Response> {
  const bytes = await transactionBytes(c)
  if (bytes === undefined) return undecodable(c, 'Failed to decode: Failed to parse tx')
  const { path } = c.req
  const rejection = faults.take('reject', path)
  if (rejection !== undefined) {
    const { reason } = rejection
    return c.json({ error: 'transaction rejected', reason, txid: txidFromData(bytes) }, 400)
  }
  const submitted = await devnet.submit(bytes, {
    dropAs: faults.take('drop', path)?.as,
    abortAs: faults.take('abort', path)?.as,
    held: faults.take('hold', path) !== undefined,
  })
  if (submitted.ok) return c.json(submitted.value)
  return submitted.reason === 'undecodable'
    ? undecodable(c, String(submitted.details?.message))
    : c.json(submitted.details ?? {}, 400)
}

async function transactionBytes(c: Context): Promise<Uint8Array | undefined> {
  return c.req.header('content-type')?.startsWith('application/octet-stream')
    ? new Uint8Array(await c.req.arrayBuffer())
    : bytesOfHex((await jsonBody(c))?.tx)
}

async function postFeeEstimate(c: Context, { feeRates }: Devnet): Promise<Response> {
  const { transaction_payload: hex, estimated_len: length = 0 } = (await jsonBody(c)) ?? {}
  const payload = bytesOfHex(hex)
  if (payload === undefined || !Number.isSafeInteger(length) || Number(length) < 0)
    return undecodable(c, 'Failed to decode: Failed to parse JSON body')
  return c.json(feeEstimate(feeRates, Math.max(Number(length), payload.length)))
}

/** Three rates, of which the middle one is the estimate. No fee is below what the mempool admits. */
function feeEstimate({ estimate, minimum }: FeeRates, byteLength: number) {
  const estimations = [estimate / 2, estimate, estimate * 1.5].map((rate) => ({
    fee_rate: rate,
    fee: Math.max(Math.floor(rate * byteLength), minimum * byteLength),
  }))
  return {
    estimated_cost: presentCost(NO_COST),
    estimated_cost_scalar: byteLength,
    cost_scalar_change_by_byte: 1,
    estimations,
  }
}

function addContracts(api: Hono, devnet: Devnet): void {
  api.get('/contracts/interface/:address/:name', (c) => {
    const { address, name } = c.req.param()
    const abi = devnet.chain.interfaceOf(`${address}.${name}`)
    return abi === undefined ? c.json({ error: 'No such contract' }, 404) : c.json(abi)
  })
  api.get('/contracts/source/:address/:name', (c) => {
    const { address, name } = c.req.param()
    const source = devnet.chain.sourceOf(`${address}.${name}`)
    return source === undefined
      ? c.json({ error: 'No contract source data found' }, 404)
      : c.json({ source, publish_height: 1, proof: '' })
  })
  api.post('/contracts/call-read/:address/:name/:fn', async (c) => {
    const { address, name, fn } = c.req.param()
    const { sender, arguments: hexArguments } = (await jsonBody(c)) ?? {}
    if (typeof sender !== 'string' || !isPrincipal(sender)) return badRequest(c, 'Invalid sender')
    const args = clarityValues(hexArguments)
    if (args === undefined) return badRequest(c, 'Invalid arguments')
    try {
      const result = devnet.chain.readOnly(`${address}.${name}`, fn, args, sender)
      return c.json({ okay: true, result: `0x${serializeCV(result)}` })
    } catch (fault) {
      return c.json({ okay: false, cause: fault instanceof Error ? fault.message : String(fault) })
    }
  })
}

function clarityValues(hexArguments: unknown): ClarityValue[] | undefined {
  if (!Array.isArray(hexArguments)) return undefined
  try {
    return hexArguments.map((hex: unknown) => deserializeCV(String(hex)))
  } catch {
    return undefined
  }
}
