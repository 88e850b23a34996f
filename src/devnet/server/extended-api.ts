import { Hono } from 'hono'
import { isPresent } from '../ledger.ts'
import type { Devnet } from '../node.ts'
import { badRequest, isAddress, plainTxid } from './request.ts'
import { presentV1, presentV3 } from './transaction-json.ts'

/** `/extended`: the requests that the API of Stacks serves from its own database, in version 3 and in the old version 1. */
export function extendedApi(devnet: Devnet): Hono {
  const api = new Hono()
  api.get('/v3/transactions/:txid', (c) => {
    const tx = devnet.transaction(plainTxid(c.req.param('txid')))
    // Version 3 has neither dropped nor orphaned transactions; version 1 has both.
    return isPresent(tx)
      ? c.json(presentV3(tx, c.req.queries('include')?.flatMap((one) => one.split(',')) ?? []))
      : c.json({ statusCode: 404, error: 'Not Found', message: 'Transaction not found' }, 404)
  })
  api.get('/v1/tx/:txid', (c) => {
    const tx = devnet.transaction(plainTxid(c.req.param('txid')))
    return tx === undefined
      ? c.json({ error: 'could not find transaction by ID' }, 404)
      : c.json(presentV1(tx))
  })
  api.get('/v3/principals/:principal/nonces', (c) => {
    const principal = c.req.param('principal')
    if (!isAddress(principal)) return badRequest(c, 'Invalid principal')
    const { next, lastMined, lastPending, pending, missing } = devnet.noncesOf(principal)
    return c.json({
      next_nonce: next,
      last_confirmed_nonce: lastMined,
      mempool: { last_nonce: lastPending, pending_nonces: pending, missing_nonces: missing },
    })
  })
  api.get('/v1/address/:principal/nonces', (c) => {
    const principal = c.req.param('principal')
    if (!isAddress(principal)) return badRequest(c, 'Invalid principal')
    const { next, lastMined, lastPending, pending, missing } = devnet.noncesOf(principal)
    return c.json({
      last_executed_tx_nonce: lastMined,
      last_mempool_tx_nonce: lastPending,
      possible_next_nonce: next,
      detected_missing_nonces: missing,
      detected_mempool_nonces: pending,
    })
  })
  return api
}
