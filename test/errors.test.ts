import { describe, expect, it } from 'vitest'
import { REFUSALS } from '../src/errors.ts'

/** The contract: what clients, written before today, rely on. */
const CONTRACT: Record<string, [number, string]> = {
  'Invalid request': [400, 'INVALID_REQUEST'],
  'Order not open': [400, 'ORDER_NOT_OPEN'],
  'Order not yet valid': [400, 'ORDER_NOT_YET_VALID'],
  'API key or signature required': [401, 'INVALID_API_KEY'],
  'Signature required': [401, 'INVALID_SIGNATURE'],
  'Invalid API key': [401, 'INVALID_API_KEY'],
  'API key inactive': [401, 'API_KEY_INACTIVE'],
  'API key only signs requests': [401, 'SIGNATURE_REQUIRED'],
  'Signature covers too little': [401, 'SIGNATURE_INCOMPLETE'],
  'Invalid request signature': [401, 'INVALID_REQUEST_SIGNATURE'],
  'Request signature too old or ahead': [401, 'EXPIRED_REQUEST_SIGNATURE'],
  'Content-Digest is not of the content': [400, 'CONTENT_DIGEST_MISMATCH'],
  'Signed request already used': [409, 'REQUEST_REPLAYED'],
  'Invalid signature': [401, 'INVALID_SIGNATURE'],
  'Timestamp expired': [401, 'EXPIRED_TIMESTAMP'],
  'API key not authorized for this wallet': [403, 'UNAUTHORIZED_WALLET'],
  'Wallet not authorized for this order': [403, 'UNAUTHORIZED_WALLET'],
  'Recipient not authorized by the owner': [403, 'UNAUTHORIZED_WALLET'],
  'Event streams are not available here': [501, 'EVENTS_UNSUPPORTED'],
  'Reports of leaked keys are not taken here': [501, 'LEAK_REPORTS_OFF'],
  'Report not signed by a listed key': [401, 'INVALID_SIGNATURE'],
  'Too many event streams': [429, 'TOO_MANY_STREAMS'],
  "Beyond the API key's limits": [403, 'KEY_LIMIT_EXCEEDED'],
  'Wallet suspended': [403, 'WALLET_SUSPENDED'],
  'Permission denied': [403, 'PERMISSION_DENIED'],
  'IP address not allowed': [403, 'IP_NOT_ALLOWED'],
  'Invalid or ended session': [401, 'INVALID_SESSION'],
  'Invalid or revoked service credential': [401, 'INVALID_SERVICE_CREDENTIAL'],
  'Service credential not allowed to ask for this scope': [403, 'SERVICE_SCOPE_DENIED'],
  'API key not found': [404, 'KEY_NOT_FOUND'],
  'Order not found': [404, 'ORDER_NOT_FOUND'],
  'Order archived': [410, 'ORDER_ARCHIVED'],
  'Token not found': [404, 'TOKEN_NOT_FOUND'],
  'Not found': [404, 'NOT_FOUND'],
  'Method not allowed': [405, 'METHOD_NOT_ALLOWED'],
  'Message already used': [409, 'MESSAGE_REPLAYED'],
  'API key cannot be changed': [409, 'KEY_NOT_LIVE'],
  'Audit does not have the event that the message names': [409, 'AUDIT_HEAD_UNKNOWN'],
  'Previous secret still in its grace': [409, 'ROTATION_IN_GRACE'],
  'Order cannot be trusted': [409, 'ORDER_TAMPERED'],
  'Too many settlements of this wallet': [429, 'SETTLEMENT_LIMIT_EXCEEDED'],
  'Secret already in use': [409, 'SECRET_IN_USE'],
  'API key name already in use': [409, 'DUPLICATE_KEY_NAME'],
  'Another order has this uuid': [409, 'ORDER_CONFLICT'],
  'API key limit reached': [409, 'KEY_LIMIT_REACHED'],
  'Wallet has made as many API keys as it may': [409, 'KEY_HISTORY_FULL'],
  'Session limit reached': [409, 'SESSION_LIMIT_REACHED'],
  'Webhook limit reached': [409, 'WEBHOOK_LIMIT_REACHED'],
  'Webhook disabled': [409, 'WEBHOOK_DISABLED'],
  'Webhook cannot be trusted': [409, 'WEBHOOK_TAMPERED'],
  'Webhook not found': [404, 'WEBHOOK_NOT_FOUND'],
  'Webhook address not allowed': [400, 'WEBHOOK_URL_REFUSED'],
  'Webhooks are not available here': [501, 'WEBHOOKS_OFF'],
  'Request body too large': [413, 'BODY_TOO_LARGE'],
  'Request headers too large': [431, 'HEADERS_TOO_LARGE'],
  'Request took too long to arrive': [408, 'REQUEST_TIMEOUT'],
  'Unsupported media type or coding': [415, 'UNSUPPORTED_MEDIA_TYPE'],
  'Rate limit exceeded': [429, 'RATE_LIMIT_EXCEEDED'],
  'Execution failed': [502, 'EXECUTION_FAILED'],
  'Service unavailable': [503, 'UNAVAILABLE'],
  'Internal error': [500, 'INTERNAL'],
}

describe('The refusals', () => {
  it('are those of the contract, word for word', () => {
    const refusals = Object.values(REFUSALS).map(({ status, code, error }) => [
      error,
      [status, code],
    ])
    expect(Object.fromEntries(refusals)).toEqual(CONTRACT)
  })

  it('give each code one status', () => {
    const statuses = Map.groupBy(Object.values(REFUSALS), ({ code }) => code)
    for (const [code, those] of statuses)
      expect(new Set(those.map(({ status }) => status)).size, code).toBe(1)
  })
})
