import { SignedBody, SignedHeaders } from '../actions/schemas.ts'
import { answer } from '../http/answer.ts'
import { passByAddress, signedBody, signedHeaders } from '../http/authenticate.ts'
import type { AppContext } from '../http/context.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { unwrap } from '../http/problem.ts'
import { refuse } from '../result.ts'
import { createKey } from './create.ts'
import { getKey, listKeys } from './find.ts'
import { revokeKey } from './revoke.ts'
import * as wire from './schemas.ts'

const CREATE = {
  schema: wire.CreateApiKey,
  example: {
    action: 'create_api_key',
    keyName: 'My Trading Bot',
    permissions: ['create', 'execute', 'cancel'],
  },
}
const LIST = { schema: wire.ListApiKeys, example: { action: 'list_api_keys' } }
const get = (keyId: string) => ({
  schema: wire.GetApiKey,
  example: { action: 'get_api_key', keyId },
})
const remove = (keyId: string) => ({
  schema: wire.DeleteApiKey,
  example: { action: 'delete_api_key', keyId },
})

const signatureRefusals = [
  'invalidRequest',
  'signatureMissing',
  'signatureInvalid',
  'timestampExpired',
] as const

export const keyEndpoints: readonly Endpoint[] = [
  {
    method: 'post',
    path: '/api-keys',
    operationId: 'createApiKey',
    summary: 'Create an API key',
    description:
      'The wallet signs a create_api_key message. The secret is in this answer and nowhere else.',
    credentials: ['wallet'],
    body: { schema: SignedBody },
    messages: [wire.CreateApiKey],
    answers: { 201: { description: 'The key and its secret', schema: wire.CreatedKeySchema } },
    refusals: [
      ...signatureRefusals,
      'messageReplayed',
      'keyNameTaken',
      'keyLimitReached',
      'bodyTooLarge',
    ],
    async handle(c) {
      passByAddress(c)
      const action = await signedBody(c, CREATE)
      return answer(c, unwrap(await createKey(c.get('world'), action, c.get('now'))), 201)
    },
  },
  {
    method: 'get',
    path: '/api-keys',
    operationId: 'listApiKeys',
    summary: "List a wallet's API keys",
    description: 'Newest first, revoked ones included. Never a secret.',
    credentials: ['wallet'],
    headers: SignedHeaders,
    messages: [wire.ListApiKeys],
    answers: { 200: { description: 'The keys', schema: wire.KeyListAnswer } },
    refusals: signatureRefusals,
    async handle(c) {
      passByAddress(c)
      const { walletAddress } = signedHeaders(c, LIST)
      const apiKeys = await listKeys(c.get('world'), walletAddress, c.get('now'))
      return answer(c, { status: 'success', apiKeys })
    },
  },
  {
    method: 'get',
    path: '/api-keys/{keyId}',
    operationId: 'getApiKey',
    summary: 'Show one API key and its usage',
    credentials: ['wallet'],
    params: wire.KeyParams,
    headers: SignedHeaders,
    messages: [wire.GetApiKey],
    answers: { 200: { description: 'The key', schema: wire.KeyAnswer } },
    refusals: [...signatureRefusals, 'keyNotFound'],
    async handle(c) {
      passByAddress(c)
      const { walletAddress, members } = signedHeaders(c, get(keyIdOf(c)))
      requireSameKey(c, members.keyId)
      const apiKey = unwrap(
        await getKey(c.get('world'), walletAddress, members.keyId, c.get('now')),
      )
      return answer(c, { status: 'success', apiKey })
    },
  },
  {
    method: 'delete',
    path: '/api-keys/{keyId}',
    operationId: 'deleteApiKey',
    summary: 'Revoke an API key',
    description: 'Once this has answered, no process accepts the key again.',
    credentials: ['wallet'],
    params: wire.KeyParams,
    body: { schema: SignedBody },
    messages: [wire.DeleteApiKey],
    answers: { 200: { description: 'The key is revoked', schema: wire.RevokedAnswer } },
    refusals: [...signatureRefusals, 'keyNotFound', 'messageReplayed', 'bodyTooLarge'],
    async handle(c) {
      passByAddress(c)
      const action = await signedBody(c, remove(keyIdOf(c)))
      requireSameKey(c, action.members.keyId)
      const { name } = unwrap(await revokeKey(c.get('world'), action, c.get('now')))
      return answer(c, { status: 'success', message: `API key '${name}' has been revoked` })
    },
  },
]

/** What is no key id is not repeated in the answer: it may be a secret that strayed into the path. */
function keyIdOf(c: AppContext): string {
  return wire.KeyId.safeParse(c.req.param('keyId')).data ?? ''
}

/** A signature for one key must not act on another. */
function requireSameKey(c: AppContext, signedKeyId: string): void {
  if (signedKeyId !== keyIdOf(c))
    unwrap(refuse('invalidRequest', { problem: 'the signed keyId is not the one in the path' }))
}
