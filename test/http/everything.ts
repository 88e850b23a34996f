import { expect } from 'vitest'
import { INPUT_TOKEN } from '../../src/devnet/constants.ts'
import { hashSecret } from '../../src/keys/secret.ts'
import { orderHash } from '../../src/orders/validate.ts'
import { unknownSecret } from '../support/secrets.ts'
import type { Service } from '../support/service.ts'
import { issueCredential } from '../support/service-credentials.ts'
import { createKey, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

/** Calls every operation of the API until it succeeds in every documented way. Answers which did, and how. */
export async function useEverything(
  service: Service,
  { hasStreams = true } = {},
): Promise<ReadonlySet<string>> {
  const seen = new Set<string>()
  const call = async (path: string, template: string, init: RequestInit = {}) => {
    const response = await service.call(path, init)
    expect(response.ok, await response.clone().text()).toBe(true)
    seen.add(`${(init.method ?? 'GET').toLowerCase()} /api/v1${template} ${response.status}`)
    const isJson = response.headers.get('Content-Type') === 'application/json'
    return isJson ? response.json() : response.text()
  }
  const wallet = newWallet(service)
  await fund(service, wallet)
  await call('/devnet/faucet', '/devnet/faucet', json({ address: wallet.address }))
  for (const path of ['/info', '/time', '/health', '/ready', '/scopes']) await call(path, path)
  await call(`/tokens/${INPUT_TOKEN}`, '/tokens/{contractId}')

  const { apiKey, keyId } = (await call(
    '/api-keys',
    '/api-keys',
    json(
      wallet.sign({
        action: 'create_api_key',
        keyName: 'teller',
        permissions: ['create', 'execute', 'cancel'],
        expiresAt: '2099-01-01T00:00:00Z',
        maxOpenOrders: 10,
        heartbeat: { seconds: 60, then: 'cancel' },
        alerts: {
          newAddress: { action: 'notify' },
          requestsPerMinute: { above: 2, action: 'notify' },
          expiring: { action: 'notify' },
        },
      }),
    ),
  )) as { apiKey: string; keyId: string }
  const own = unknownSecret('ck_live_', wallet.address)
  const granted = wallet.sign({
    action: 'create_api_key',
    keyName: 'own secret',
    permissions: [],
    keyHash: hashSecret(own),
  })
  for (const _ of ['created', 'sent again'])
    await call('/api-keys', '/api-keys', json(granted, { 'X-API-Key': own }))
  const key = { 'X-API-Key': apiKey }
  const first = wallet.order({
    targetPrice: '1.5',
    direction: 'lt',
    conditionToken: '*',
    baseAsset: INPUT_TOKEN,
    validFrom: '2026-01-01T00:00:00Z',
    validTo: '2099-01-01T00:00:00Z',
  })
  await call('/orders/new', '/orders/new', json(first, key))
  await call('/orders/new', '/orders/new', json(first, key))
  const second = wallet.order({ recipient: newWallet(service).address })
  const { message, signature } = wallet.sign({
    action: 'create_order',
    orderHash: orderHash(second),
  })
  await call(
    '/orders/new',
    '/orders/new',
    json({ ...second, message, messageSignature: signature }),
  )
  await call(`/orders/${first.uuid}/execute`, '/orders/{uuid}/execute', {
    method: 'POST',
    headers: key,
  })
  await call(`/orders/${second.uuid}/cancel`, '/orders/{uuid}/cancel', {
    method: 'PATCH',
    headers: key,
  })
  await call(`/orders/${first.uuid}`, '/orders/{uuid}')
  if (hasStreams) {
    const watch = (known: string) =>
      call(`/orders/${second.uuid}/events`, '/orders/{uuid}/events', {
        headers: { 'Last-Event-ID': known },
      })
    const events = String(await watch('0'))
    await watch([...events.matchAll(/^id: (\d+)$/gm)].at(-1)?.[1] ?? '')
  }
  await call(`/orders?owner=${wallet.address}&limit=1`, '/orders', { headers: key })
  const headers = wallet.signHeaders({ action: 'list_api_keys' })
  await call('/api-keys', '/api-keys', { headers })
  await call(`/api-keys/${keyId}`, '/api-keys/{keyId}', {
    headers: wallet.signHeaders({ action: 'get_api_key', keyId }),
  })
  await call(`/api-keys/${keyId}/usage?by=hour`, '/api-keys/{keyId}/usage', {
    headers: wallet.signHeaders({ action: 'get_api_key', keyId }),
  })
  await call('/me', '/me', { headers: key })
  await call('/heartbeat', '/heartbeat', { method: 'POST', headers: key })
  await call('/account', '/account', {
    headers: wallet.signHeaders({ action: 'get_account' }),
  })
  for (const [method, suffix, action, members] of [
    ['PATCH', '', 'update_api_key', { label: 'told' }],
    ['POST', '/rotate', 'rotate_api_key', { graceSeconds: 60 }],
    ['POST', '/suspend', 'suspend_api_key', {}],
    ['POST', '/resume', 'resume_api_key', {}],
    ['POST', '/revoke', 'revoke_api_key', { notAfter: service.clock.now + 1_000 }],
    ['DELETE', '', 'delete_api_key', {}],
  ] as const)
    await call(`/api-keys/${keyId}${suffix}`, `/api-keys/{keyId}${suffix}`, {
      ...json(wallet.sign({ action, keyId, ...members })),
      method,
    })
  const { secret } = await issueCredential(service)
  const asker = { 'X-Service-Credential': secret }
  const asked = await createKey(service, wallet, { permissions: ['read'] })
  const question = { apiKey: asked.apiKey, scope: 'read', cost: 2, ip: '203.0.113.50' }
  await call('/keys/verify', '/keys/verify', json(question, asker))
  for (const method of ['GET', 'POST'])
    await call('/auth/forward?scope=read&cost=2', '/auth/forward', {
      method,
      headers: { ...asker, 'X-API-Key': asked.apiKey },
    })
  const { session } = (await call(
    '/sessions',
    '/sessions',
    json(wallet.sign({ action: 'create_session', ttlSeconds: 60 })),
  )) as { session: string }
  const bearer = { headers: { Authorization: `Bearer ${session}` } }
  await call('/audit?limit=3', '/audit', bearer)
  await call('/usage?days=7', '/usage', bearer)
  if (hasStreams) {
    const watched = await service.call('/events', bearer)
    expect(watched.headers.get('Content-Type')).toBe('text/event-stream')
    await watched.body?.cancel()
    seen.add('get /api/v1/events 200')
  }
  await useWebhooks(service, wallet, bearer, call, hasStreams)
  await call('/sessions/self', '/sessions/self', { ...bearer, method: 'DELETE' })
  const last = await createKey(service, wallet)
  await call('/api-keys/self', '/api-keys/self', {
    method: 'DELETE',
    headers: { 'X-API-Key': last.apiKey },
  })
  await call(
    '/api-keys/revoke-all',
    '/api-keys/revoke-all',
    json(wallet.sign({ action: 'revoke_all_api_keys', cancelOpenOrders: true })),
  )
  return seen
}

type Call = (path: string, template: string, init?: RequestInit) => Promise<unknown>

/** Neither Workers nor distributed tables have webhooks: there they are only read. */
async function useWebhooks(
  service: Service,
  wallet: Wallet,
  bearer: RequestInit,
  call: Call,
  hasWebhooks: boolean,
): Promise<void> {
  await call('/webhooks', '/webhooks', bearer)
  await call('/notices?limit=2', '/notices', bearer)
  if (!hasWebhooks || service.world.distribution !== undefined) return
  const url = 'http://127.0.0.1:9/hook'
  const create = json(wallet.sign({ action: 'create_webhook', url, label: 'told' }))
  const { webhookId } = (await call('/webhooks', '/webhooks', create)) as { webhookId: string }
  for (const [method, suffix, action, members] of [
    ['PATCH', '', 'update_webhook', { events: ['order.failed'], enabled: true }],
    ['POST', '/rotate', 'rotate_webhook_secret', { overlapSeconds: 60 }],
    ['POST', '/test', 'test_webhook', {}],
    ['POST', '/replay', 'replay_webhook', {}],
  ] as const)
    await call(`/webhooks/${webhookId}${suffix}`, `/webhooks/{webhookId}${suffix}`, {
      ...json(wallet.sign({ action, webhookId, ...members })),
      method,
    })
  const waiting = `/webhooks/${webhookId}/deliveries?state=waiting&limit=1`
  await call(waiting, '/webhooks/{webhookId}/deliveries', bearer)
  await call('/webhooks', '/webhooks', bearer)
  await call('/notices', '/notices', bearer)
  await call(`/webhooks/${webhookId}`, '/webhooks/{webhookId}', {
    ...json(wallet.sign({ action: 'delete_webhook', webhookId })),
    method: 'DELETE',
  })
}
