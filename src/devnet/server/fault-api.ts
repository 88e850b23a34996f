import { type Context, Hono } from 'hono'
import { type Faults, isDropped, isWhole, readFaults } from '../faults.ts'
import { REORGANISE_TO, type ReorganiseTo } from '../ledger.ts'
import { DEFAULT_FEE_RATES, type Devnet } from '../node.ts'
import { badRequest, jsonBody, plainTxid } from './request.ts'

/** Ten years: in empty blocks that takes the VM about 3 s. */
const MAX_SECONDS = 315_360_000

/** `/faults`: failures of the chain and of its API, and what makes blocks and time pass. */
export function faultApi(devnet: Devnet, faults: Faults): Hono {
  const api = new Hono()
  api.get('/', (c) => c.json(faults.list()))
  api.post('/', async (c) => {
    const given = readFaults(await jsonBody(c))
    if (given === undefined) return badRequest(c, 'not a fault: see src/devnet/faults.ts')
    faults.add(given)
    return c.json(faults.list())
  })
  api.delete('/', (c) => {
    faults.clear()
    return c.json([])
  })
  api.post('/block-time', (c) => postBlockTime(c, devnet))
  api.post('/mine', async (c) => {
    await devnet.mine()
    return c.json({ height: devnet.chain.height() })
  })
  api.post('/clock', (c) => postClock(c, devnet))
  api.post('/fee-rate', (c) => postFeeRate(c, devnet))
  api.post('/reorganise', (c) => postReorganise(c, devnet))
  api.post('/drop', (c) => postDrop(c, devnet))
  return api
}

async function postBlockTime(c: Context, devnet: Devnet): Promise<Response> {
  const ms = (await jsonBody(c))?.ms
  if (ms !== null && !isWhole(ms)) return badRequest(c, 'ms: a whole number or null')
  devnet.setBlockTime(ms ?? undefined)
  if (ms === 0) await devnet.mine()
  return c.json({ ms })
}

async function postClock(c: Context, devnet: Devnet): Promise<Response> {
  const seconds = (await jsonBody(c))?.seconds
  if (!isWhole(seconds) || seconds > MAX_SECONDS)
    return badRequest(c, `seconds: a whole number up to ${MAX_SECONDS}`)
  devnet.passTime(seconds)
  return c.json({ height: devnet.chain.height() })
}

async function postFeeRate(c: Context, devnet: Devnet): Promise<Response> {
  const given = { ...DEFAULT_FEE_RATES, ...(await jsonBody(c)) }
  const { estimate, minimum } = given as Record<string, unknown>
  if (!Number.isFinite(estimate) || Number(estimate) < 0) return badRequest(c, 'estimate: a number')
  if (!isWhole(minimum)) return badRequest(c, 'minimum: a whole number')
  Object.assign(devnet.feeRates, { estimate, minimum })
  return c.json(devnet.feeRates)
}

async function postReorganise(c: Context, devnet: Devnet): Promise<Response> {
  const { txid, to = 'mempool' } = (await jsonBody(c)) ?? {}
  if (!isReorganiseTo(to)) return badRequest(c, `to: ${REORGANISE_TO.join(', ')}`)
  const done = await devnet.reorganise(plainTxid(txid), to)
  return done ? c.json({ height: devnet.chain.height() }) : badRequest(c, 'not mined')
}

async function postDrop(c: Context, devnet: Devnet): Promise<Response> {
  const { txid, as = 'dropped_stale_garbage_collect' } = (await jsonBody(c)) ?? {}
  if (!isDropped(as)) return badRequest(c, 'as: a dropped status')
  return devnet.drop(plainTxid(txid), as) ? c.json({ as }) : badRequest(c, 'not pending')
}

function isReorganiseTo(to: unknown): to is ReorganiseTo {
  return (REORGANISE_TO as readonly unknown[]).includes(to)
}
