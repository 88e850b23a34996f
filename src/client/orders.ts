import { orderFormIssues } from '../orders/form.ts'
import type { NewOrder, Order, OrderStatus } from '../orders/order.ts'
import { orderHash, validateOrder } from '../orders/validate.ts'
import { isIntentUuid } from '../stacks/intent.ts'
import type { Network } from '../stacks/network.ts'
import type { CallContext, CallOptions, CallPromise, Calls } from './call.ts'
import type { ServiceClock } from './clock.ts'
import { commitOrder, type UnsignedOrder } from './committed-order.ts'
import { type LatchkeyError, latchkeyError, requireNoIssues, requireWhole } from './errors.ts'
import { type OrderUpdates, readUpdates } from './order-events.ts'
import { type PagedList, pagedList } from './paging.ts'
import type { Proof, Transport } from './transport.ts'
import { type WaitOptions, waitForOrder } from './wait.ts'
import type { Wallet } from './wallet.ts'

/**
 * An order to be placed. The client and its signer add what is absent. With `minAmountOut` the order is committed: its uuid
 * commits to `minAmountOut`, `deadline`, `executor`, `recipient` and `outputToken`, and the router enforces them against every
 * sender. Without it the service chooses the minimum, and a reader of the intent could choose another recipient.
 */
export interface OrderDraft extends Omit<NewOrder, 'owner' | 'uuid' | 'signature'> {
  /** By default the signer's address. */
  owner?: string
  /** By default a random UUID. Of a committed order, the hash of its terms: leave it out. */
  uuid?: string
  /** The least that the recipient gains, in the output token's smallest unit. It makes the order a committed one. */
  minAmountOut?: string
  /** ISO 8601 in whole seconds. By default `validTo`, or 24 hours from now by the client's own clock. */
  deadline?: string
  /** By default 16 random bytes. With the same salt and deadline, a committed order can be placed again after a lost connection. */
  salt?: string
  /** The owner's signature of the intent, 65 bytes hex. By default the signer signs it. */
  signature?: string
}

/** Options of a call that an API key or the wallet authenticates. */
export interface AuthOptions extends CallOptions {
  /** What authenticates the call: by default the client's API key, if it has one, else its signer. */
  auth?: 'apiKey' | 'signature' | undefined
}

/** Options of `orders.cancel`. */
export interface CancelOrderOptions extends AuthOptions {
  /**
   * Uses the uuid up on chain as well, so that the signed intent is worthless. It may be asked for an order that has ended
   * unsettled too. The service pays for the transaction, within its limits.
   */
  onChain?: boolean | undefined
}

/** Which orders a list contains. */
export interface OrderFilter {
  /** A Stacks address. */
  owner?: string
  status?: OrderStatus
  /** Orders a page, 1 to 100. */
  limit?: number
}

/** One page of a list. */
export interface OrderPage {
  orders: Order[]
  /** Pass it to `list` for the next page; absent on the last one. */
  nextCursor?: string
  /** On the last page: orders that ended before this moment may have left the service with an archive (ISO 8601). */
  archivedBefore?: string
}

/** An `OrderPage` as the service writes it. */
interface OrdersOfPage extends Omit<OrderPage, 'orders'> {
  data: Order[]
}

/** The result of `orders.execute`. */
export interface Executed {
  /** `pending` while no node has accepted the transaction. The service sends that transaction, and no other, until one has. */
  status: 'success' | 'pending'
  /** The id of the Stacks transaction that settles the order, hex. */
  txid: string
  order: Order
}

/**
 * Orders: placed by an owner's signature, executed and cancelled by an API key or by a signature. A call rejects with
 * `ORDER_NOT_FOUND` for an unknown uuid, and with `INVALID_ARGUMENT` for a text that is no uuid.
 */
export interface Orders {
  /**
   * Places an order. The signer signs its intent, unless `signature` is given.
   *
   * Pass `minAmountOut` wherever the service has a committed router: the chain then executes the order for its recipient, at
   * that minimum or better and until its `deadline`, or not at all. Without it, a reader of the intent, in a pending
   * transaction for example, can execute it with another recipient; then, when `recipient` is not the owner, the signer also
   * signs a `create_order` message with the hash of the whole order, unless `message` and `messageSignature` are given.
   *
   * An intent is signed for the client's `routers` only: otherwise the call rejects with `WRONG_ROUTER`. It rejects with
   * `INVALID_ARGUMENT` where no router fits: `minAmountOut` without a committed router, or none with nothing else.
   *
   * Idempotent by uuid: the same order again resolves with the stored one, another order with that uuid rejects with
   * `ORDER_CONFLICT`. The client repeats it after a 503 or a lost connection. To repeat it in another call, pass a uuid, or
   * `salt` and `deadline` of a committed order. The API key is sent if the client has one, and then needs the permission `create`;
   * `auth: 'signature'` leaves it out.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const order = await client.orders.create({
   *   inputToken: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.key-token-subnet',
   *   outputToken: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.usd-token',
   *   amountIn: '1000000',
   *   minAmountOut: '490000',
   * })
   * console.log(order.uuid, order.status, order.deadline) // .. open ..
   * ```
   */
  create(order: OrderDraft, options?: AuthOptions): CallPromise<Order>
  /**
   * Resolves with one order. Needs neither API key nor signer.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const client = createClient({ baseUrl: 'https://dex.example' })
   * const { status, amountIn } = await client.orders.get('7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162')
   * console.log(status, amountIn)
   * ```
   */
  get(uuid: string, options?: CallOptions): CallPromise<Order>
  /**
   * Lists one page of orders, newest first. An open order has its `uuid` only where the owner's API key, or the owner with
   * `auth: 'signature'`, requests it: a third party that knows the uuid could use it up on chain.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const client = createClient({ baseUrl: 'https://dex.example' })
   * const { orders, nextCursor } = await client.orders.list({ status: 'open', limit: 10 })
   * console.log(orders.length, nextCursor === undefined ? 'all of them' : 'and more')
   * ```
   */
  list(filter?: OrderFilter & { cursor?: string }, options?: AuthOptions): CallPromise<OrderPage>
  /**
   * Iterates over all orders, newest first. Requests a page when the one before was consumed.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const client = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
   * for await (const order of client.orders.listAll({ status: 'open' })) console.log(order.createdAt, order.amountIn)
   * ```
   */
  listAll(filter?: OrderFilter, options?: AuthOptions): PagedList<Order>
  /**
   * Executes an order: it becomes one Stacks transaction, or none. The client repeats the call after a 503 or a lost connection.
   * Where an attempt had executed the order, it resolves with that transaction.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
   * const { txid } = await bot.orders.execute('7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162')
   * console.log(txid, bot.rateLimit?.remaining)
   * ```
   */
  execute(uuid: string, options?: AuthOptions): CallPromise<Executed>
  /**
   * Cancels an open order: the service will not execute it. The signed intent stays valid on chain, that of a committed order
   * until its `deadline` and on its terms, unless its uuid is used up there, which `onChain` asks for: `burn` of the order
   * says `requested`, later `mined`. Repeated after a 503 or a lost connection, like `execute`.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
   * const { status, cancelledAt } = await bot.orders.cancel('7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162')
   * console.log(status, cancelledAt) // cancelled 2026-11-21T12:00:00.000Z
   * const { burn } = await bot.orders.cancel('7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162', { onChain: true })
   * console.log(burn) // requested
   * ```
   */
  cancel(uuid: string, options?: CancelOrderOptions): CallPromise<Order>
  /**
   * Resolves with an order once it is confirmed, or has reached `until`. Needs neither API key nor signer. Follows the
   * order's event stream; without one it requests the order every 0.5 s at first and every 5 s later. It outlasts outages:
   * pass a `signal` for an end.
   *
   * Rejects with `ORDER_NOT_SETTLED` when the order failed, was cancelled, expired, or is open again: `details.status`.
   * A reorganisation of the chain can still undo a confirmed order: the service's CONFIRMATIONS set how deep its block must
   * be.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
   * const { order } = await bot.orders.execute('7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162')
   * const settled = await bot.orders.waitFor(order.uuid ?? '', {
   *   signal: AbortSignal.timeout(600_000),
   *   onUpdate: ({ status }) => console.log(status),
   * })
   * console.log(settled.blockHeight, settled.amountOut)
   * ```
   */
  waitFor(uuid: string, options?: WaitOptions): CallPromise<Order>
  /**
   * Yields the changes of an order, from its creation on or from after `lastEventId`, and ends once the order has ended. Needs
   * neither API key nor signer. It follows the order's event stream, over as many connections as it takes, and resumes after
   * the last change that it yielded. Without a stream, as on Workers, it requests the order now and then: a change then has no
   * `id`, the time at which it was seen, and those between two requests are missing. It outlasts outages: pass a `signal`
   * for an end. Leaving the loop closes the connection.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
   * await bot.orders.execute('7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162')
   * for await (const { status, at, txid } of bot.orders.events('7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162'))
   *   console.log(at, status, txid ?? '-') // until it is confirmed, has failed, was cancelled or expired
   * ```
   */
  events(uuid: string, options?: CallOptions & { lastEventId?: string }): OrderUpdates
}

/** What the orders of a client need. */
interface Context {
  transport: Transport
  wallet: Wallet
  hasApiKey: boolean
  clock: ServiceClock
  calls: Calls
}

/** Creates the `orders` of a client. */
export function createOrders({ transport, wallet, hasApiKey, clock, calls }: Context): Orders {
  async function create(
    draft: OrderDraft,
    { auth }: AuthOptions,
    context: CallContext,
  ): Promise<Order> {
    const order = await complete(draft, context.signal)
    const { data } = await transport.send<{ data: Order }>({
      method: 'POST',
      path: '/orders/new',
      apiKey: hasApiKey && auth !== 'signature',
      body: order,
      secrets: [order.signature, order.messageSignature ?? ''],
      ...proofOfRecipient(order),
      repeatable: true,
      context,
    })
    return data
  }

  async function complete(draft: OrderDraft, signal?: AbortSignal): Promise<NewOrder> {
    const { owner = await wallet.address(signal), signature } = draft
    if (signature !== undefined)
      return { ...draft, owner, uuid: draft.uuid ?? crypto.randomUUID(), signature }
    const signerAddress = await wallet.address(signal)
    if (owner !== signerAddress)
      throw latchkeyError(
        'INVALID_ARGUMENT',
        `The order's owner is ${owner}; ${signerAddress} cannot sign for it`,
      )
    const { order, router, network } = await routed({ ...draft, owner })
    const { inputToken, amountIn } = order
    const intent = { inputToken, amountIn, uuid: order.uuid, router }
    wallet.requireIntent(intent, network)
    requireNoIssues(orderFormIssues({ ...order }))
    const unsigned = { ...order, signature: '' }
    // Only the service knows whether it enforces a price.
    const now = clock.now()
    requireNoIssues(validateOrder(unsigned, network, { enforcesTargetPrice: true, now }))
    return { ...order, signature: await wallet.signIntent(intent, signal) }
  }

  async function routed(
    draft: OrderDraft & { owner: string },
  ): Promise<{ order: UnsignedOrder; router: string; network: Network }> {
    const { minAmountOut, routerContract, uuid = crypto.randomUUID() } = draft
    const commits = minAmountOut !== undefined
    if (!commits) requireNoTerms(draft)
    const { router, network, isDefault } = await wallet.route({ commits, routerContract })
    const terms = isDefault && !commits ? draft : { ...draft, routerContract: router }
    const order = commits
      ? commitOrder({ ...terms, minAmountOut }, network, clock.own.now())
      : { ...terms, uuid }
    return { order, router, network }
  }

  // An intent that does not commit binds no recipient: without this signature, a thief of it could redirect the output.
  function proofOfRecipient(order: NewOrder): { proof?: Proof } {
    const { owner, recipient = owner, message, salt } = order
    if (recipient === owner || message !== undefined || !wallet.hasSigner) return {}
    if (salt !== undefined) return {}
    const proof = wallet.prove({ action: 'create_order', orderHash: orderHash(order) })
    return {
      proof: {
        ...proof,
        write: ({ message, signature }) => ({ message, messageSignature: signature }),
      },
    }
  }

  async function readPage(
    { owner, status, limit }: OrderFilter,
    cursor: string | undefined,
    { auth }: AuthOptions,
    proof: Proof,
    context: CallContext,
  ): Promise<OrdersOfPage> {
    requireWhole('limit', limit, 1, 100)
    return transport.send<OrdersOfPage>({
      method: 'GET',
      path: '/orders',
      query: { owner, status, limit, cursor },
      apiKey: hasApiKey && auth !== 'signature',
      ...(auth === 'signature' && { proof }),
      repeatable: true,
      context,
    })
  }

  /** Authenticates with the API key if the client has one, else with a signed message. */
  function authenticate(
    action: 'execute_order' | 'cancel_order',
    uuid: string,
    { auth, onChain }: CancelOrderOptions,
  ) {
    const asked = onChain === true && { onChain }
    if (auth === 'apiKey' && !hasApiKey)
      throw latchkeyError('INVALID_ARGUMENT', 'This client has no API key to authenticate with')
    if (hasApiKey && auth !== 'signature') return { apiKey: true, ...(asked && { body: asked }) }
    if (!hasApiKey && !wallet.hasSigner)
      throw latchkeyError('SIGNER_MISSING', 'This needs an API key, or the signature of the wallet')
    return { proof: wallet.prove({ action, uuid, ...asked }) }
  }

  async function get(uuid: string, context: CallContext): Promise<Order> {
    const { data } = await transport.send<{ data: Order }>({
      method: 'GET',
      path: uuidPath(uuid),
      repeatable: true,
      context,
    })
    return data
  }

  const prove = () => wallet.prove({ action: 'list_orders' })
  const source = (uuid: string, context: CallContext) => {
    return { transport, clock, context, get: () => get(uuid, context) }
  }

  return {
    create: (draft, options = {}) =>
      calls.start(options, (context) => create(draft, options, context)),
    list: ({ cursor, ...filter } = {}, options = {}) =>
      calls.start(options, async (context) => {
        const page = await readPage(filter, cursor, options, prove(), context)
        const { data: orders, ...rest } = page
        return { orders, ...rest }
      }),
    listAll(filter = {}, options = {}) {
      const proof = prove()
      return pagedList<Order>(calls, options, async (cursor, context) => {
        const { data, nextCursor } = await readPage(filter, cursor, options, proof, context)
        return { items: data, nextCursor }
      })
    },
    get: (uuid, options) => calls.start(options, (context) => get(uuid, context)),
    waitFor: (uuid, options = {}) =>
      calls.start(options, (context) => waitForOrder(source(uuid, context), uuid, options)),
    events: (uuid, { lastEventId, ...options } = {}) =>
      calls.iterate(options, (context) => {
        uuidPath(uuid)
        return readUpdates(source(uuid, context), uuid, lastEventId)
      }),
    execute: (uuid, options = {}) =>
      calls.start(options, async (context) => {
        const { auth } = options
        const { data, ...settled } = await transport.send<
          Omit<Executed, 'order'> & { data: Order }
        >({
          method: 'POST',
          path: `${uuidPath(uuid)}/execute`,
          ...authenticate('execute_order', uuid, { auth }),
          repeatable: true,
          tookEffect: async (refusal) => {
            const order = await orderAfter(refusal, uuid, context)
            const { status = 'open', txid } = order ?? {}
            if (order === undefined || txid === undefined || !WAS_EXECUTED.includes(status))
              return undefined
            return { status: status === 'executing' ? 'pending' : 'success', txid, data: order }
          },
          context,
        })
        return { ...settled, order: data }
      }),
    cancel: (uuid, options = {}) =>
      calls.start(options, async (context) => {
        const { auth, onChain } = options
        const { data } = await transport.send<{ data: Order }>({
          method: 'PATCH',
          path: `${uuidPath(uuid)}/cancel`,
          ...authenticate('cancel_order', uuid, { auth, onChain }),
          repeatable: true,
          tookEffect: async (refusal) => {
            const order = await orderAfter(refusal, uuid, context)
            return order?.status === 'cancelled' ? { data: order } : undefined
          },
          context,
        })
        return data
      }),
  }

  /** The order, after a refusal that an attempt which took effect would explain. */
  async function orderAfter({ code }: LatchkeyError, uuid: string, context: CallContext) {
    return code === 'ORDER_NOT_OPEN' || code === 'MESSAGE_REPLAYED' ? get(uuid, context) : undefined
  }
}

/** Statuses of an order that is, or was, one transaction. */
const WAS_EXECUTED: readonly OrderStatus[] = ['executing', 'broadcasted', 'confirmed']

/** Throws on terms that only a committed order has. */
function requireNoTerms(draft: OrderDraft): void {
  const given = (['deadline', 'executor', 'salt'] as const).find(
    (name) => draft[name] !== undefined,
  )
  if (given === undefined) return
  throw latchkeyError(
    'INVALID_ARGUMENT',
    `${given} is a term of a committed order, which needs minAmountOut, the least that the recipient is to gain`,
    { details: { member: given } },
  )
}

// A text that is no uuid may be an API key, which must not become part of a URL.
function uuidPath(uuid: string): string {
  if (isIntentUuid(uuid)) return `/orders/${uuid}`
  throw latchkeyError('INVALID_ARGUMENT', 'A uuid is 1-36 characters of A-Z a-z 0-9 _ -')
}
