import { SignedBody, SignedHeaders } from '../actions/schemas.ts'
import { recordSuccess } from '../gate/counters.ts'
import { readBody, readQuery } from '../http/body.ts'
import { type AppContext, headerOf, stateOf, worldOfRequest } from '../http/context.ts'
import { limitByAddress } from '../http/credentials/address.ts'
import { authenticateKey, presentedHash, presentsKey } from '../http/credentials/key.ts'
import { authenticateSession, presentsSession } from '../http/credentials/session.ts'
import {
  authenticateKeyOrWallet,
  presentsSignature,
  readSignedHeaders,
  verifyPresented,
} from '../http/credentials/wallet.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { eventStream } from '../http/event-stream.ts'
import { limitKeys } from '../http/ip-limits.ts'
import { readLagging } from '../http/lagging.ts'
import { unwrap } from '../http/problem.ts'
import { respond, respondCreated, respondWithStream, respondWithText } from '../http/respond.ts'
import { cancelOrder } from '../orders/cancel.ts'
import { createOrder } from '../orders/create.ts'
import { getOrder, listOrders, presentEvent, presentOrder, viewerOfKey } from '../orders/find.ts'
import type { NewOrder, OrderEvent } from '../orders/order.ts'
import * as wire from '../orders/schemas.ts'
import { canonicalOrder, orderHash } from '../orders/validate.ts'
import { watchOrder } from '../orders/watch.ts'
import { refuse } from '../result.ts'
import { executeOrder } from '../settlement/execute.ts'
import { isIntentUuid } from '../stacks/intent.ts'

const execute = (uuid: string) => ({
  schema: wire.ExecuteOrder,
  example: { action: 'execute_order', uuid },
})
const cancel = (uuid: string) => ({
  schema: wire.CancelOrder,
  example: { action: 'cancel_order', uuid },
})
const LIST = { schema: wire.ListOrders, example: { action: 'list_orders' } }

const signatureRefusals = ['invalidRequest', 'signatureInvalid', 'timestampExpired'] as const
/** What a key is refused that reads; any of its permissions will do. */
const readerRefusals = ['apiKeyInvalid', 'apiKeyInactive', 'ipNotAllowed'] as const
const keyRefusals = [
  ...readerRefusals,
  'permissionDenied',
  'keyOfAnotherWallet',
  'limitExceeded',
] as const
const actRefusals = [
  'credentialsMissing',
  ...signatureRefusals,
  ...keyRefusals,
  'orderOfAnotherWallet',
  'orderNotFound',
  'orderArchived',
  'orderNotOpen',
  'messageReplayed',
  'bodyTooLarge',
] as const

export const orderEndpoints: readonly Endpoint[] = [
  {
    method: 'post',
    path: '/orders/new',
    operationId: 'createOrder',
    summary: 'Create an order',
    description:
      "The owner's SIP-018 signature is always needed; a key with `create` may come with it. Sending the same order again answers 200 and the stored order.",
    credentials: ['none', 'key'],
    body: { schema: wire.NewOrderSchema },
    messages: [wire.CreateOrder],
    responses: {
      201: { description: 'The order', schema: wire.OrderResponse },
      200: { description: 'The order, which was there already', schema: wire.OrderResponse },
    },
    refusals: [
      ...signatureRefusals,
      ...keyRefusals,
      'recipientNotGranted',
      'messageReplayed',
      'walletSuspended',
      'orderConflict',
      'bodyTooLarge',
    ],
    async handle(c) {
      const key = presentsKey(c) ? await authenticateKey(c, 'create') : limitByAddress(c)
      const order = unwrap(await readBody(c, wire.NewOrderSchema)) as NewOrder
      const credentials = { key, action: recipientAction(c, order) }
      const { row, created } = unwrap(
        await createOrder(worldOfRequest(c), order, credentials, stateOf(c).now),
      )
      const body = { status: 'success', data: presentOrder(row, stateOf(c).now) }
      return created ? respondCreated(c, body, `/orders/${order.uuid}`) : respond(c, body)
    },
  },
  {
    method: 'post',
    path: '/orders/{uuid}/execute',
    operationId: 'executeOrder',
    summary: 'Execute an order',
    credentials: ['key', 'wallet'],
    params: wire.OrderParams,
    body: { schema: SignedBody, optional: true },
    messages: [wire.ExecuteOrder],
    responses: {
      200: { description: 'A Stacks node has the transaction', schema: wire.ExecutedResponse },
      202: {
        description: 'Signed and stored; whether a node has it is not known yet',
        schema: wire.PendingResponse,
      },
    },
    refusals: [
      ...actRefusals,
      'orderNotYetValid',
      'orderTampered',
      'walletSuspended',
      'settlementLimit',
      'executionFailed',
    ],
    async handle(c) {
      const caller = await authenticateKeyOrWallet(c, 'execute', execute(uuidOf(c)), uuidOf(c))
      if (caller.by === 'wallet') requireSameOrder(c, caller.action.members.uuid)
      const { row, txid, accepted } = unwrap(
        await executeOrder(worldOfRequest(c), uuidOf(c), caller, stateOf(c).now),
      )
      const data = presentOrder(row, stateOf(c).now)
      return accepted
        ? respond(c, { status: 'success', txid, data })
        : respond(c, { status: 'pending', txid, data }, 202)
    },
  },
  {
    method: 'patch',
    path: '/orders/{uuid}/cancel',
    operationId: 'cancelOrder',
    summary: 'Cancel an open order',
    description:
      'The service will never execute it. The signed intent itself stays valid on chain until its uuid is used up there: onChain requests that, of an order that has ended unsettled too. A key sends it as the body, a wallet signs it.',
    credentials: ['key', 'wallet'],
    params: wire.OrderParams,
    body: { schema: SignedBody, byKey: wire.CancelByKey, optional: true },
    messages: [wire.CancelOrder],
    responses: { 200: { description: 'The cancelled order', schema: wire.OrderResponse } },
    refusals: [...actRefusals, 'walletSuspended'],
    async handle(c) {
      const caller = await authenticateKeyOrWallet(c, 'cancel', cancel(uuidOf(c)))
      if (caller.by === 'wallet') requireSameOrder(c, caller.action.members.uuid)
      const onChain =
        caller.by === 'wallet' ? caller.action.members.onChain === true : await readOnChain(c)
      const row = unwrap(
        await cancelOrder(worldOfRequest(c), uuidOf(c), caller, { onChain }, stateOf(c).now),
      )
      return respond(c, { status: 'success', data: presentOrder(row, stateOf(c).now) })
    },
  },
  {
    method: 'get',
    path: '/orders/{uuid}',
    operationId: 'getOrder',
    summary: 'Show an order',
    description: 'Knowing the uuid is enough to read the order.',
    credentials: ['none'],
    params: wire.OrderParams,
    responses: { 200: { description: 'The order', schema: wire.OrderResponse } },
    refusals: ['orderNotFound', 'orderArchived'],
    async handle(c) {
      limitByAddress(c)
      const row = unwrap(await getOrder(stateOf(c).world, uuidOf(c)))
      return respond(c, { status: 'success', data: presentOrder(row, stateOf(c).now) })
    },
  },
  {
    method: 'get',
    path: '/orders/{uuid}/events',
    operationId: 'watchOrder',
    summary: "Follow an order's changes",
    description:
      'Server-sent events: every past and future change, a comment every 15 seconds without one, and the end once the order has ended. Last-Event-ID resumes after a known event. Knowing the uuid is enough; with an API key the stream is counted by the key and ends when the key does. Workers return 501: poll GET /orders/{uuid} there.',
    credentials: ['none', 'key'],
    params: wire.OrderParams,
    headers: wire.EventHeaders,
    responses: {
      200: {
        description: 'Events; the data of each is an OrderChange',
        schema: wire.OrderChangeSchema,
        contentType: 'text/event-stream',
      },
      204: { description: 'The order has ended, and the client has its last event' },
    },
    refusals: [
      'invalidRequest',
      ...readerRefusals,
      'orderNotFound',
      'orderArchived',
      'tooManyStreams',
      'eventsUnsupported',
    ],
    async handle(c) {
      const key = presentsKey(c) ? await authenticateKey(c, undefined) : limitByAddress(c)
      const [world, uuid] = [stateOf(c).world, uuidOf(c)]
      const { past, follow } = unwrap(
        await watchOrder(world, {
          uuid,
          after: lastEventId(c),
          caller: {
            hasKey: key !== undefined,
            names:
              key === undefined ? limitKeys(stateOf(c).clientIp) : [key.keyId, key.walletAddress],
          },
          key: key && { ...key, hash: presentedHash(c) },
        }),
      )
      if (follow === undefined && past.length === 0) return respondWithText(c, null, 204)
      const present = (event: OrderEvent) => ({ id: event.id, data: presentEvent(uuid, event) })
      const body = eventStream(
        past.map(present),
        follow && ((to) => follow({ ...to, next: (event) => to.next(present(event)) })),
      )
      if (c.req.method !== 'HEAD') return respondWithStream(c, body)
      await body.cancel() // A HEAD has no reader: the stream's place is released.
      return respondWithStream(c, null)
    },
  },
  {
    method: 'get',
    path: '/orders',
    operationId: 'listOrders',
    summary: 'List orders',
    description:
      'Newest first. Only the owner, proven by a key, a session or a signed list_orders, sees the uuids of orders that could still be burnt on chain. A key with ownOrdersOnly, or without a permission of this service, sees those of its own orders only.',
    credentials: ['none', 'key', 'wallet', 'session'],
    query: wire.OrderQuery,
    headers: SignedHeaders.partial(),
    messages: [wire.ListOrders],
    responses: { 200: { description: 'A page of orders', schema: wire.OrderListResponse } },
    refusals: ['signatureMissing', ...signatureRefusals, ...readerRefusals, 'sessionInvalid'],
    mayLag: true,
    async handle(c) {
      const viewer = await viewerOf(c)
      const query = unwrap(readQuery(c, wire.OrderQuery))
      const { world, now } = stateOf(c)
      // A public list: an authenticated reader may decide by what it reads.
      if (viewer === undefined) {
        const { value, headers } = await readLagging(c, (db) => listOrders(db, query, viewer, now))
        return respond(c, { status: 'success', ...value }, 200, headers)
      }
      const page = await listOrders(world.db, query, viewer, now)
      if (viewer.keyId !== undefined)
        await recordSuccess(world.db, { ...viewer, keyId: viewer.keyId })
      return respond(c, { status: 'success', ...page })
    },
  },
]

/** The uuid of the path; empty when it cannot be one, as a text with NUL. */
function uuidOf(c: AppContext): string {
  const uuid = c.req.param('uuid')
  return isIntentUuid(uuid) ? uuid : ''
}

function lastEventId(c: AppContext): number {
  const given = wire.EventHeaders.safeParse({ 'Last-Event-ID': headerOf(c, 'last-event-id') })
  if (!given.success)
    return unwrap(refuse('invalidRequest', { problem: 'Last-Event-ID must be the id of an event' }))
  return Number(given.data['Last-Event-ID'] ?? 0)
}

async function readOnChain(c: AppContext): Promise<boolean> {
  const body = await readBody(c, wire.CancelBody)
  if (!body.ok && (body.reason === 'bodyTooLarge' || body.reason === 'unsupportedMedia'))
    return unwrap(body)
  const onChain = body.ok ? (body.value.onChain ?? false) : false
  if (typeof onChain === 'boolean') return onChain
  const issues = [{ path: 'onChain', message: 'must be true or false' }]
  return unwrap(refuse('invalidRequest', { problem: 'body does not fit the request', issues }))
}

/** A signature for one order must not act on another. */
function requireSameOrder(c: AppContext, signedUuid: string): void {
  if (signedUuid !== uuidOf(c))
    unwrap(refuse('invalidRequest', { problem: 'the signed uuid is not the one in the path' }))
}

/** The owner's message that authorizes a recipient: a signed `create_order` for exactly this order. */
function recipientAction(c: AppContext, order: NewOrder) {
  const { message, messageSignature, owner } = order
  if (message === undefined || messageSignature === undefined) return undefined
  const hash = orderHash(order)
  const action = verifyPresented(
    c,
    { message, signature: messageSignature, walletAddress: owner },
    { schema: wire.CreateOrder, example: { action: 'create_order', orderHash: hash } },
  )
  if (action.members.orderHash !== hash)
    unwrap(
      refuse('invalidRequest', {
        problem: 'orderHash is not of this order',
        canonicalOrder: canonicalOrder(order),
        orderHash: hash,
      }),
    )
  return action
}

async function viewerOf(c: AppContext) {
  if (presentsSession(c)) {
    limitByAddress(c)
    return { walletAddress: (await authenticateSession(c)).walletAddress, keyId: undefined }
  }
  if (presentsKey(c)) {
    const key = await authenticateKey(c, undefined)
    return { ...viewerOfKey(key), keyId: key.keyId }
  }
  limitByAddress(c)
  if (!presentsSignature(c)) return undefined
  return { walletAddress: readSignedHeaders(c, LIST).walletAddress, keyId: undefined }
}
