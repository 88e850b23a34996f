import { readFileSync } from 'node:fs'
import {
  type AuditExport,
  type Key,
  type KeyChange,
  type NewKey,
  ORDER_STATUSES,
  type Order,
  type OrderDraft,
  privateKeySigner,
  type RevocationCertificate,
  verifyAudit,
} from '../client/index.ts'
import { KEY_TERMS, TERM_NAMES, type TermForm, type TermName } from '../client/terms.ts'
import { demo } from './demo.ts'
import {
  type CommandContext,
  keepSecret,
  newPrivateKey,
  openClient,
  readNetwork,
  readPrivateKey,
  readSigner,
  text,
} from './session.ts'
import { type CommandResult, keyValues, table, UsageError } from './terminal.ts'
import { readPatience, watch } from './watch.ts'

/** One command: what it takes, what it does, how its result reads. `--json` prints the result itself. */
export interface Command {
  summary: string
  /** What must follow the name. */
  args?: readonly string[]
  options?: Record<string, { type: 'string' | 'boolean'; help: string }>
  run(session: CommandContext): Promise<CommandResult>
}

const auth = {
  type: 'string',
  help: 'api-key | signature; by default the API key when there is one',
} as const

const TIMEOUT = { type: 'string', help: 'seconds to wait at most; by default for ever' } as const

/** How the option of a term is declared and read, by the type of its values. */
const OPTION_TYPES: Readonly<Record<TermForm['type'], OptionType>> = {
  text: { read: text },
  list: { note: '; separated by commas', read: readItems },
  ranges: { note: '; separated by commas', read: readItems },
  integer: { read: readWholeNumber },
  time: { read: text },
  amounts: { note: '; JSON', read: readJsonOption },
  flag: { type: 'boolean', read: () => true },
}

interface OptionType {
  type?: 'boolean'
  /** What ends its help. */
  note?: string
  read(value: string | boolean | undefined, option: string, form: TermForm): unknown
}

/** An option for each term of a key, as `--max-amount-in` for maxAmountIn. */
const KEY_OPTIONS: NonNullable<Command['options']> = Object.fromEntries(
  TERM_NAMES.map((name) => {
    const { type: form, description } = KEY_TERMS[name]
    const { type = 'string', note = '' } = OPTION_TYPES[form]
    return [optionOf(name), { type, help: description + note }]
  }),
)

export const COMMANDS: Record<string, Command> = {
  'keys create': {
    summary: 'Create an API key for the wallet; its secret is shown this once',
    options: {
      ...KEY_OPTIONS,
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
      const { status: _, permissions, ...told } = flat(key)
      return {
        json: path === undefined ? { apiKey, ...key } : { ...key, savedTo: path },
        text: keyValues({
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
      return showKey(key)
    },
  },
  'keys update': {
    summary: 'Change what a key is called or may do; --lift names limits that go',
    args: ['KEY_ID'],
    options: {
      ...KEY_OPTIONS,
      lift: { type: 'string', help: 'limits that go, as tokens,expires-at' },
    },
    async run(session) {
      const { name, permissions, ...limits } = readTerms(session)
      const lifted = list(session.options.lift)?.map((option) => [liftable(option), null]) ?? []
      const change: KeyChange = {
        ...(name !== undefined && { name }),
        ...(permissions !== undefined && { permissions }),
        ...limits,
        ...Object.fromEntries(lifted),
      }
      return showKey(await openClient(session).keys.update(session.args[0] ?? '', change))
    },
  },
  'keys suspend': {
    summary: 'Refuse a key everything until it is resumed',
    args: ['KEY_ID'],
    run: async (session) => showKey(await openClient(session).keys.suspend(session.args[0] ?? '')),
  },
  'keys resume': {
    summary: 'Let a suspended key work again',
    args: ['KEY_ID'],
    run: async (session) => showKey(await openClient(session).keys.resume(session.args[0] ?? '')),
  },
  'keys rotate': {
    summary: 'Give a key a new secret; the old one works until the grace ends',
    args: ['KEY_ID'],
    options: {
      'grace-seconds': { type: 'string', help: '0 to 604800; 3600 by default' },
      save: { type: 'string', help: 'write the new secret to this new file (0600)' },
    },
    async run(session) {
      const client = openClient(session)
      const path = text(session.options.save)
      const graceSeconds = Number(text(session.options['grace-seconds']) ?? 3_600)
      const rotate = () => client.keys.rotate(session.args[0] ?? '', graceSeconds)
      const rotated =
        path === undefined ? await rotate() : await keepSecret(path, rotate, ({ apiKey }) => apiKey)
      const { status: _, apiKey, ...told } = rotated
      return {
        json: path === undefined ? { apiKey, ...told } : { ...told, savedTo: path },
        text: keyValues({
          apiKey: path === undefined ? `${apiKey}   (shown this once)` : `saved to ${path}`,
          ...told,
        }),
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
  'keys revoke-all': {
    summary: 'Revoke every key and end every session of the wallet, at once',
    options: { 'cancel-open-orders': { type: 'boolean', help: 'and cancel its open orders' } },
    async run(session) {
      const cancels = session.options['cancel-open-orders'] === true
      const answer = await openClient(session).keys.revokeAll(cancels)
      return {
        json: answer,
        text: keyValues({
          revoked: answer.keyIds.join(', ') || 'no key',
          cancelledOrders: answer.cancelledOrders,
        }),
      }
    },
  },
  'keys certificate': {
    summary: 'Sign a revocation to be kept offline, good for --days (365)',
    args: ['KEY_ID'],
    options: {
      days: { type: 'string', help: '1 to 366' },
      out: { type: 'string', help: 'a new file (0600); by default standard output' },
    },
    async run(session) {
      const client = openClient(session)
      const days = Number(text(session.options.days) ?? 365)
      const sign = () => client.keys.certificate(session.args[0] ?? '', days)
      const path = text(session.options.out)
      if (path !== undefined) {
        const { keyId } = await keepSecret(path, sign, (made) => JSON.stringify(made))
        return { json: { keyId, savedTo: path }, text: `The end of ${keyId} is saved to ${path}\n` }
      }
      const certificate = await sign()
      return { json: certificate, text: `${JSON.stringify(certificate)}\n` }
    },
  },
  'keys use-certificate': {
    summary: 'Revoke a key with a certificate that was kept; needs no wallet',
    args: ['FILE'],
    async run(session) {
      const answer = await openClient(session).keys.useCertificate(
        readJson(session.args[0] ?? '') as RevocationCertificate,
      )
      return { json: answer, text: `${answer.message}\n` }
    },
  },
  'keys delete-self': {
    summary: 'Revoke the API key that this is run with',
    async run(session) {
      const answer = await openClient(session).keys.deleteSelf()
      return { json: answer, text: `${answer.message}\n` }
    },
  },
  'keys usage': {
    summary: 'Show how a key was used, and from where',
    args: ['KEY_ID'],
    options: {
      by: { type: 'string', help: 'hour | day' },
      days: { type: 'string', help: '1 to 90; 30 by default' },
    },
    async run(session) {
      const { by = 'day' } = session.options
      if (by !== 'hour' && by !== 'day') throw new UsageError('--by is hour or day')
      const days = Number(text(session.options.days) ?? 30)
      const usage = await openClient(session).keys.usage(session.args[0] ?? '', { by, days })
      if (usage.usage.length === 0) return { json: usage, text: 'No requests.\n' }
      const rows = usage.usage.map(({ start, requests, outcomes }) => ({
        start,
        requests,
        outcomes: Object.entries(outcomes)
          .map(([outcome, count]) => `${outcome} ${count}`)
          .join(', '),
      }))
      const seen = [...usage.ips, ...usage.userAgents].map(({ value, requests, lastSeenAt }) => ({
        from: value,
        requests,
        'last seen': lastSeenAt,
      }))
      const average = keyValues({ averageExecutionMs: usage.averageExecutionMs ?? '-' })
      return { json: usage, text: `${table(rows)}\n${table(seen)}\n${average}` }
    },
  },
  me: {
    summary: 'Show what the API key that this is run with may do',
    async run(session) {
      const me = await openClient(session).keys.me()
      const { limits, windows, permissions, spentToday, status: _, ...told } = me
      const left = windows.map(({ name, remaining }) => `${remaining} this ${name}`).join(', ')
      return {
        json: me,
        text: keyValues({
          ...told,
          permissions: permissions.join(', ') || 'none',
          limits: JSON.stringify(limits),
          spentToday: JSON.stringify(spentToday),
          left,
        }),
      }
    },
  },
  'audit export': {
    summary: "Write the wallet's audit to a file that proves itself",
    options: { out: { type: 'string', help: 'a new file; by default standard output' } },
    async run(session) {
      const audit = await openClient(session).audit.export()
      const path = text(session.options.out)
      if (path === undefined) return { json: audit, text: `${JSON.stringify(audit, null, 2)}\n` }
      await keepSecret(
        path,
        async () => audit,
        (made) => JSON.stringify(made, null, 2),
      )
      return {
        json: { savedTo: path, events: audit.events.length },
        text: `${audit.events.length} events saved to ${path}\n`,
      }
    },
  },
  'audit verify': {
    summary: 'Check an exported audit offline: chain, signatures, and every live key',
    args: ['FILE'],
    options: {
      older: { type: 'string', help: 'an export from before, which this one must continue' },
    },
    async run(session) {
      const older = text(session.options.older)
      const audit = readJson(session.args[0] ?? '') as AuditExport
      const verdict = verifyAudit(
        audit,
        older === undefined ? undefined : (readJson(older) as AuditExport),
      )
      const { faults, ...told } = verdict
      const rows = faults.map(({ sequence, keyId, fault }) => ({
        event: sequence,
        key: keyId,
        fault,
      }))
      return {
        json: verdict,
        text:
          keyValues({ wallet: audit.walletAddress, ...told, faults: faults.length }) +
          (rows.length === 0 ? '' : table(rows)),
        exitCode: verdict.ok ? 0 : 1,
      }
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
      return { json: order, text: keyValues({ ...order }) }
    },
  },
  'orders get': {
    summary: 'Show an order',
    args: ['UUID'],
    async run(session) {
      const order = await openClient(session).orders.get(session.args[0] ?? '')
      return { json: order, text: keyValues({ ...order }) }
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
    options: {
      auth,
      wait: { type: 'boolean', help: 'until it is confirmed, telling how it goes' },
      timeout: TIMEOUT,
    },
    async run(session) {
      const client = openClient(session)
      const patience = readPatience(session)
      const executed = await client.orders.execute(session.args[0] ?? '', readAuth(session))
      if (session.options.wait === true) {
        const order = await watch(session, patience)
        return { json: order, text: keyValues({ ...order }) }
      }
      return { json: executed, text: keyValues({ txid: executed.txid, ...executed.order }) }
    },
  },
  'orders wait': {
    summary: 'Wait until an order is confirmed, telling how it goes',
    args: ['UUID'],
    options: { timeout: TIMEOUT },
    async run(session) {
      const order = await watch(session, readPatience(session))
      return { json: order, text: keyValues({ ...order }) }
    },
  },
  'orders cancel': {
    summary: 'Cancel an open order',
    args: ['UUID'],
    options: { auth },
    async run(session) {
      const client = openClient(session)
      const order = await client.orders.cancel(session.args[0] ?? '', readAuth(session))
      return { json: order, text: keyValues({ ...order }) }
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
      return { json: info, text: keyValues(Object.fromEntries(flat)) }
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
        text: keyValues({
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

function readNewKey(session: CommandContext): NewKey {
  const { name, permissions, ...limits } = readTerms(session)
  if (name === undefined || permissions === undefined)
    throw new UsageError(
      'A key needs --name and --permissions; --permissions "" for a key that may do nothing',
    )
  return { name, permissions, ...limits }
}

function readTerms({ options }: CommandContext): Partial<NewKey> {
  const given = TERM_NAMES.filter((name) => options[optionOf(name)] !== undefined)
  return Object.fromEntries(
    given.map((name) => {
      const option = optionOf(name)
      const term = KEY_TERMS[name]
      return [name, OPTION_TYPES[term.type].read(options[option], option, term)]
    }),
  )
}

/** `max-amount-in` for maxAmountIn. */
function optionOf(name: TermName): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** The term that `--lift` names by its option. */
function liftable(option: string): TermName {
  const names = TERM_NAMES.filter((name) => KEY_TERMS[name].isRequired !== true)
  const term = names.find((name) => optionOf(name) === option)
  if (term === undefined)
    throw new UsageError(`--lift names some of ${names.map(optionOf).join(', ')}`)
  return term
}

function readItems(
  value: string | boolean | undefined,
  option: string,
  form: TermForm,
): string[] | undefined {
  const items = list(value)
  const item = 'item' in form ? form.item : undefined
  if (item !== undefined && items?.every((text) => item.pattern.test(text)) === false)
    throw new UsageError(`Each of --${option} ${item.message}`)
  return items
}

/** A number that is none would become null in JSON, which lifts a limit. */
function readWholeNumber(value: string | boolean | undefined, option: string): number {
  const digits = text(value) ?? ''
  if (!/^[0-9]{1,15}$/.test(digits)) throw new UsageError(`--${option} is a whole number`)
  return Number(digits)
}

function readJsonOption(value: string | boolean | undefined, option: string): unknown {
  try {
    return JSON.parse(text(value) ?? '')
  } catch {
    throw new UsageError(`--${option} is JSON; see latchkey help keys create`)
  }
}

function list(option: string | boolean | undefined): string[] | undefined {
  return text(option)
    ?.split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    throw new UsageError(`${path} cannot be read, or is not JSON`)
  }
}

function showKey(key: Key): CommandResult {
  const { id: _, permissions, usageStats, ...told } = key
  return {
    json: key,
    text: keyValues({
      ...flat(told),
      permissions: permissions.join(', ') || 'none',
      ...usageStats,
    }),
  }
}

/** Lists and amounts as text, for people. */
function flat<T extends object>(told: T): T {
  return Object.fromEntries(
    Object.entries(told).map(([name, value]) => [
      name,
      name !== 'permissions' && typeof value === 'object' ? JSON.stringify(value) : value,
    ]),
  ) as T
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

function readDraft({ options }: CommandContext): OrderDraft {
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

function readAuth({ options }: CommandContext): { auth?: 'apiKey' | 'signature' } {
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
