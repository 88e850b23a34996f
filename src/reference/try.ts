import type { ServiceInfo } from '../client/info.ts'
import { privateKeySigner, type Signer } from '../client/signer.ts'
import { walletSigner } from '../client/wallet-signer.ts'

/**
 * The script of /docs: fills in examples that work here and now, signs them and sends them. On a devnet it signs with a wallet that it
 * makes and forgets; elsewhere with the browser's wallet. What a response grants (key, order, session) is filled into the next request.
 */

type Network = 'devnet' | 'testnet' | 'mainnet'
type Members = Record<string, unknown>

const info = (await (await fetch('/api/v1/info')).json()) as ServiceInfo
const network = info.network as Network
const signer = openSigner()
const address = await signer?.getAddress(network).catch(() => undefined)
/** What examples are filled with: ids of the responses before. */
const known: { keyId?: string; uuid?: string } = {}

const find = <E extends Element>(selector: string) => document.querySelector<E>(selector)
const apiKey = find<HTMLInputElement>('#api-key')
const session = find<HTMLInputElement>('#session')

showWallet()
for (const form of document.querySelectorAll<HTMLFormElement>('form')) prepare(form)
openTarget()
addEventListener('hashchange', openTarget)

function openSigner(): Signer | undefined {
  if (network === 'devnet') {
    const bytes = crypto.getRandomValues(new Uint8Array(32))
    const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
    return privateKeySigner(`${hex}01`, 'devnet')
  }
  const provider = globalThis as {
    LeatherProvider?: WalletProvider
    StacksProvider?: WalletProvider
  }
  const wallet = provider.LeatherProvider ?? provider.StacksProvider
  return wallet && walletSigner((method, params) => wallet.request(method, params))
}

interface WalletProvider {
  request(method: string, params?: unknown): Promise<unknown>
}

function showWallet(): void {
  const text =
    address === undefined
      ? 'No wallet: messages can be read here, and not signed.'
      : network === 'devnet'
        ? `Signs as ${address}, a wallet of this page that is forgotten when it is left.`
        : `Signs as ${address}, on ${network}. What is sent is real.`
  const paragraph = find('#wallet')
  if (paragraph !== null) paragraph.textContent = text
  find('#credentials')?.removeAttribute('hidden')
}

/** A link to an operation or a code of an error opens it. */
function openTarget(): void {
  const target = document.getElementById(location.hash.slice(1))
  if (target instanceof HTMLDetailsElement) target.open = true
  target?.scrollIntoView()
}

function prepare(form: HTMLFormElement): void {
  const details = form.closest('details')
  details?.addEventListener('toggle', () => details.open && fill(form))
  if (details?.open === true) fill(form)
  for (const button of form.querySelectorAll('button')) button.disabled = false
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    send(form).catch((error: unknown) => show(form, String(error)))
  })
}

const fieldOf = (form: HTMLFormElement, name: string) =>
  form.elements.namedItem(name) as HTMLInputElement | HTMLTextAreaElement | null

/** Puts what is known into the examples, each time that an operation is opened. */
function fill(form: HTMLFormElement): void {
  for (const [name, value] of Object.entries({ ...known, contractId: info.devnet?.inputToken })) {
    const field = fieldOf(form, name)
    if (field !== null && value !== undefined) field.value = value
  }
  const message = fieldOf(form, 'message')
  if (message !== null) message.value = write(messageNow(parse(message.value)))
  const body = fieldOf(form, 'body')
  if (body !== null) body.value = write(bodyNow(parse(body.value)))
}

function messageNow(members: Members): Members {
  return {
    ...members,
    ...('keyId' in members && known.keyId !== undefined && { keyId: known.keyId }),
    ...('uuid' in members && known.uuid !== undefined && { uuid: known.uuid }),
    ...('notAfter' in members && { notAfter: Date.now() + 86_400_000 }),
    timestamp: Date.now(),
    ...(info.signedDomain !== undefined && { domain: info.signedDomain }),
  }
}

/** An order gets tokens of the devnet, a new uuid and, when it is sent, its signature. */
function bodyNow(members: Members): Members {
  if ('address' in members) return { ...members, ...(address !== undefined && { address }) }
  if (!('inputToken' in members)) return members
  const { signature: _, ...order } = members
  const { inputToken, outputToken } = info.devnet ?? {}
  return {
    ...order,
    ...(address !== undefined && { owner: address }),
    ...(inputToken !== undefined && { inputToken, outputToken }),
    uuid: crypto.randomUUID(),
  }
}

async function send(form: HTMLFormElement): Promise<void> {
  const method = (form.dataset.method ?? 'get').toUpperCase()
  const { path, headers } = addressed(form)
  const proof = await signed(form)
  const isRead = method === 'GET'
  if (proof !== undefined && isRead) Object.assign(headers, headersOf(proof))
  const body = isRead ? undefined : (proof ?? (await ordered(form)))
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  const response = await fetch(path, {
    method,
    headers,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const isStream = response.headers.get('Content-Type') === 'text/event-stream'
  const text = isStream ? await firstChunks(response) : await response.text()
  show(form, `${response.status} ${response.headers.get('X-Request-Id') ?? ''}\n${pretty(text)}`)
  if (response.ok) learn(text)
}

function addressed(form: HTMLFormElement): { path: string; headers: Record<string, string> } {
  let path = form.dataset.path ?? ''
  const query = new URLSearchParams()
  const headers: Record<string, string> = {}
  for (const field of form.querySelectorAll<HTMLInputElement>('input')) {
    if (field.dataset.in === 'path')
      path = path.replace(`{${field.name}}`, encodeURIComponent(field.value))
    else if (field.value === '') continue
    else if (field.dataset.in === 'query') query.set(field.name, field.value)
    else headers[field.name] = field.value
  }
  const bearer = session?.value ?? ''
  if (needsSession(path) && bearer !== '') headers.Authorization = `Bearer ${bearer}`
  else if (apiKey !== null && apiKey.value !== '' && takesKey(path))
    headers['X-API-Key'] = apiKey.value
  return { path: query.size === 0 ? path : `${path}?${query}`, headers }
}

const needsSession = (path: string) => /\/(sessions\/self|v1\/events)$/.test(path)
const takesKey = (path: string) => /\/(me|api-keys\/self|orders(\/.*)?)$/.test(path)

async function signed(form: HTMLFormElement): Promise<Members | undefined> {
  const field = fieldOf(form, 'message')
  const usesKey = apiKey?.value !== '' && takesKey(form.dataset.path ?? '')
  if (field === null || usesKey) return undefined
  if (signer === undefined || address === undefined) throw new Error('no wallet can sign here')
  const message = JSON.stringify({ ...parse(field.value), timestamp: Date.now() })
  const { signature, publicKey } = await signer.signMessage(message, network)
  return {
    message,
    signature,
    walletAddress: address,
    ...(publicKey !== undefined && { publicKey }),
  }
}

function headersOf({ message, signature, walletAddress }: Members): Record<string, string> {
  return {
    'X-Message': String(message),
    'X-Signature': String(signature),
    'X-Wallet-Address': String(walletAddress),
  }
}

/** The body as it is written; an order without signature gets the one of its intent. */
async function ordered(form: HTMLFormElement): Promise<Members | undefined> {
  const field = fieldOf(form, 'body')
  if (field === null) return undefined
  const body = parse(field.value)
  if (!('inputToken' in body) || 'signature' in body) return body
  if (signer === undefined) throw new Error('no wallet can sign here')
  const intent = {
    inputToken: String(body.inputToken),
    amountIn: String(body.amountIn),
    uuid: String(body.uuid),
    router: info.routerContract,
  }
  return { ...body, signature: await signer.signIntent(intent, network) }
}

async function firstChunks(response: Response): Promise<string> {
  const reader = response.body?.getReader()
  const decoder = new TextDecoder()
  let text = ''
  for (let chunk = 0; chunk < 2; chunk++) {
    const { done, value } = (await reader?.read()) ?? { done: true }
    if (done) break
    text += decoder.decode(value)
  }
  await reader?.cancel()
  return text
}

/** Keeps what the next requests need. */
function learn(text: string): void {
  const answer = parse(text)
  if (typeof answer.keyId === 'string') known.keyId = answer.keyId
  if (typeof answer.apiKey === 'string' && apiKey !== null) apiKey.value = answer.apiKey
  if (typeof answer.session === 'string' && session !== null) session.value = answer.session
  const order = answer.data as Members | undefined
  if (typeof order?.uuid === 'string') known.uuid = order.uuid
}

function show(form: HTMLFormElement, text: string): void {
  const output = form.querySelector('output')
  if (output !== null) output.textContent = text
}

const write = (value: unknown) => JSON.stringify(value, null, 2)

function parse(text: string): Members {
  try {
    return JSON.parse(text) as Members
  } catch {
    return {}
  }
}

function pretty(text: string): string {
  const value = parse(text)
  return Object.keys(value).length === 0 ? text : write(value)
}
