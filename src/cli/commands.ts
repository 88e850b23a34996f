import {
  type Key,
  type NewKey,
  ORDER_STATUSES,
  type Order,
  type OrderDraft,
  privateKeySigner,
  SCOPES,
} from '../client/index.ts'
import { demo } from './demo.ts'
import {
  keepSecret,
  newPrivateKey,
  openClient,
  readNetwork,
  readPrivateKey,
  readSigner,
  type Session,
  text,
} from './session.ts'
import { facts, type Result, table, UsageError } from './terminal.ts'

/** One command: what it takes, what it does, how its result reads. `--json` prints the result itself. */
export interface Command {
  summary: string
  /** What must follow the name. */
  args?: readonly string[]
  options?: Record<string, { type: 'string' | 'boolean'; help: string }>
  run(session: Session): Promise<Result>
}

const auth = {
  type: 'string',
  help: 'api-key | signature; by default the API key when there is one',
} as const

export const COMMANDS: Record<string, Command> = {
  'keys create': {
    summary: 'Create an API key for the wallet; its secret is shown this once',
    options: {
      name: { type: 'string', help: 'a name that no other living key of the wallet has' },
      permissions: { type: 'string', help: `${SCOPES.join(',')}, or some of them` },
      'expires-at': { type: 'string', help: 'ISO 8601, as 2027-01-31T00:00:00Z' },
      save: {
        type: 'string',
        help: 'write the secret to this new file (0600), and do not show it',
      },
    },
    async run(session) {
      const draft = readNewKey(session)
      const client = openClient(session)
      const path = text(session.options.save)
      const create = () => client.keys.create(draft)
      const created =
        path === undefined ? await create() : await keepSecret(path, create, ({ apiKey }) => apiKey)
      const { apiKey, ...key } = created
      const { status: _, permissions, ...told } = key
      return {
        json: path === undefined ? { apiKey, ...key } : { ...key, savedTo: path },
        text: facts({
          apiKey: path === undefined ? `${apiKey}   (shown this once)` : `saved to ${path}`,
          ...told,
          permissions: permissions.join(', ') || 'none',
        }),
      }
    },
  },
  'keys list': {
    summary: "List the wallet's keys, revoked ones included",
    async run(session) {
      const keys = await openClient(session).keys.list()
      return { json: keys, text: keys.length === 0 ? 'No keys.\n' : table(keys.map(keyRow)) }
    },
  },
  'keys get': {
    summary: 'Show one key of the wallet',
    args: ['KEY_ID'],
    async run(session) {
      const key = await openClient(session).keys.get(session.args[0] ?? '')
      const { id: _, permissions, usageStats, ...told } = key
      return {
        json: key,
        text: facts({ ...told, permissions: permissions.join(', ') || 'none', ...usageStats }),
      }
    },
  },
  'keys delete': {
    summary: 'Revoke a key of the wallet, at once and for ever',
    args: ['KEY_ID'],
    async run(session) {
      const answer = await openClient(session).keys.delete(session.args[0] ?? '')
      return { json: answer, text: `${answer.message}\n` }
    },
  },
  'orders create': {
    summary: "Place an order: the wallet's key signs its intent",
    options: {
      'input-token': { type: 'string', help: 'contract id of the token that pays' },
      'output-token': { type: 'string', help: 'contract id, or .stx' },
      'amount-in': { type: 'string', help: "whole number in the token's smallest unit" },
      recipient: { type: 'string', help: 'who receives the output; by default the owner' },
      uuid: { type: 'string', help: 'by default a random one' },
      'target-price': { type: 'string', help: 'with --direction and --condition-token' },
      direction: { type: 'string', help: 'gt | lt' },
      'condition-token': { type: 'string', help: 'contract id, or *' },
      'base-asset': { type: 'string', help: 'what the target price is counted in' },
      'valid-from': { type: 'string', help: 'ISO 8601' },
      'valid-to': { type: 'string', help: 'ISO 8601; from then on the order is expired' },
      auth,
    },
    async run(session) {
      const order = await openClient(session).orders.create(readDraft(session), readAuth(session))
      return { json: order, text: facts({ ...order }) }
    },
  },
  'orders get': {
    summary: 'Show an order',
    args: ['UUID'],
    async run(session) {
      const order = await openClient(session).orders.get(session.args[0] ?? '')
      return { json: order, text: facts({ ...order }) }
    },
  },
  'orders list': {
    summary: 'List orders, newest first',
    options: {
      owner: { type: 'string', help: 'of one address' },
      mine: { type: 'boolean', help: "of the wallet's own address" },
      status: { type: 'string', help: ORDER_STATUSES.join(' | ') },
      limit: { type: 'string', help: 'orders a page' },
      cursor: { type: 'string', help: 'the page that the one before names' },
    },
    async run(session) {
      const client = openClient(session)
      const signer = readSigner(session)
      const { options } = session
      const filter = {
        owner: text(options.owner),
        status: ORDER_STATUSES.find((status) => status === options.status),
        limit: options.limit === undefined ? undefined : Number(options.limit),
        cursor: text(options.cursor),
      }
      if (options.status !== undefined && filter.status === undefined)
        throw new UsageError(`--status is one of ${ORDER_STATUSES.join(', ')}`)
      if (options.mine === true) {
        if (signer === undefined) throw new UsageError('--mine needs the key of the wallet')
        filter.owner = await signer.getAddress((await client.info()).network)
      }
      const given = Object.entries(filter).filter(([, value]) => value !== undefined)
      const hasKey = readAuth(session).auth === 'apiKey'
      const page = await client.orders.list(
        Object.fromEntries(given),
        signer !== undefined && !hasKey ? { auth: 'signature' } : {},
      )
      const next = page.nextCursor === undefined ? '' : `More: --cursor ${page.nextCursor}\n`
      return {
        json: page,
        text: page.orders.length === 0 ? 'No orders.\n' : table(page.orders.map(orderRow)) + next,
      }
    },
  },
  'orders execute': {
    summary: 'Execute an open order: settle it on chain, once',
    args: ['UUID'],
    options: { auth },
    async run(session) {
      const client = openClient(session)
      const executed = await client.orders.execute(session.args[0] ?? '', readAuth(session))
      return { json: executed, text: facts({ txid: executed.txid, ...executed.order }) }
    },
  },
  'orders cancel': {
    summary: 'Cancel an open order',
    args: ['UUID'],
    options: { auth },
    async run(session) {
      const client = openClient(session)
      const order = await client.orders.cancel(session.args[0] ?? '', readAuth(session))
      return { json: order, text: facts({ ...order }) }
    },
  },
  info: {
    summary: 'Show what the service says about itself',
    async run(session) {
      const info = await openClient(session).info()
      const { scopes, limits, intentDomain, devnet, ...told } = info
      const nested = { scopes: scopes.join(', '), limits, intentDomain, ...devnet }
      const flat = Object.entries({ ...told, ...nested }).map(([name, value]) => [
        name,
        typeof value === 'object' ? JSON.stringify(value) : value,
      ])
      return { json: info, text: facts(Object.fromEntries(flat)) }
    },
  },
  'wallet new': {
    summary: 'Make a throw-away wallet: a new file (0600) that holds its private key',
    async run(session) {
      const path = text(session.options['key-file']) ?? 'latchkey-wallet.key'
      const privateKey = await keepSecret(path, async () => newPrivateKey(), String)
      const addresses = {
        mainnet: privateKeySigner(privateKey, 'mainnet').address,
        testnet: privateKeySigner(privateKey, 'testnet').address,
      }
      return {
        json: { keyFile: path, addresses },
        text: facts({
          'key file': `${path}   (whoever reads it is the wallet)`,
          mainnet: addresses.mainnet,
          'testnet, devnet': addresses.testnet,
        }),
      }
    },
  },
  'wallet address': {
    summary: "Show the wallet's address on the service's network, or on --network",
    async run(session) {
      const privateKey = readPrivateKey(session)
      if (privateKey === undefined) throw new UsageError('There is no private key to read it from')
      const network = readNetwork(session) ?? (await openClient(session).info()).network
      const { address } = privateKeySigner(privateKey, network)
      return { json: { address, network }, text: `${address}\n` }
    },
  },
  demo: {
    summary: 'Tell the whole story against a devnet, with a throw-away wallet',
    run: demo,
  },
}

function readNewKey({ options }: Session): NewKey {
  const [name, permissions, expiresAt] = [
    options.name,
    options.permissions,
    options['expires-at'],
  ].map(text)
  if (name === undefined || permissions === undefined)
    throw new UsageError(
      'A key needs --name and --permissions; --permissions "" for a key that may do nothing',
    )
  const scopes = permissions.split(',').filter((scope) => scope !== '')
  const wrong = scopes.find((scope) => !SCOPES.some((known) => known === scope))
  if (wrong !== undefined) throw new UsageError(`--permissions are some of ${SCOPES.join(',')}`)
  return {
    name,
    permissions: SCOPES.filter((scope) => scopes.includes(scope)),
    ...(expiresAt !== undefined && { expiresAt }),
  }
}

const DRAFT_OPTIONS = [
  ['input-token', 'inputToken'],
  ['output-token', 'outputToken'],
  ['amount-in', 'amountIn'],
  ['recipient', 'recipient'],
  ['uuid', 'uuid'],
  ['target-price', 'targetPrice'],
  ['direction', 'direction'],
  ['condition-token', 'conditionToken'],
  ['base-asset', 'baseAsset'],
  ['valid-from', 'validFrom'],
  ['valid-to', 'validTo'],
] as const satisfies [string, keyof OrderDraft][]

function readDraft({ options }: Session): OrderDraft {
  const given = DRAFT_OPTIONS.flatMap(([option, member]) =>
    options[option] === undefined ? [] : [[member, options[option]]],
  )
  const draft: Partial<OrderDraft> = Object.fromEntries(given)
  const { inputToken, outputToken, amountIn } = draft
  if (inputToken === undefined || outputToken === undefined || amountIn === undefined)
    throw new UsageError('An order needs --input-token, --output-token and --amount-in')
  return { ...draft, inputToken, outputToken, amountIn }
}

const AUTH = { 'api-key': 'apiKey', signature: 'signature' } as const

function readAuth({ options }: Session): { auth?: 'apiKey' | 'signature' } {
  if (options.auth === undefined) return {}
  const known = Object.entries(AUTH).find(([name]) => name === options.auth)
  if (known === undefined) throw new UsageError('--auth is api-key or signature')
  return { auth: known[1] }
}

function keyRow({ keyId, name, keyPreview, status, permissions, lastUsedAt, usageStats }: Key) {
  return {
    id: keyId,
    name,
    key: keyPreview,
    status,
    permissions: permissions.join(',') || 'none',
    requests: usageStats.totalRequests,
    failed: usageStats.failedRequests,
    'last used': lastUsedAt ?? 'never',
  }
}

function orderRow({ uuid, status, amountIn, inputToken, outputToken, createdAt }: Order) {
  return {
    uuid: uuid ?? '(hidden)',
    status,
    amount: amountIn,
    from: nameOf(inputToken),
    to: nameOf(outputToken),
    created: createdAt,
  }
}

function nameOf(token: string): string {
  return token.slice(token.indexOf('.') + 1)
}
