import { randomBytes, randomUUID } from 'node:crypto'
import { walletShard } from '../../src/db/wallet-shard.ts'
import { COMMITTED_ROUTER, INPUT_TOKEN, OUTPUT_TOKEN, ROUTER } from '../../src/devnet/constants.ts'
import type { NewOrder } from '../../src/orders/order.ts'
import { type CommittedTerms, committedUuid } from '../../src/stacks/committed.ts'
import { addressOf, signIntent, signMessage } from '../../src/stacks/sign.ts'
import type { Service } from './service.ts'

/** A throw-away wallet that signs as a browser wallet would. */
export interface Wallet {
  privateKey: string
  address: string
  /** The body of a signed action. */
  sign(members: Record<string, unknown>): {
    message: string
    signature: string
    walletAddress: string
  }
  /** The headers of a signed action. */
  signHeaders(members: Record<string, unknown>): Record<string, string>
  /** A valid order, with the given members changed before it is signed. */
  order(members?: Partial<NewOrder>): NewOrder
  /** A valid committed order, with the given members changed before its uuid is derived and it is signed. */
  committedOrder(members?: Partial<NewOrder>): NewOrder
}

/** Makes a wallet whose messages carry the service's time. */
export function newWallet(service: Pick<Service, 'clock'>): Wallet {
  const privateKey = `${randomBytes(32).toString('hex')}01`
  const address = addressOf(privateKey, 'devnet')
  const sign: Wallet['sign'] = (members) => {
    const message = JSON.stringify({ timestamp: service.clock.now, ...members })
    return { message, signature: signMessage({ message, privateKey }), walletAddress: address }
  }
  return {
    privateKey,
    address,
    sign,
    signHeaders(members) {
      const { message, signature, walletAddress } = sign(members)
      return { 'X-Message': message, 'X-Signature': signature, 'X-Wallet-Address': walletAddress }
    },
    order(members = {}) {
      const terms = {
        owner: address,
        inputToken: INPUT_TOKEN,
        outputToken: OUTPUT_TOKEN,
        amountIn: '1000000',
        uuid: randomUUID(),
        ...members,
      }
      const signature =
        members.signature ?? signIntent({ ...terms, router: ROUTER, network: 'devnet', privateKey })
      return { ...terms, signature }
    },
    committedOrder(members = {}) {
      const terms = {
        owner: address,
        inputToken: INPUT_TOKEN,
        outputToken: OUTPUT_TOKEN,
        amountIn: '1000000',
        minAmountOut: '1',
        salt: randomBytes(16).toString('hex'),
        deadline: '2099-01-01T00:00:00Z',
        ...members,
      }
      const uuid = members.uuid ?? committedUuid(termsOf(terms), 'devnet')
      const { inputToken, amountIn } = terms
      const intent = { inputToken, amountIn, uuid, router: COMMITTED_ROUTER }
      const signature =
        members.signature ?? signIntent({ ...intent, network: 'devnet', privateKey })
      return { ...terms, uuid, signature }
    },
  }
}

/** The terms of a committed order, as its owner commits to them. */
export function termsOf(order: Omit<NewOrder, 'uuid' | 'signature'>): CommittedTerms {
  const { owner, recipient = owner, executor = null, deadline = '' } = order
  return {
    by: executor,
    min: order.minAmountOut ?? '',
    salt: order.salt ?? '',
    to: recipient,
    token: order.outputToken,
    until: Date.parse(deadline) / 1000,
  }
}

/** Two wallets of one shard, of which a secret can be a secret of either. */
export function walletsOfOneShard(service: Pick<Service, 'clock'>): [Wallet, Wallet] {
  const known = new Map<number, Wallet>()
  for (;;) {
    const wallet = newWallet(service)
    const shard = walletShard(wallet.address)
    const other = known.get(shard)
    if (other !== undefined) return [other, wallet]
    known.set(shard, wallet)
  }
}

export function json(body: unknown, headers: Record<string, string> = {}): RequestInit {
  return {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  }
}

/** Creates a key and answers its secret and id. Fails the test when the service refuses. */
export async function createKey(
  service: Pick<Service, 'call'>,
  wallet: Wallet,
  members: Record<string, unknown> = {},
): Promise<{ apiKey: string; keyId: string }> {
  const response = await service.call(
    '/api-keys',
    json(
      wallet.sign({
        action: 'create_api_key',
        keyName: `bot ${randomUUID()}`,
        permissions: ['create', 'execute', 'cancel'],
        ...members,
      }),
    ),
  )
  if (response.status !== 201) throw new Error(`no key: ${await response.text()}`)
  return (await response.json()) as { apiKey: string; keyId: string }
}

/** Takes in an order and answers its uuid. Fails the test when the service refuses. */
export async function createOrder(
  service: Pick<Service, 'call'>,
  wallet: Wallet,
  members: Partial<NewOrder> = {},
): Promise<string> {
  const order = wallet.order(members)
  const response = await service.call('/orders/new', json(order))
  if (response.status !== 201) throw new Error(`no order: ${await response.text()}`)
  return order.uuid
}

/** Gives the wallet STX and input tokens on the devnet. */
export async function fund(service: Pick<Service, 'call'>, wallet: Wallet): Promise<void> {
  const response = await service.call('/devnet/faucet', json({ address: wallet.address }))
  if (response.status !== 200) throw new Error(`no funds: ${await response.text()}`)
}
