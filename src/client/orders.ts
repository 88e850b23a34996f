import type { NewOrder, Order, OrderStatus } from '../orders/order.ts'
import { orderHash } from '../orders/validate.ts'
import { isIntentUuid } from '../stacks/intent.ts'
import type { ServiceClock } from './clock.ts'
import { LatchkeyError } from './errors.ts'
import type { CallOptions } from './keys.ts'
import type { Proof, Transport } from './transport.ts'
import { type WaitOptions, waitForOrder } from './wait.ts'
import type { Wallet } from './wallet.ts'

/** An order to be placed. What is absent, the client and its signer add. */
export interface OrderDraft extends Omit<NewOrder, 'owner' | 'uuid' | 'signature'> {
  /** By default the signer's address. */
  owner?: string
  /** By default a random UUID. */
  uuid?: string
  /** By default made by the signer, who is then asked to sign the intent. */
  signature?: string
}

export interface AuthOptions extends CallOptions {
  /** Who vouches for the call; by default the client's API key, when it has one, else its signer. */
  auth?: 'apiKey' | 'signature'
}

export interface OrderFilter {
  owner?: string
  status?: OrderStatus
  /** Orders a page. */
  limit?: number
}

export interface OrderPage {
  orders: Order[]
  /** Leads to the next page; absent on the last one. */
  nextCursor?: string
}

export interface Executed {
  /** `pending` while nobody knows whether a node has the transaction; the service sends it, and only it, until one has. */
  status: 'success' | 'pending'
  /** Of the Stacks transaction that settles the order. */
  txid: string
  order: Order
}

export interface Orders {
  /**
   * Places an order. The signer signs its intent, unless `signature` is given; and, when `recipient` is not the owner, a
   * `create_order` message that names the whole order, unless `message` and `messageSignature` are given.
   *
   * The uuid makes it safe to repeat: the same order again answers the stored one. The client itself repeats it after a
   * 503; who wants to repeat it after a lost connection gives a uuid of his own. The API key goes along when there is one, and then needs the permission `create`; `auth: 'signature'` leaves it out.
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
   * })
   * console.log(order.uuid, order.status) // open
   * ```
   */
  create(order: OrderDraft, options?: AuthOptions): Promise<Order>
  get(uuid: string, options?: CallOptions): Promise<Order>
  /**
   * Lists one page of orders, newest first. Open orders of others come without uuid, and so do one's own unless an API key
   * of theirs or `auth: 'signature'` proves whose they are.
   */
  list(filter?: OrderFilter & { cursor?: string }, options?: AuthOptions): Promise<OrderPage>
  /**
   * Walks through all orders, newest first, a page at a time.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const client = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
   * for await (const order of client.orders.listAll({ status: 'open' })) console.log(order.createdAt, order.amountIn)
   * ```
   */
  listAll(filter?: OrderFilter, options?: AuthOptions): AsyncGenerator<Order, void, undefined>
  /**
   * Executes an order: settles it on chain, once. The client repeats it after a 503: an order that the first attempt did
   * execute is then refused with `ORDER_NOT_OPEN`, and `get` shows its txid.
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
  execute(uuid: string, options?: AuthOptions): Promise<Executed>
  /** Cancels an open order. Repeated after a 503, like `execute`. */
  cancel(uuid: string, options?: AuthOptions): Promise<Order>
  /**
   * Waits until an order is confirmed, or as far as `until` says, and answers it. Needs neither key nor wallet. Follows the
   * order's event stream; where there is none, asks again and again, more seldom as time goes by. An outage is waited out:
   * give a `signal` for an end of the patience, which rejects with its reason.
   *
   * Rejects with `ORDER_NOT_SETTLED` when the order failed, was cancelled, expired, or opened again: the details say which.
   * A confirmed order can still be reorganised away; the service's CONFIRMATIONS say how deep it looks.
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
  waitFor(uuid: string, options?: WaitOptions): Promise<Order>
}

export function createOrders(
  transport: Transport,
  wallet: Wallet,
  hasApiKey: boolean,
  clock: ServiceClock,
): Orders {
  async function create(draft: OrderDraft, { signal, auth }: AuthOptions = {}): Promise<Order> {
    const order = await complete(draft)
    const { data } = await transport.send<{ data: Order }>({
      method: 'POST',
      path: '/orders/new',
      apiKey: hasApiKey && auth !== 'signature',
      body: order,
      secrets: [order.signature, order.messageSignature ?? ''],
      ...proofOfRecipient(order),
      repeatable: true,
      signal,
    })
    return data
  }

  async function complete(draft: OrderDraft): Promise<NewOrder> {
    const { owner = await wallet.address(), uuid = crypto.randomUUID(), ...terms } = draft
    if (draft.signature !== undefined) return { ...terms, owner, uuid, signature: draft.signature }
    const signerAddress = await wallet.address()
    if (owner !== signerAddress)
      throw new LatchkeyError(
        'INVALID_ARGUMENT',
        `The order's owner is ${owner}; ${signerAddress} cannot sign for it`,
      )
    const { inputToken, amountIn } = terms
    const signature = await wallet.signIntent({ inputToken, amountIn, uuid })
    return { ...terms, owner, uuid, signature }
  }

  // The intent binds no recipient: without the owner's word a thief of the intent could name himself.
  function proofOfRecipient(order: NewOrder): { proof?: Proof } {
    const { owner, recipient = owner, message } = order
    if (recipient === owner || message !== undefined || !wallet.isThere) return {}
    const proof = wallet.prove({ action: 'create_order', orderHash: orderHash(order) }, 'body')
    return {
      proof: {
        ...proof,
        write: ({ message, signature }) => ({ message, messageSignature: signature }),
      },
    }
  }

  async function list(
    { owner, status, limit, cursor }: OrderFilter & { cursor?: string } = {},
    { signal, auth }: AuthOptions = {},
  ): Promise<OrderPage> {
    const { data, nextCursor } = await transport.send<{ data: Order[]; nextCursor?: string }>({
      method: 'GET',
      path: '/orders',
      query: { owner, status, limit, cursor },
      apiKey: hasApiKey && auth !== 'signature',
      ...(auth === 'signature' && { proof: wallet.prove({ action: 'list_orders' }, 'headers') }),
      repeatable: true,
      signal,
    })
    return nextCursor === undefined ? { orders: data } : { orders: data, nextCursor }
  }

  async function* listAll(filter: OrderFilter = {}, options: AuthOptions = {}) {
    let cursor: string | undefined
    do {
      const page: OrderPage = await list(
        cursor === undefined ? filter : { ...filter, cursor },
        options,
      )
      yield* page.orders
      cursor = page.nextCursor
    } while (cursor !== undefined)
  }

  /** The key when the client has one, else the wallet's word. */
  function vouch(
    action: 'execute_order' | 'cancel_order',
    uuid: string,
    auth: AuthOptions['auth'],
  ) {
    if (auth === 'apiKey' && !hasApiKey)
      throw new LatchkeyError('INVALID_ARGUMENT', 'This client has no API key to vouch with')
    if (hasApiKey && auth !== 'signature') return { apiKey: true }
    if (!hasApiKey && !wallet.isThere)
      throw new LatchkeyError(
        'SIGNER_MISSING',
        'This needs an API key, or the signature of the wallet',
      )
    return { proof: wallet.prove({ action, uuid }, 'body') }
  }

  async function get(uuid: string, { signal }: CallOptions = {}): Promise<Order> {
    const { data } = await transport.send<{ data: Order }>({
      method: 'GET',
      path: uuidPath(uuid),
      repeatable: true,
      signal,
    })
    return data
  }

  return {
    create,
    list,
    listAll,
    get,
    waitFor: (uuid, options = {}) =>
      waitForOrder(
        { transport, clock, get: () => get(uuid, options.signal && { signal: options.signal }) },
        uuid,
        options,
      ),
    async execute(uuid, { signal, auth } = {}) {
      const { data, ...settled } = await transport.send<Omit<Executed, 'order'> & { data: Order }>({
        method: 'POST',
        path: `${uuidPath(uuid)}/execute`,
        ...vouch('execute_order', uuid, auth),
        repeatable: true,
        signal,
      })
      return { ...settled, order: data }
    },
    async cancel(uuid, { signal, auth } = {}) {
      const { data } = await transport.send<{ data: Order }>({
        method: 'PATCH',
        path: `${uuidPath(uuid)}/cancel`,
        ...vouch('cancel_order', uuid, auth),
        repeatable: true,
        signal,
      })
      return data
    },
  }
}

// Before it becomes part of a URL: what is not a uuid may be an API key.
function uuidPath(uuid: string): string {
  if (isIntentUuid(uuid)) return `/orders/${uuid}`
  throw new LatchkeyError('INVALID_ARGUMENT', 'A uuid is 1-36 characters of A-Z a-z 0-9 _ -')
}
