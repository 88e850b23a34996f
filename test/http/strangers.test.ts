import { afterAll, beforeAll, describe } from 'vitest'
import { orderHash } from '../../src/orders/validate.ts'
import { answered } from '../support/assertions.ts'
import { EVERYWHERE, type Service } from '../support/service.ts'
import {
  besideOrder,
  inBody,
  inHeaders,
  type ProtectedRoute,
  refusesStrangers,
} from '../support/strangers.ts'
import { createKey, createOrder, fund, json, newWallet } from '../support/wallet.ts'
import { startService } from './documented.ts'

const DAY = 86_400_000
const HOOK = 'http://127.0.0.1:9/hook'

/** Workers refuse them. */
const changesOfWebhooks: readonly ProtectedRoute[] = [
  {
    title: 'POST /webhooks',
    method: 'POST',
    withoutCredentials: 'signatureMissing',
    signed: { carry: inBody, again: 'messageReplayed' },
    async arrange() {
      return { path: '/webhooks', message: { action: 'create_webhook', url: HOOK } }
    },
  },
  ...(
    [
      ['PATCH', '', 'update_webhook', { enabled: true }],
      ['POST', '/rotate', 'rotate_webhook_secret', { overlapSeconds: 60 }],
      ['POST', '/test', 'test_webhook', {}],
      ['POST', '/replay', 'replay_webhook', {}],
    ] as const
  ).map(
    ([method, suffix, action, members]): ProtectedRoute => ({
      title: `${method} /webhooks/{webhookId}${suffix}`,
      method,
      withoutCredentials: 'signatureMissing',
      signed: { carry: inBody, ofAnotherWallet: 'webhookNotFound', again: 'messageReplayed' },
      async arrange(service, owner) {
        const create = json(owner.sign({ action: 'create_webhook', url: HOOK }))
        const { webhookId } = await answered(await service.call('/webhooks', create), 201)
        return {
          path: `/webhooks/${webhookId}${suffix}`,
          message: { action, webhookId, ...members },
        }
      },
    }),
  ),
]

const routes: readonly ProtectedRoute[] = [
  {
    title: 'POST /api-keys',
    method: 'POST',
    withoutCredentials: 'signatureMissing',
    signed: { carry: inBody, again: 'messageReplayed' },
    async arrange() {
      const message = { action: 'create_api_key', keyName: 'bot', permissions: ['execute'] }
      return { path: '/api-keys', message }
    },
  },
  {
    title: 'GET /api-keys',
    method: 'GET',
    withoutCredentials: 'signatureMissing',
    session: {},
    signed: { carry: inHeaders },
    async arrange() {
      return { path: '/api-keys', message: { action: 'list_api_keys' } }
    },
  },
  {
    title: 'GET /api-keys/{keyId}',
    method: 'GET',
    withoutCredentials: 'signatureMissing',
    session: { ofAnotherWallet: 'keyNotFound' },
    signed: { carry: inHeaders, ofAnotherWallet: 'keyNotFound' },
    async arrange(service, owner) {
      const { keyId } = await createKey(service, owner)
      return { path: `/api-keys/${keyId}`, message: { action: 'get_api_key', keyId } }
    },
  },
  {
    title: 'GET /api-keys/{keyId}/usage',
    method: 'GET',
    withoutCredentials: 'signatureMissing',
    session: { ofAnotherWallet: 'keyNotFound' },
    signed: { carry: inHeaders, ofAnotherWallet: 'keyNotFound' },
    async arrange(service, owner) {
      const { keyId } = await createKey(service, owner)
      return { path: `/api-keys/${keyId}/usage`, message: { action: 'get_api_key', keyId } }
    },
  },
  {
    title: 'DELETE /api-keys/self',
    method: 'DELETE',
    withoutCredentials: 'apiKeyInvalid',
    key: { isUncounted: true },
    async arrange() {
      return { path: '/api-keys/self' }
    },
  },
  {
    title: 'POST /api-keys/{keyId}/revoke with a certificate',
    method: 'POST',
    withoutCredentials: 'signatureMissing',
    signed: {
      carry: inBody,
      ofAnotherWallet: 'keyNotFound',
      again: 'messageReplayed',
      untimely: (now) => [
        [{ notAfter: now - 1 }, 'stale'],
        [{ timestamp: now - 400 * DAY, notAfter: now - 399 * DAY }, 'stale'],
        [{ notAfter: now + 366 * DAY + 1 }, 'stale'],
        [{ timestamp: now + 60_001, notAfter: now + DAY }, 'future'],
      ],
    },
    async arrange(service, owner) {
      const { keyId } = await createKey(service, owner)
      const notAfter = service.clock.now + 365 * DAY
      const message = { action: 'revoke_api_key', keyId, notAfter }
      return { path: `/api-keys/${keyId}/revoke`, message }
    },
  },
  {
    title: 'DELETE /api-keys/{keyId}',
    method: 'DELETE',
    withoutCredentials: 'signatureMissing',
    signed: { carry: inBody, ofAnotherWallet: 'keyNotFound', again: 'messageReplayed' },
    async arrange(service, owner) {
      const { keyId } = await createKey(service, owner)
      return { path: `/api-keys/${keyId}`, message: { action: 'delete_api_key', keyId } }
    },
  },
  ...(
    [
      ['PATCH', '', 'update_api_key', { keyName: 'renamed' }],
      ['POST', '/rotate', 'rotate_api_key', { graceSeconds: 60 }],
      ['POST', '/suspend', 'suspend_api_key', {}],
      ['POST', '/resume', 'resume_api_key', {}],
    ] as const
  ).map(
    ([method, suffix, action, members]): ProtectedRoute => ({
      title: `${method} /api-keys/{keyId}${suffix}`,
      method,
      withoutCredentials: 'signatureMissing',
      signed: { carry: inBody, ofAnotherWallet: 'keyNotFound', again: 'messageReplayed' },
      async arrange(service, owner) {
        const { keyId } = await createKey(service, owner)
        return { path: `/api-keys/${keyId}${suffix}`, message: { action, keyId, ...members } }
      },
    }),
  ),
  {
    title: 'POST /api-keys/revoke-all',
    method: 'POST',
    withoutCredentials: 'signatureMissing',
    signed: { carry: inBody, again: 'messageReplayed' },
    async arrange() {
      const message = { action: 'revoke_all_api_keys', cancelOpenOrders: true }
      return { path: '/api-keys/revoke-all', message }
    },
  },
  {
    title: 'POST /sessions',
    method: 'POST',
    withoutCredentials: 'signatureMissing',
    signed: { carry: inBody, again: 'messageReplayed' },
    async arrange() {
      return { path: '/sessions', message: { action: 'create_session', ttlSeconds: 60 } }
    },
  },
  {
    title: 'DELETE /sessions/self',
    method: 'DELETE',
    withoutCredentials: 'sessionInvalid',
    session: {},
    async arrange() {
      return { path: '/sessions/self' }
    },
  },
  ...(
    [
      ['/webhooks', 'list_webhooks'],
      ['/notices', 'list_notices'],
    ] as const
  ).map(
    ([path, action]): ProtectedRoute => ({
      title: `GET ${path}`,
      method: 'GET',
      withoutCredentials: 'signatureMissing',
      session: {},
      signed: { carry: inHeaders },
      async arrange() {
        return { path, message: { action } }
      },
    }),
  ),
  {
    title: 'GET /audit',
    method: 'GET',
    withoutCredentials: 'signatureMissing',
    session: {},
    signed: { carry: inHeaders },
    async arrange() {
      return { path: '/audit', message: { action: 'list_audit' } }
    },
  },
  {
    title: 'GET /me',
    method: 'GET',
    withoutCredentials: 'apiKeyInvalid',
    key: {},
    async arrange() {
      return { path: '/me' }
    },
  },
  {
    title: 'POST /orders/new with a key',
    method: 'POST',
    key: { scope: 'create', ofAnotherWallet: 'keyOfAnotherWallet' },
    async arrange(_, owner) {
      return { path: '/orders/new', body: owner.order() }
    },
  },
  {
    title: 'POST /orders/new for another recipient',
    method: 'POST',
    withoutCredentials: 'recipientNotGranted',
    signed: { carry: besideOrder },
    async arrange(service, owner) {
      const body = owner.order({ recipient: newWallet(service).address })
      return {
        path: '/orders/new',
        body,
        message: { action: 'create_order', orderHash: orderHash(body) },
      }
    },
  },
  {
    title: 'POST /orders/{uuid}/execute',
    method: 'POST',
    withoutCredentials: 'credentialsMissing',
    key: { scope: 'execute', ofAnotherWallet: 'keyOfAnotherWallet' },
    signed: { carry: inBody, ofAnotherWallet: 'orderOfAnotherWallet', again: 'messageReplayed' },
    async arrange(service, owner) {
      await fund(service, owner)
      const uuid = await createOrder(service, owner)
      return { path: `/orders/${uuid}/execute`, message: { action: 'execute_order', uuid } }
    },
  },
  {
    title: 'PATCH /orders/{uuid}/cancel',
    method: 'PATCH',
    withoutCredentials: 'credentialsMissing',
    key: { scope: 'cancel', ofAnotherWallet: 'keyOfAnotherWallet' },
    signed: { carry: inBody, ofAnotherWallet: 'orderOfAnotherWallet', again: 'messageReplayed' },
    async arrange(service, owner) {
      const uuid = await createOrder(service, owner)
      return { path: `/orders/${uuid}/cancel`, message: { action: 'cancel_order', uuid } }
    },
  },
  {
    title: 'GET /orders as the owner',
    method: 'GET',
    key: {},
    session: {},
    signed: { carry: inHeaders },
    async arrange() {
      return { path: '/orders', message: { action: 'list_orders' } }
    },
  },
]

describe.each(EVERYWHERE)('Strangers on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
  })
  afterAll(() => service.close())
  for (const route of [...routes, ...(engine === 'workerd' ? [] : changesOfWebhooks)])
    refusesStrangers(route, () => service)
})
