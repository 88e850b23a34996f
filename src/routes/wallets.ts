import { SignedHeaders } from '../actions/schemas.ts'
import { recordSuccess } from '../gate/counters.ts'
import { readQuery } from '../http/body.ts'
import { type AppContext, headerOf, stateOf } from '../http/context.ts'
import { limitByAddress } from '../http/credentials/address.ts'
import { authenticateKey, presentedHash, presentsKey } from '../http/credentials/key.ts'
import { authenticateSession, presentsSession } from '../http/credentials/session.ts'
import { authenticateReader } from '../http/credentials/wallet.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { eventStream } from '../http/event-stream.ts'
import { unwrap } from '../http/problem.ts'
import { respond, respondWithStream, respondWithText } from '../http/respond.ts'
import { type OpenSocket, socketOf } from '../http/socket.ts'
import { type OrderViewer, viewerOfKey } from '../orders/find.ts'
import { refuse } from '../result.ts'
import { STREAM_ENDS, type StreamEnd } from '../wallets/event.ts'
import { findAccount } from '../wallets/find-account.ts'
import type { FeedCredential } from '../wallets/news.ts'
import * as wire from '../wallets/schemas.ts'
import {
  type FollowWallet,
  keyCredential,
  type WatchedWallet,
  watchWallet,
} from '../wallets/watch.ts'

const GET_ACCOUNT = { schema: wire.GetAccount, example: { action: 'get_account' } }

/** What a key is refused that reads with the scope `read`. */
const readerRefusals = [
  'apiKeyInvalid',
  'apiKeyInactive',
  'ipNotAllowed',
  'permissionDenied',
] as const

const streamRefusals = [
  'invalidRequest',
  'sessionInvalid',
  ...readerRefusals,
  'tooManyStreams',
  'eventsUnsupported',
] as const

export const walletEndpoints: readonly Endpoint[] = [
  {
    method: 'get',
    path: '/account',
    operationId: 'getAccount',
    summary:
      'What a wallet has: balances, nonces, open orders, and what its keys reserved and spent',
    description:
      'Values of the chain are up to maxAgeMs old and say how old; one that the chain did not tell is unknown, and never 0. A key with ownOrdersOnly sees the uuids of its own orders and the amounts of itself.',
    credentials: ['key', 'wallet', 'session'],
    headers: SignedHeaders.partial(),
    messages: [wire.GetAccount],
    responses: { 200: { description: 'The account', schema: wire.AccountSchema } },
    refusals: [
      'invalidRequest',
      'signatureMissing',
      'signatureInvalid',
      'timestampExpired',
      'sessionInvalid',
      ...readerRefusals,
    ],
    async handle(c) {
      const viewer = await readAccountViewer(c)
      return respond(c, await findAccount(stateOf(c).world, viewer, stateOf(c).now))
    },
  },
  {
    method: 'get',
    path: '/events',
    operationId: 'watchWallet',
    summary: 'Follow a wallet: every change of its orders and of its keys',
    description:
      'Server-sent events, each once and none left out. The first one is of type start: what is read after it has all that came before. Last-Event-ID, or after, goes on behind an event that is at most a day old. A comment every 15 seconds, and an event named end with the reason when the service ends the stream: stopping, aged, keyChanged, unread or credentialEnded. Workers return 501: read what is shown again every few seconds there.',
    credentials: ['key', 'session'],
    query: wire.StreamQuery,
    headers: wire.StreamHeaders,
    responses: {
      200: {
        description: 'Events; the data of each is a WalletEvent',
        schema: wire.WalletEventSchema,
        contentType: 'text/event-stream',
      },
    },
    refusals: [...streamRefusals],
    async handle(c) {
      const { follow, release } = await openWatch(c)
      if (c.req.method === 'HEAD') {
        release() // A HEAD has no reader.
        return respondWithStream(c, null)
      }
      return respondWithStream(c, eventStream([], follow, 'unread'))
    },
  },
  {
    method: 'get',
    path: '/stream',
    operationId: 'openWalletStream',
    summary: 'The same events by WebSocket',
    description:
      'Each message is a JSON object with id and data, as of GET /events; {"heartbeat": milliseconds since 1970} every 15 seconds, with a ping. Pages, which cannot set headers, offer the subprotocols latchkey.v1 and latchkey.bearer.<secret>; the first one is chosen. The service takes no messages. Close codes: 1001 stopping, 4000 aged, 4001 keyChanged, 4002 unread, 4401 credentialEnded. Workers return 501.',
    credentials: ['key', 'session'],
    query: wire.StreamQuery,
    headers: wire.StreamHeaders,
    responses: { 101: { description: 'The connection is a WebSocket' } },
    refusals: [...streamRefusals],
    async handle(c) {
      // Browsers open WebSockets to any site: CORS does not hold for them, and is applied here.
      if (headerOf(c, 'origin') !== undefined && stateOf(c).origin === undefined)
        return unwrap(
          refuse('invalidRequest', { problem: 'pages of this origin may not open the stream' }),
        )
      const { follow, release } = await openWatch(c)
      const accept = socketOf(c)
      if (accept === undefined) {
        release()
        return unwrap(
          refuse('invalidRequest', { problem: 'this is a WebSocket: send Upgrade: websocket' }),
        )
      }
      const { now } = stateOf(c).world
      accept({ open: (socket) => follow(writerOf(socket, now)), abandon: release })
      return respondWithText(c, null, 200)
    },
  },
]

/** Bytes that a client of a WebSocket may leave unread; it can connect again with the last id that it has. */
const MAX_UNREAD_BYTES = 262_144

/** Writes events to a WebSocket. */
function writerOf(socket: OpenSocket, now: () => number): Parameters<FollowWallet>[0] {
  const close = (why: StreamEnd) => socket.close(STREAM_ENDS[why], why)
  const send = (message: object) => {
    if (socket.send(JSON.stringify(message)) > MAX_UNREAD_BYTES) close('unread')
  }
  return {
    next: send,
    heartbeat() {
      send({ heartbeat: now() })
      socket.ping()
    },
    close,
  }
}

/** Authenticates a reader of a wallet's events, and takes a place for it. */
async function openWatch(c: AppContext): Promise<WatchedWallet> {
  const reader = await authenticateWatcher(c)
  const query = unwrap(readQuery(c, wire.StreamQuery))
  const given = wire.StreamHeaders.safeParse({ 'Last-Event-ID': headerOf(c, 'last-event-id') })
  if (!given.success)
    return unwrap(refuse('invalidRequest', { problem: 'Last-Event-ID must be the id of an event' }))
  const after = given.data['Last-Event-ID'] ?? query.after
  return unwrap(await watchWallet(stateOf(c).world, { ...reader, after }, stateOf(c).now))
}

async function authenticateWatcher(
  c: AppContext,
): Promise<{ walletAddress: string; credential: FeedCredential }> {
  if (presentsSession(c) || !presentsKey(c)) {
    limitByAddress(c)
    const { id: sessionId, walletAddress } = await authenticateSession(c)
    return { walletAddress, credential: { kind: 'session', sessionId } }
  }
  const key = await authenticateKey(c, 'read')
  await recordSuccess(stateOf(c).world.db, key)
  const { createdBy } = viewerOfKey(key)
  const { keyId, walletAddress } = key
  const credential = keyCredential({ keyId, walletAddress, createdBy }, presentedHash(c))
  return { walletAddress, credential }
}

async function readAccountViewer(c: AppContext): Promise<OrderViewer> {
  if (presentsSession(c) || !presentsKey(c))
    return { walletAddress: await authenticateReader(c, GET_ACCOUNT) }
  const key = await authenticateKey(c, 'read')
  await recordSuccess(stateOf(c).world.db, key)
  return viewerOfKey(key)
}
