import { SignedBody } from '../actions/schemas.ts'
import { answer } from '../http/answer.ts'
import { passByAddress, passBySession, signedBody } from '../http/authenticate.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { unwrap } from '../http/problem.ts'
import { createSession } from './create.ts'
import { endSession } from './find.ts'
import * as wire from './schemas.ts'

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
    answers: { 201: { description: 'The session', schema: wire.CreatedSessionSchema } },
    refusals: [
      'invalidRequest',
      'signatureMissing',
      'signatureInvalid',
      'timestampExpired',
      'messageReplayed',
      'bodyTooLarge',
    ],
    async handle(c) {
      passByAddress(c)
      const action = await signedBody(c, CREATE)
      return answer(c, unwrap(await createSession(c.get('world'), action, c.get('now'))), 201)
    },
  },
  {
    method: 'delete',
    path: '/sessions/self',
    operationId: 'endSession',
    summary: 'End the session that this is sent with',
    credentials: ['session'],
    answers: { 200: { description: 'It has ended', schema: wire.EndedSessionAnswer } },
    refusals: ['sessionInvalid'],
    async handle(c) {
      passByAddress(c)
      const session = await passBySession(c)
      await endSession(c.get('world'), session, c.get('now'))
      return answer(c, { status: 'success', message: 'The session has ended' })
    },
  },
]
