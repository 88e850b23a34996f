import * as z from 'zod'
import { SignedBody } from '../actions/schemas.ts'
import { worldOfRequest } from '../http/context.ts'
import { limitByAddress } from '../http/credentials/address.ts'
import { authenticateSession } from '../http/credentials/session.ts'
import { readSignedBody } from '../http/credentials/wallet.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { eventStream } from '../http/event-stream.ts'
import { unwrap } from '../http/problem.ts'
import { respond, respondCreated, respondWithStream } from '../http/respond.ts'
import { refuse } from '../result.ts'
import { createSession } from '../sessions/create.ts'
import { endSession } from '../sessions/find.ts'
import * as wire from '../sessions/schemas.ts'
import { versionId } from '../wallets/feed.ts'

const CREATE = {
  schema: wire.CreateSession,
  example: { action: 'create_session', ttlSeconds: 3_600 },
}

/** The id of the last event that a client has, as the service wrote it. */
const WatchHeaders = z.object({
  'Last-Event-ID': z
    .string()
    .max(64)
    .regex(/^[0-9a-f-]*$/)
    .optional(),
})
const VersionSchema = z
  .object({
    audit: z.int().meta({
      description: "The number of the newest event of the wallet's audit; 0 without any.",
    }),
    orders: z.string().meta({ description: 'A hash of the state of the newest 100 orders.' }),
  })
  .meta({ id: 'WalletVersion' })

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
      const created = unwrap(await createSession(worldOfRequest(c), action, c.get('now')))
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
      await endSession(c.get('world'), session, c.get('now'))
      return respond(c, { status: 'success', message: 'The session has ended' })
    },
  },
  {
    method: 'get',
    path: '/events',
    operationId: 'watchWallet',
    summary: "Follow what changes of a session's wallet: its keys and its orders",
    description:
      'Server-sent events: the version of the wallet at first, and each later one; a comment every 15 seconds without one, and the end once the session has ended. An event says that something changed, and not what: read it again. Last-Event-ID leaves out the version that a client has. Workers return 501: read what is shown again every few seconds there.',
    credentials: ['session'],
    headers: WatchHeaders,
    responses: {
      200: {
        description: 'Events; the data of each is a WalletVersion',
        schema: VersionSchema,
        contentType: 'text/event-stream',
      },
    },
    refusals: [
      'invalidRequest',
      'sessionInvalid',
      'tooManyStreams',
      'eventsUnsupported',
      'unavailable',
    ],
    async handle(c) {
      limitByAddress(c)
      const { id: sessionId, walletAddress } = await authenticateSession(c)
      const given = WatchHeaders.safeParse({ 'Last-Event-ID': c.req.header('last-event-id') })
      if (!given.success)
        return unwrap(
          refuse('invalidRequest', { problem: 'Last-Event-ID must be the id of an event' }),
        )
      const { feed, walletFeed } = c.get('world')
      if (feed === undefined || walletFeed === undefined) return unwrap(refuse('eventsUnsupported'))
      const releasePlace = unwrap(feed.admit({ hasKey: true, names: [sessionId, walletAddress] }))
      const body = eventStream([], (to) => {
        const unsubscribe = walletFeed.subscribe({
          ...{ sessionId, walletAddress, known: given.data['Last-Event-ID'] },
          ...{ heartbeat: to.heartbeat, close: to.close },
          next: (version) => to.next({ id: versionId(version), data: version }),
        })
        return () => {
          unsubscribe()
          releasePlace()
        }
      })
      if (c.req.method !== 'HEAD') return respondWithStream(c, body)
      await body.cancel() // A HEAD has no reader: the stream's place is released.
      return respondWithStream(c, null)
    },
  },
]
