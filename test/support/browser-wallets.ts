import { createRequire } from 'node:module'
import leatherOfPhones from '@leather.io/provider/mobile'
import { endpoints, parseEndpointRequest, RpcErrorCode } from '@leather.io/rpc'
import type * as SatsConnect from '@sats-connect/core'
import { Cl, signStructuredData, type TupleCV } from '@stacks/transactions'
import { build } from 'esbuild'
import { decodeC32, encodeC32 } from '../../src/stacks/c32.ts'
import type { Network } from '../../src/stacks/network.ts'
import { addressOf, publicKeyOf, signMessage } from '../../src/stacks/sign.ts'
import type { Page } from '../node/chromium.ts'

/*
 * Browser wallets as a page meets them. The provider in the page is the wallet's own code where it is published (Leather's extension
 * and its phone app; the WalletConnect provider of @stacks/connect over a relay of this process), and behaves as its source does
 * elsewhere (Xverse). What a wallet accepts is decided by the schemas that it publishes: @leather.io/rpc and @sats-connect/core.
 */

// Its module for Node imports a package without the extension that Node wants.
const sats: typeof SatsConnect = createRequire(import.meta.url)('@sats-connect/core')

export const WALLET_KINDS = [
  'Leather',
  'Leather on a phone',
  'Xverse',
  'Xverse of 2024',
  'Leather with a Ledger',
  'Xverse with a Ledger',
  'WalletConnect',
  'Asigna (several keys)',
] as const
export type WalletKind = (typeof WALLET_KINDS)[number]

/** A wallet, and what its user does. */
export interface BrowserWallet {
  kind: WalletKind
  privateKey: string
  /** The network that the wallet is switched to, which counts where a request names none. */
  network: Network
  /** The next dialog is declined by its user. */
  declines: boolean
  /** Dialogs wait until the test closes them. */
  isHeld: boolean
  /** Every request that reached it. */
  asked: { method: string; params: Record<string, unknown> }[]
  /** Every dialog that opened: the method, and the text to be signed. */
  dialogs: { method: string; text: string }[]
}

export function browserWallet(kind: WalletKind, privateKey: string): BrowserWallet {
  const state = { declines: false, isHeld: false, asked: [], dialogs: [] }
  return { kind, privateKey, network: 'devnet', ...state }
}

/** The screen of a Ledger shows ASCII. */
const SHOWN_BY_LEDGER = /^[\x20-\x7e]*$/

interface Request {
  id: string
  method: string
  // biome-ignore lint/suspicious/noExplicitAny: a wallet is given whatever the method takes
  params: any
}
type Reply = { result: unknown } | { error: { code: number; message: string } }
/** Undefined: the wallet never answers. */
type Handler = (wallet: BrowserWallet, request: Request) => Reply | undefined

const refuse = (code: number, message: string): Reply => ({ error: { code, message } })

/** Opens a dialog. Returns the refusal of its user, if that is what the user does. */
function ask(wallet: BrowserWallet, { method, params }: Request, code: number): Reply | undefined {
  wallet.dialogs.push({ method, text: String(params?.message ?? '') })
  if (!wallet.declines) return undefined
  wallet.declines = false
  return refuse(code, 'User rejected the request.')
}

const addressIn = ({ privateKey, network }: BrowserWallet, named?: Network) =>
  addressOf(privateKey, named ?? network)

function signText({ privateKey }: BrowserWallet, message: string) {
  return { signature: signMessage({ message, privateKey }), publicKey: publicKeyOf(privateKey) }
}

function signData({ privateKey }: BrowserWallet, { message, domain }: Request['params']) {
  const [tuple, of] = [message, domain].map((hex) => Cl.deserialize<TupleCV>(hex))
  const signature = signStructuredData({
    message: tuple as TupleCV,
    domain: of as TupleCV,
    privateKey,
  })
  return { signature, publicKey: publicKeyOf(privateKey) }
}

/** A device returns the recovery id first. */
function ofDevice({ signature, publicKey }: { signature: string; publicKey: string }) {
  return { signature: `${signature.slice(128)}${signature.slice(0, 128)}`, publicKey }
}

const leather =
  (form: 'extension' | 'phone', device = false): Handler =>
  (wallet, request) => {
    const endpoint = Object.values(endpoints).find(({ method }) => method === request.method)
    // The app on a phone drops what it cannot parse.
    const isParsed = parseEndpointRequest({ jsonrpc: '2.0', ...request }) !== undefined
    if (!isParsed && form === 'phone') return undefined
    if (endpoint === undefined)
      return refuse(RpcErrorCode.METHOD_NOT_FOUND, `"${request.method}" is not supported.`)
    if (!isParsed) return refuse(RpcErrorCode.INVALID_PARAMS, 'Invalid parameters')
    const refusal = ask(wallet, request, RpcErrorCode.USER_REJECTION)
    if (refusal !== undefined) return refusal
    const { method, params } = request
    const publicKey = publicKeyOf(wallet.privateKey)
    const address = addressIn(wallet, params.network)
    if (method === 'stx_getAddresses' && form === 'phone')
      return { result: [{ address, publicKey, derivationPath: "m/44'/5757'/0'/0/0" }] }
    if (method.endsWith('etAddresses'))
      return {
        result: {
          addresses: [
            {
              symbol: 'BTC',
              type: 'p2wpkh',
              address: 'bc1qexample',
              publicKey: '',
              derivationPath: '',
            },
            { symbol: 'STX', address, publicKey },
          ],
        },
      }
    if (device && method === 'stx_signMessage' && !SHOWN_BY_LEDGER.test(params.message))
      return refuse(RpcErrorCode.INTERNAL_ERROR, 'Data is invalid: Non-ASCII')
    const isData = method === 'stx_signStructuredMessage' || params.messageType === 'structured'
    const signed = isData ? signData(wallet, params) : signText(wallet, params.message)
    return { result: device ? ofDevice(signed) : signed }
  }

interface Validator {
  '~standard': { validate(value: unknown): unknown }
}
const accepts = (schema: Validator, value: unknown) =>
  (schema['~standard'].validate(value) as { issues?: unknown }).issues === undefined

const XVERSE: Readonly<Record<string, Validator>> = {
  getAddresses: sats.getAddressesRequestMessageSchema,
  stx_getAddresses: sats.stxGetAddressesRequestMessageSchema,
  stx_signMessage: sats.stxSignMessageRequestMessageSchema,
  stx_signStructuredMessage: sats.stxSignStructuredMessageRequestMessageSchema,
  wallet_connect: sats.connectRequestMessageSchema,
}
const NEEDS_CONNECTION = ['stx_getAddresses']
const connected = new WeakSet<BrowserWallet>()

const xverse =
  (form: 'new' | 'old', device = false): Handler =>
  (wallet, request) => {
    const { method, params } = request
    const schema = XVERSE[method]
    if (schema === undefined) return refuse(-32601, 'Method not found.')
    if (NEEDS_CONNECTION.includes(method) && !connected.has(wallet))
      return refuse(-32002, 'Access denied.')
    const isKnown = accepts(schema, { jsonrpc: '2.0', ...request })
    const lacksKey = form === 'old' && method === 'stx_signMessage' && !params.publicKey
    if (!isKnown || lacksKey) return refuse(-32602, 'Invalid parameters.')
    const publicKey = publicKeyOf(wallet.privateKey)
    const stacks = {
      address: addressIn(wallet),
      publicKey,
      purpose: 'stacks',
      addressType: 'stacks',
    }
    if (method === 'stx_getAddresses') return { result: { addresses: [stacks] } }
    const refusal = ask(wallet, request, -32000)
    if (refusal !== undefined) return refusal
    if (method === 'wallet_connect') {
      connected.add(wallet)
      const payment = {
        address: 'bc1qexample',
        publicKey: '',
        purpose: 'payment',
        addressType: 'p2wpkh',
      }
      const walletType = device ? 'ledger' : 'software'
      return { result: { id: 'account', walletType, addresses: [payment, stacks] } }
    }
    if (method === 'stx_signMessage' || device) {
      const signed = signText(wallet, params.message)
      return { result: signed }
    }
    return { result: signData(wallet, params) }
  }

/** A wallet on a phone behind the relay. Its answers have no envelope, and its refusals the code of WalletConnect. */
const walletConnect: Handler = (wallet, request) => {
  const refusal = ask(wallet, request, 5000)
  if (refusal !== undefined) return refusal
  const { method, params } = request
  if (method === 'connect') {
    const chain = wallet.network === 'mainnet' ? '1' : '2147483648'
    return { result: [`stacks:${chain}:${addressIn(wallet)}`] }
  }
  if (method === 'stx_signMessage') return { result: signText(wallet, params.message) }
  return { result: signData(wallet, params) }
}

const asigna: Handler = (wallet, request) => {
  const { version = 0, hash160 = '' } = decodeC32(addressIn(wallet)) ?? {}
  const address = encodeC32({ version: version - 5, hash160 })
  if (request.method === 'getAddresses')
    return ask(wallet, request, 4001) ?? { result: { addresses: [{ address, publicKey: '' }] } }
  return ask(wallet, request, 4001) ?? { result: signText(wallet, request.params.message) }
}

const HANDLERS: Readonly<Record<WalletKind, Handler>> = {
  Leather: leather('extension'),
  'Leather on a phone': leather('phone'),
  Xverse: xverse('new'),
  'Xverse of 2024': xverse('old'),
  'Leather with a Ledger': leather('extension', true),
  'Xverse with a Ledger': xverse('new', true),
  WalletConnect: walletConnect,
  'Asigna (several keys)': asigna,
}

/** Where the wallet puts its provider, as a path of globalThis. */
export const PROVIDER_OF: Readonly<Record<WalletKind, string>> = {
  Leather: 'LeatherProvider',
  'Leather on a phone': 'LeatherProvider',
  Xverse: 'XverseProviders.BitcoinProvider',
  'Xverse of 2024': 'XverseProviders.BitcoinProvider',
  'Leather with a Ledger': 'LeatherProvider',
  'Xverse with a Ledger': 'XverseProviders.BitcoinProvider',
  WalletConnect: 'WalletConnectProvider',
  'Asigna (several keys)': 'AsignaProvider',
}

/** How a script of the page reaches the wallet: a request to this process, answered once its user has decided. */
const CHANNEL = `
const waiting = new Map()
let last = 0
globalThis.walletAnswered = (id, reply) => { waiting.get(id)?.(reply); waiting.delete(id) }
globalThis.toWallet = (request) => new Promise((resolve) => {
  const call = String(++last)
  waiting.set(call, resolve)
  askWallet(JSON.stringify({ call, ...request }))
})`

const LEATHER_EXTENSION = `
import { initInpageProvider } from '@leather.io/provider'
initInpageProvider({
  env: { platform: 'extension', branch: '', commitSha: '', version: '' },
  onDispatch: (request) => void toWallet(request).then((reply) =>
    window.postMessage({ jsonrpc: '2.0', id: request.id, ...reply }, window.location.origin)),
})`

const LEATHER_PHONE = `
globalThis.ReactNativeWebView = {
  postMessage: (text) => {
    const request = JSON.parse(text)
    void toWallet(request).then((reply) =>
      window.onMessageFromRN(JSON.stringify({ jsonrpc: '2.0', id: request.id, ...reply })))
  },
};
${leatherOfPhones({ branch: '', commitSha: '', version: '' })}`

/** As src/inpage of Xverse's extension: it resolves with refusals, too. */
const xverseInPage = (addListener: string) => `{
const listeners = []
globalThis.walletEvent = (type) => { for (const [name, follow] of listeners) if (name === type) follow({ type }) }
globalThis.XverseProviders = { BitcoinProvider: {
  signMultipleTransactions() {},
  createRepeatInscriptions() {},
  addListener: ${addListener},
  request: async (method, params) => ({ jsonrpc: '2.0', id: '1', ...await toWallet({ id: '1', method, params }) }),
} }
}`
const XVERSE_NEW = xverseInPage('(info) => void listeners.push([info.eventName, info.cb])')
const XVERSE_OLD = xverseInPage('(name, follow) => void listeners.push([name, follow])')

const ASIGNA = `
globalThis.AsignaProvider = {
  async request(method, params) {
    const reply = await toWallet({ id: '1', method, params })
    if (reply.error) throw reply
    return { jsonrpc: '2.0', id: '1', ...reply }
  },
}`

/** The provider that @stacks/connect makes over a connector of WalletConnect; see the relay below. */
const WALLET_CONNECT = `
globalThis.process = { env: {} }
const { request } = await import('@stacks/connect')
await request({ provider: { request: async () => ({ result: {} }) }, walletConnect: { projectId: 'test' } }, 'getAddresses')
globalThis.walletIsThere = true`

/** In place of the connector of Reown, whose relay is on the internet: the same calls, to this process. */
const CONNECTOR = `
export class UniversalConnector {
  static async init(config) { return Object.assign(new UniversalConnector(), { config, provider: {} }) }
  async connect() {
    const reply = await toWallet({ id: '1', method: 'connect', params: {} })
    if (reply.error) throw Object.assign(new Error(reply.error.message), reply.error)
    const [stacks] = this.config.networks
    const namespaces = { stacks: { accounts: reply.result, methods: stacks.methods } }
    this.provider.session = { namespaces, sessionProperties: {} }
    return { session: this.provider.session }
  }
  async request({ method, params }, chain) {
    const reply = await toWallet({ id: '1', method, params, chain })
    if (reply.error) throw Object.assign(new Error(reply.error.message), reply.error)
    return reply.result
  }
  async disconnect() { this.provider.session = undefined }
}`

const SCRIPTS: Readonly<Record<WalletKind, string>> = {
  Leather: LEATHER_EXTENSION,
  'Leather on a phone': LEATHER_PHONE,
  Xverse: XVERSE_NEW,
  'Xverse of 2024': XVERSE_OLD,
  'Leather with a Ledger': LEATHER_EXTENSION,
  'Xverse with a Ledger': XVERSE_NEW,
  WalletConnect: WALLET_CONNECT,
  'Asigna (several keys)': ASIGNA,
}

/** Bundles a script for a page. WalletConnect's connector is replaced by one to this process. */
export async function bundleForPage(contents: string, resolveDir: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir, loader: 'ts' },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    write: false,
    logLevel: 'error',
    define: { 'process.env.NODE_ENV': '"production"', global: 'globalThis' },
    plugins: [
      {
        name: 'connector',
        setup(bundler) {
          const filter = /^@reown\/appkit-universal-connector$/
          bundler.onResolve({ filter }, ({ path }) => ({ path, namespace: 'connector' }))
          bundler.onLoad({ filter: /.*/, namespace: 'connector' }, () => ({ contents: CONNECTOR }))
        },
      },
    ],
  })
  return outputFiles[0]?.text ?? ''
}

/** Puts a wallet into a page as its extension or its app does: before any script of the page. It signs in this process. */
export async function installBrowserWallet(
  page: Page,
  wallet: BrowserWallet,
): Promise<{
  /** Answers the dialogs that were held. */
  release(): void
}> {
  const held: (() => void)[] = []
  await page.ask('Runtime.addBinding', { name: 'askWallet' })
  page.on('Runtime.bindingCalled', ({ payload }) => {
    const { call, ...request } = JSON.parse(payload)
    wallet.asked.push({ method: request.method, params: request.params ?? {} })
    const dialogs = wallet.dialogs.length
    const reply = HANDLERS[wallet.kind](wallet, request)
    if (reply === undefined) return
    const send = () =>
      void page.evaluate(`walletAnswered(${JSON.stringify(call)}, ${JSON.stringify(reply)})`)
    if (wallet.isHeld && wallet.dialogs.length > dialogs) held.push(send)
    else send()
  })
  const script = await bundleForPage(SCRIPTS[wallet.kind], import.meta.dirname)
  await page.ask('Page.addScriptToEvaluateOnNewDocument', { source: `{${CHANNEL}}` })
  // Only Leather's and Xverse's are there before the page: a page itself makes the one of WalletConnect.
  const source = wallet.kind === 'WalletConnect' ? `(async () => {${script}})()` : `{${script}}`
  await page.ask('Page.addScriptToEvaluateOnNewDocument', { source })
  return {
    release() {
      for (const send of held.splice(0)) send()
    },
  }
}
