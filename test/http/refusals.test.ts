import { type SQL, sql } from 'drizzle-orm'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { endpoints } from '../../src/app.ts'
import { rows } from '../../src/db/database.ts'
import { REFUSALS, type RefusalReason } from '../../src/errors.ts'
import type { Endpoint } from '../../src/http/endpoint.ts'
import { hashSecret, type Secret } from '../../src/keys/secret.ts'
import { suspendByOperator } from '../../src/keys/suspend.ts'
import { orderHash } from '../../src/orders/validate.ts'
import { unknownSecret } from '../support/secrets.ts'
import { type Service, startService } from '../support/service.ts'
import { issueCredential, unknownCredential } from '../support/service-credentials.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

/** A request that succeeds, in parts that a test spoils one by one. */
interface Target {
  path: string
  /** What is sent beside a credential. */
  body?: object
  /** What the wallet signs. */
  message?: Record<string, unknown>
  /** What is sent with it, in place of a wallet's credential. */
  headers?: Record<string, string>
}

const UNKNOWN_KEY = 'key_00000000000000000'
const OLD = 400_000
const HOOK = 'http://127.0.0.1:9/hook'

let service: Service
/** Of a backend that may ask for reading alone. */
let asker: Record<string, string>
beforeAll(async () => {
  service = await startService('Postgres', {
    env: { MAX_ACTIVE_KEYS_PER_WALLET: '7', MAX_KEYS_PER_WALLET: '8' },
  })
  const { secret } = await issueCredential(service, { scopes: ['read'] })
  asker = { 'X-Service-Credential': secret }
})
afterAll(() => service.close())

/** By operation: how its request is prepared. */
const targets: Record<string, (wallet: Wallet) => Promise<Target> | Target> = {
  createApiKey: () => ({
    path: '/api-keys',
    message: { action: 'create_api_key', keyName: 'bot', permissions: ['execute'] },
  }),
  listApiKeys: () => ({ path: '/api-keys', message: { action: 'list_api_keys' } }),
  getMe: () => ({ path: '/me' }),
  sendHeartbeat: () => ({ path: '/heartbeat' }),
  getApiKey: (wallet) => ofKey(wallet, '', { action: 'get_api_key' }),
  getApiKeyUsage: (wallet) => ofKey(wallet, '/usage', { action: 'get_api_key' }),
  getUsage: () => ({ path: '/usage', message: { action: 'list_api_keys' } }),
  revokeAllApiKeys: () => ({
    path: '/api-keys/revoke-all',
    message: { action: 'revoke_all_api_keys', cancelOpenOrders: true },
  }),
  revokeSelf: () => ({ path: '/api-keys/self' }),
  updateApiKey: (wallet) => ofKey(wallet, '', { action: 'update_api_key', label: 'changed' }),
  rotateApiKey: (wallet) =>
    ofKey(wallet, '/rotate', { action: 'rotate_api_key', graceSeconds: 60 }),
  suspendApiKey: (wallet) => ofKey(wallet, '/suspend', { action: 'suspend_api_key' }),
  resumeApiKey: (wallet) => ofKey(wallet, '/resume', { action: 'resume_api_key' }),
  useRevocationCertificate: (wallet) =>
    ofKey(wallet, '/revoke', {
      action: 'revoke_api_key',
      notAfter: service.clock.now + 1_000,
    }),
  deleteApiKey: (wallet) => ofKey(wallet, '', { action: 'delete_api_key' }),
  reportLeaks: () => ({ path: '/leaks/github', body: [{ token: 'x', type: 'y' }] }),
  verifyKey: async (wallet) => {
    const { apiKey } = await createKey(service, wallet, { permissions: ['read'] })
    return { path: '/keys/verify', headers: asker, body: { apiKey, scope: 'read' } }
  },
  forwardAuth: (wallet) => forwarded(wallet),
  forwardAuthByPost: (wallet) => forwarded(wallet),
  createOrder: (wallet) => {
    const body = wallet.order({ recipient: newWallet(service).address })
    return {
      path: '/orders/new',
      body,
      message: { action: 'create_order', orderHash: orderHash(body) },
    }
  },
  executeOrder: async (wallet) => {
    await fund(service, wallet)
    return ofOrder(wallet, 'execute')
  },
  cancelOrder: (wallet) => ofOrder(wallet, 'cancel'),
  getOrder: async (wallet) => ({ path: `/orders/${await createOrder(service, wallet)}` }),
  watchOrder: async (wallet) => ({ path: `/orders/${await createOrder(service, wallet)}/events` }),
  listOrders: () => ({ path: '/orders', message: { action: 'list_orders' } }),
  createSession: () => ({
    path: '/sessions',
    message: { action: 'create_session', ttlSeconds: 60 },
  }),
  endSession: () => ({ path: '/sessions/self' }),
  watchWallet: () => ({ path: '/events' }),
  createWebhook: () => ({ path: '/webhooks', message: { action: 'create_webhook', url: HOOK } }),
  listWebhooks: () => ({ path: '/webhooks', message: { action: 'list_webhooks' } }),
  updateWebhook: (wallet) => ofWebhook(wallet, '', { action: 'update_webhook', enabled: true }),
  rotateWebhookSecret: (wallet) =>
    ofWebhook(wallet, '/rotate', { action: 'rotate_webhook_secret', overlapSeconds: 60 }),
  deleteWebhook: (wallet) => ofWebhook(wallet, '', { action: 'delete_webhook' }),
  testWebhook: (wallet) => ofWebhook(wallet, '/test', { action: 'test_webhook' }),
  replayWebhook: (wallet) => ofWebhook(wallet, '/replay', { action: 'replay_webhook' }),
  listDeliveries: async (wallet) => ({
    path: `${(await ofWebhook(wallet, '/deliveries', {})).path}`,
    message: { action: 'list_webhooks' },
  }),
  listNotices: () => ({ path: '/notices', message: { action: 'list_notices' } }),
  openWalletStream: () => ({ path: '/stream' }),
  getAccount: () => ({ path: '/account', message: { action: 'get_account' } }),
  listAudit: () => ({ path: '/audit', message: { action: 'list_audit' } }),
  getInfo: () => ({ path: '/info' }),
  listScopes: () => ({ path: '/scopes' }),
  getToken: () => ({ path: '/tokens/.stx' }),
  getTime: () => ({ path: '/time' }),
  getHealth: () => ({ path: '/health' }),
  getReady: () => ({ path: '/ready' }),
  useFaucet: (wallet) => ({ path: '/devnet/faucet', body: { address: wallet.address } }),
}

async function forwarded(wallet: Wallet): Promise<Target> {
  const { apiKey } = await createKey(service, wallet, { permissions: ['read'] })
  return { path: '/auth/forward?scope=read', headers: { ...asker, 'X-API-Key': apiKey } }
}

async function refusesForwarded(send: Send): Promise<void> {
  await send({ headers: { 'X-Service-Credential': unknownCredential() } })
  await send({ path: '/auth/forward?scope=cancel' })
  for (const spoil of KEYS) await spoil(send, newWallet(service))
}

/** Requests that only one operation refuses in a way of its own. */
const special: Record<string, (send: Send, wallet: Wallet) => Promise<unknown>> = {
  async createApiKey(send, wallet) {
    const named = (keyName: string) => ({
      message: { action: 'create_api_key', keyName, permissions: [] },
    })
    const secret = unknownSecret('ck_live_', wallet.address)
    for (const number of [20, 21])
      await send({
        message: { ...named(`bot ${number}`).message, keyHash: hashSecret(secret) },
        headers: { 'X-API-Key': secret },
      })
    for (const timestamp of [1, 2])
      await send({ ...named('bot 0'), members: { timestamp: service.clock.now - timestamp } })
    for (let number = 1; number < 8; number++) await send(named(`bot ${number}`))
    await send({
      message: { action: 'revoke_all_api_keys', cancelOpenOrders: false },
      path: '/api-keys/revoke-all',
    })
    for (let number = 10; number < 12; number++) await send(named(`bot ${number}`))
  },
  async updateApiKey(send, wallet) {
    await createKey(service, wallet, { keyName: 'taken' })
    await send({ members: { keyName: 'taken' } })
  },
  async rotateApiKey(send, wallet) {
    await send({ members: { graceSeconds: 600 } })
    await send({ members: { graceSeconds: 601 } })
    const { apiKey } = await createKey(service, wallet)
    const keyHash = hashSecret(apiKey as Secret)
    await send({ members: { keyHash }, headers: { 'X-API-Key': apiKey } })
  },
  async useRevocationCertificate(send) {
    await send({ members: { notAfter: service.clock.now - 1 } })
  },
  async createOrder(send, wallet) {
    const recipient = newWallet(service).address
    await send({ body: wallet.order({ recipient }), by: 'none' })
    const order = wallet.order()
    await send({ body: order, by: 'none' })
    await send({ body: wallet.order({ uuid: order.uuid, amountIn: '2' }), by: 'none' })
    const body = wallet.order()
    const { apiKey } = await createKey(service, wallet, { tokens: ['.stx'] })
    await send({ body, by: 'none', headers: { 'X-API-Key': apiKey } })
  },
  async executeOrder(send, wallet) {
    const act = async (uuid: string, apiKey?: string) =>
      send({
        path: `/orders/${uuid}/execute`,
        message: { action: 'execute_order', uuid },
        ...(apiKey !== undefined && { by: 'none', headers: { 'X-API-Key': apiKey } }),
      })
    await fund(service, wallet)
    await act(await createOrder(service, wallet, { validFrom: '2098-01-01T00:00:00Z' }))
    const { apiKey } = await createKey(service, wallet, { ownOrdersOnly: true })
    await act(await createOrder(service, wallet), apiKey)
    await act(await createOrder(service, newWallet(service)))
    const edited = await createOrder(service, wallet)
    await rows(service.world.db, sql`UPDATE orders SET amount_in = 2 WHERE uuid = ${edited}`)
    await act(edited)
    await act('absent')
    await act(await createOrder(service, wallet, { amountIn: '100000000000000000000' }))
  },
  async cancelOrder(send, wallet) {
    const uuid = await createOrder(service, wallet)
    const { apiKey } = await createKey(service, wallet, { ownOrdersOnly: true })
    await send({ path: `/orders/${uuid}/cancel`, by: 'none', headers: { 'X-API-Key': apiKey } })
    for (const other of ['absent', await createOrder(service, newWallet(service))])
      await send({
        path: `/orders/${other}/cancel`,
        message: { action: 'cancel_order', uuid: other },
      })
    await suspendByOperator(
      service.world,
      { walletAddress: wallet.address },
      'test',
      service.clock.now,
    )
    await send({
      message: { action: 'cancel_order', uuid, onChain: true },
      path: `/orders/${uuid}/cancel`,
    })
  },
  async createWebhook(send) {
    await send({ members: { url: 'https://10.0.0.1/' } })
    for (let number = 0; number < 6; number++) await send({ members: { label: `of ${number}` } })
  },
  async updateWebhook(send, wallet) {
    await send({ members: { url: 'http://bot.example/' } })
    await edit(wallet, sql`url = 'https://other.example/'`)
    await send({ members: { label: 'edited' } })
  },
  async rotateWebhookSecret(send, wallet) {
    await edit(wallet, sql`url = 'https://other.example/'`)
    await send({ members: { overlapSeconds: 61 } })
  },
  async testWebhook(send, wallet) {
    await edit(wallet, sql`disabled_reason = 'gone'`)
    await send({ members: { timestamp: service.clock.now - 1 } })
  },
  async replayWebhook(send, wallet) {
    await edit(wallet, sql`disabled_reason = 'gone'`)
    await send({ members: { timestamp: service.clock.now - 1 } })
  },
  async listDeliveries(send) {
    await send({ path: '/webhooks/wh_00000000000000000/deliveries' })
  },
  async createSession(send) {
    for (let number = 0; number <= 100; number++)
      await send({ members: { ttlSeconds: 600 + number } })
  },
  async verifyKey(send) {
    await send({ headers: { 'X-Service-Credential': unknownCredential() } })
    await send({ body: { apiKey: '', scope: 'cancel' } })
    await send({ text: '' })
  },
  forwardAuth: refusesForwarded,
  forwardAuthByPost: refusesForwarded,
  async getToken(send) {
    await send({ path: '/tokens/none' })
  },
  async useFaucet(send) {
    await send({ body: { address: 'me' } })
  },
}

/** A signature is of what a trusted proxy tells: test/deploy/forward-auth.test.ts. */
const OF_FORWARDED_SIGNATURES: readonly RefusalReason[] = [
  'requestSignatureRequired',
  'requestSignatureIncomplete',
  'requestSignatureInvalid',
  'requestSignatureExpired',
  'requestReplayed',
]

/**
 * Refusals that these requests cannot cause, with the tests that do. A platform without streams and a chain that is away are of
 * workers and outages; bounds of a wallet and streams without end need as many requests.
 */
const ELSEWHERE: Readonly<Record<string, readonly RefusalReason[]>> = {
  createOrder: ['messageReplayed'], // of two creations at once: test/races/once.test.ts
  executeOrder: ['settlementLimit', 'orderArchived'], // test/settlement/bounds.test.ts
  cancelOrder: ['orderArchived'], // test/archive/archive.test.ts
  getOrder: ['orderArchived'],
  watchOrder: ['tooManyStreams', 'eventsUnsupported', 'orderArchived'], // test/orders/events.test.ts
  // Of a service that takes reports: test/leaks/github.test.ts
  reportLeaks: [
    'invalidRequest',
    'bodyMissing',
    'bodyTooLarge',
    'unsupportedMedia',
    'leakReportUnsigned',
  ],
  // Where they are off: test/webhooks/send.test.ts
  createWebhook: ['webhooksOff'],
  updateWebhook: ['webhooksOff'],
  rotateWebhookSecret: ['webhooksOff'],
  testWebhook: ['webhooksOff'],
  replayWebhook: ['webhooksOff'],
  forwardAuth: OF_FORWARDED_SIGNATURES,
  forwardAuthByPost: OF_FORWARDED_SIGNATURES,
  watchWallet: ['tooManyStreams', 'eventsUnsupported'], // test/wallets/feed.test.ts
  openWalletStream: ['tooManyStreams', 'eventsUnsupported'],
  useFaucet: ['routeNotFound'], // test/http/routes.test.ts
}

interface Sent extends Partial<Target> {
  members?: Record<string, unknown>
  by?: 'wallet' | 'none'
  headers?: Record<string, string>
  text?: string
  ip?: string
  /** What is changed of a signed message on its way. */
  spoil?: (signed: ReturnType<Wallet['sign']>) => object
}
type Send = (sent: Sent) => Promise<unknown>

it.each(endpoints.map((endpoint) => [endpoint.operationId, endpoint] as const))(
  '%s gives the refusals that it documents, and no other',
  { timeout: 240_000 },
  async (operationId, endpoint) => {
    const seen = new Set<string>()
    const prepare = async (wallet: Wallet) => {
      const target = await targets[operationId]?.(wallet)
      if (target === undefined) throw new Error(`${operationId} has no request`)
      return target
    }
    const sender =
      (wallet: Wallet, target: Target): Send =>
      async (sent) => {
        const response = await service.call(
          sent.path ?? target.path,
          requestOf(endpoint, wallet, target, sent),
        )
        if (response.status < 400) return void (await response.body?.cancel())
        const { code } = (await response.json()) as { code: string }
        seen.add(`${response.status} ${code}`)
      }
    const spoilt = async (
      ...requests: ((send: Send, wallet: Wallet, target: Target) => unknown)[]
    ) => {
      for (const request of requests) {
        const wallet = newWallet(service)
        const target = await prepare(wallet)
        await request(sender(wallet, target), wallet, target)
      }
    }

    await spoilt(
      (send) => send({ by: 'none' }),
      (send) => send({ by: 'none', path: `${endpoint.path.replaceAll(/\{\w+\}/g, 'absent')}` }),
    )
    if (endpoint.query !== undefined)
      await spoilt(async (send, _, { path }) => send({ path: `${path}?strange=1` }))
    if (endpoint.headers !== undefined && 'Last-Event-ID' in endpoint.headers.shape)
      await spoilt(async (send, wallet) =>
        send({
          by: 'none',
          headers: { 'Last-Event-ID': '!', ...(await sessionOf(endpoint, wallet)) },
        }),
      )
    if (endpoint.body !== undefined) await spoilt(...BODIES)
    if (endpoint.messages !== undefined) await spoilt(...MESSAGES)
    if (endpoint.credentials.includes('key')) await spoilt(...KEYS)
    if (endpoint.credentials.includes('session'))
      await spoilt((send) => send({ by: 'none', headers: { Authorization: 'Bearer cs_x' } }))
    if (endpoint.path.includes('{uuid}') && endpoint.messages !== undefined)
      await spoilt(async (send) => {
        await send({})
        await send({ members: { timestamp: service.clock.now - 1 } })
      })
    await spoilt(async (send, wallet) => special[operationId]?.(send, wallet))

    const documented = new Set<RefusalReason>(endpoint.refusals)
    if (endpoint.body !== undefined) documented.add('unsupportedMedia')
    for (const reason of ['unavailable', ...(ELSEWHERE[operationId] ?? [])] as const)
      documented.delete(reason)
    const expected = new Set(
      [...documented].map((reason) => `${REFUSALS[reason].status} ${REFUSALS[reason].code}`),
    )
    expect([...seen].sort()).toEqual([...expected].sort())
  },
)

const BODIES: readonly ((send: Send) => unknown)[] = [
  (send) => send({ text: '{' }),
  (send) => send({ text: JSON.stringify({ a: 'x'.repeat(70_000) }) }),
  (send) => send({ text: '{}', headers: { 'Content-Encoding': 'gzip' } }),
]

const MESSAGES: readonly ((send: Send, wallet: Wallet, target: Target) => unknown)[] = [
  (send) =>
    send({
      spoil: (signed) => ({
        ...signed,
        walletAddress: newWallet(service).address,
        message: `${signed.message} `,
      }),
    }),
  (send) => send({ spoil: (signed) => ({ ...signed, signature: '00'.repeat(65) }) }),
  (send) => send({ members: { timestamp: service.clock.now - OLD } }),
  (send) => send({ members: { unknown: 1 } }),
  (send) => send({ members: { auditHead: { sequence: 1, hash: 'a'.repeat(64) } } }),
  async (send) => {
    const timestamp = service.clock.now - 1
    for (let time = 0; time < 2; time++) await send({ members: { timestamp } })
  },
  async (send, wallet) => {
    await suspendByOperator(
      service.world,
      { walletAddress: wallet.address },
      'test',
      service.clock.now,
    )
    await send({})
  },
  async (send, _, { path, message }) => {
    if (message?.keyId === undefined) return
    const keyId = UNKNOWN_KEY
    await send({ path: path.replace(String(message.keyId), keyId), members: { keyId } })
  },
  async (send, _, { path, message }) => {
    if (message?.webhookId === undefined) return
    const webhookId = 'wh_00000000000000000'
    await send({ path: path.replace(String(message.webhookId), webhookId), members: { webhookId } })
  },
  async (send, wallet, { message }) => {
    if (message?.keyId === undefined) return
    const { keyId } = message
    const body = JSON.stringify(wallet.sign({ action: 'delete_api_key', keyId }))
    await service.call(`/api-keys/${keyId}`, { method: 'DELETE', body })
    await send({})
  },
]

const KEYS: readonly ((send: Send, wallet: Wallet) => unknown)[] = [
  (send) => send(withKey('ck_live_x')),
  (send) => send(withKey('ck_live_x, ck_live_x')),
  async (send, wallet) => {
    const { apiKey } = await createKey(service, wallet)
    await service.call('/api-keys/self', { method: 'DELETE', headers: { 'X-API-Key': apiKey } })
    await send(withKey(apiKey))
  },
  async (send, wallet) => {
    const { apiKey } = await createKey(service, wallet, { ipAllowlist: ['192.0.2.1'] })
    await send(withKey(apiKey))
  },
  async (send, wallet) =>
    send(withKey((await createKey(service, wallet, { permissions: [] })).apiKey)),
  async (send) => send(withKey((await createKey(service, newWallet(service))).apiKey)),
]

const withKey = (apiKey: string): Sent => ({ by: 'none', headers: { 'X-API-Key': apiKey } })

async function ofKey(
  wallet: Wallet,
  suffix: string,
  message: Record<string, unknown>,
): Promise<Target> {
  const { keyId } = await createKey(service, wallet)
  return { path: `/api-keys/${keyId}${suffix}`, message: { ...message, keyId } }
}

async function ofWebhook(
  wallet: Wallet,
  suffix: string,
  message: Record<string, unknown>,
): Promise<Target> {
  const create = wallet.sign({ action: 'create_webhook', url: HOOK })
  const created = await service.call('/webhooks', json(create))
  const { webhookId } = (await created.json()) as { webhookId: string }
  return { path: `/webhooks/${webhookId}${suffix}`, message: { ...message, webhookId } }
}

/** Edits the wallet's webhooks outside of the service. */
async function edit({ address }: Wallet, set: SQL): Promise<void> {
  await rows(service.world.db, sql`UPDATE webhooks SET ${set} WHERE wallet_address = ${address}`)
}

async function ofOrder(wallet: Wallet, act: 'execute' | 'cancel'): Promise<Target> {
  const uuid = await createOrder(service, wallet)
  return { path: `/orders/${uuid}/${act}`, message: { action: `${act}_order`, uuid } }
}

async function sessionOf(
  { credentials }: Endpoint,
  wallet: Wallet,
): Promise<Record<string, string>> {
  if (!credentials.includes('session')) return {}
  const opened = await service.call(
    '/sessions',
    json(wallet.sign({ action: 'create_session', ttlSeconds: 60 })),
  )
  const { session } = (await opened.json()) as { session: string }
  return { Authorization: `Bearer ${session}` }
}

/** The request of a target with its signed message where the operation reads it. */
function requestOf(
  endpoint: Endpoint,
  wallet: Wallet,
  target: Target,
  sent: Sent,
): RequestInit & { ip?: string } {
  const method = endpoint.method.toUpperCase()
  const {
    body = target.body,
    by = 'wallet',
    headers: more = {},
    text,
    members,
    spoil = (signed) => signed,
  } = sent
  const headers = { ...target.headers, ...more }
  const message = { ...(sent.message ?? target.message), ...members }
  const signed = by === 'none' || !('action' in message) ? undefined : spoil(wallet.sign(message))
  const whole = signed === undefined ? body : body === undefined ? signed : besides(body, signed)
  if (endpoint.body !== undefined)
    return {
      method,
      headers,
      ...((text ?? whole) !== undefined && { body: text ?? JSON.stringify(whole) }),
    }
  const { message: asText, signature, walletAddress } = (signed ?? {}) as Record<string, string>
  const proof = { 'X-Message': asText, 'X-Signature': signature, 'X-Wallet-Address': walletAddress }
  return {
    method,
    headers: { ...headers, ...(signed !== undefined && (proof as Record<string, string>)) },
  }
}

function besides(body: object, signed: object): object {
  const { message, signature } = signed as { message: string; signature: string }
  return { ...body, message, messageSignature: signature }
}
