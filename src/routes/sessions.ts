import { SignedBody } from '../actions/schemas.ts'
import { stateOf, worldOfRequest } from '../http/context.ts'
import { limitByAddress } from '../http/credentials/address.ts'
import { authenticateSession } from '../http/credentials/session.ts'
import { readSignedBody } from '../http/credentials/wallet.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { unwrap } from '../http/problem.ts'
import { respond, respondCreated } from '../http/respond.ts'
import { createSession } from '../sessions/create.ts'
import { endSession } from '../sessions/find.ts'
import * as wire from '../sessions/schemas.ts'

const CREATE = {
  schema: wire.CreateSession,
  example: { action: 'create_session', ttlSeconds: 3_600 },
}

export const sessionEndpoints: readonly Endpoint[] = [
  {
    method: 'post',
    path: '/sessions',
    operationId: 'createSession',
    summary: 'Open a read-only session for a page',
    description:
      "A bearer that reads what is the wallet's (keys, usage, audit, orders) for at most an hour, so that a page need not ask the wallet at each refresh. It changes nothing.",
    credentials: ['wallet'],
    body: { schema: SignedBody },
    messages: [wire.CreateSession],
    responses: { 201: { description: 'The session', schema: wire.CreatedSessionSchema } },
    refusals: [
      'invalidRequest',
      'signatureMissing',
      'signatureInvalid',
      'timestampExpired',
      'messageReplayed',
      'walletSuspended',
      'auditHeadUnknown',
      'sessionLimitReached',
      'bodyTooLarge',
    ],
    async handle(c) {
      limitByAddress(c)
      const action = await readSignedBody(c, CREATE)
      const created = unwrap(await createSession(worldOfRequest(c), action, stateOf(c).now))
      return respondCreated(c, created, '/sessions/self')
    },
  },
  {
    method: 'delete',
    path: '/sessions/self',
    operationId: 'endSession',
    summary: 'End the session that this is sent with',
    credentials: ['session'],
    responses: { 200: { description: 'It has ended', schema: wire.EndedSessionResponse } },
    refusals: ['sessionInvalid'],
    async handle(c) {
      limitByAddress(c)
      const session = await authenticateSession(c)
      await endSession(stateOf(c).world, session, stateOf(c).now)
      return respond(c, { status: 'success', message: 'The session has ended' })
    },
  },
]
