import { z } from 'zod'
import { authenticateKey } from '../../../src/http/credentials/key.ts'
import type { Endpoint } from '../../../src/http/endpoint.ts'
import { respond } from '../../../src/http/respond.ts'
import { ENCRYPTION_KEY } from '../keys.ts'

/** The cheapest call by key that the service could have: all its middleware, the gate, and nothing behind it. */
export const bench: Endpoint = {
  method: 'get',
  path: '/bench',
  operationId: 'bench',
  summary: 'What the gate costs',
  credentials: ['key'],
  responses: { 200: { description: 'Passed', schema: z.object({ status: z.literal('success') }) } },
  refusals: [],
  async handle(c) {
    await authenticateKey(c, 'execute')
    return respond(c, { status: 'success' })
  },
}

/** A service whose limits nobody reaches, and that has nobody to settle with. */
export const VARIABLES = {
  STACKS_API_URL: 'http://127.0.0.1:9',
  QUOTE_URL: 'http://127.0.0.1:9',
  ENCRYPTION_KEY,
  RATE_LIMIT_PER_MINUTE: '1000000',
  RATE_LIMIT_PER_HOUR: '10000000',
  RATE_LIMIT_PER_DAY: '100000000',
  IP_RATE_LIMIT_PER_MINUTE: '1000000',
}
