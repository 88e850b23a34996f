/**
 * Every refusal of the service. The key is the reason that verbs return; `code` is the stable code for programs; `error`
 * is the text for people. Reasons are mapped to the wire here only.
 */
export const REFUSALS = {
  invalidRequest: { status: 400, code: 'INVALID_REQUEST', error: 'Invalid request' },
  bodyMissing: { status: 400, code: 'INVALID_REQUEST', error: 'Invalid request' },
  orderNotOpen: { status: 400, code: 'ORDER_NOT_OPEN', error: 'Order not open' },
  orderNotYetValid: { status: 400, code: 'ORDER_NOT_YET_VALID', error: 'Order not yet valid' },
  credentialsMissing: {
    status: 401,
    code: 'INVALID_API_KEY',
    error: 'API key or signature required',
  },
  signatureMissing: { status: 401, code: 'INVALID_SIGNATURE', error: 'Signature required' },
  apiKeyInvalid: { status: 401, code: 'INVALID_API_KEY', error: 'Invalid API key' },
  apiKeyInactive: { status: 401, code: 'API_KEY_INACTIVE', error: 'API key inactive' },
  signatureInvalid: { status: 401, code: 'INVALID_SIGNATURE', error: 'Invalid signature' },
  requestSignatureRequired: {
    status: 401,
    code: 'SIGNATURE_REQUIRED',
    error: 'API key only signs requests',
  },
  requestSignatureIncomplete: {
    status: 401,
    code: 'SIGNATURE_INCOMPLETE',
    error: 'Signature covers too little',
  },
  requestSignatureInvalid: {
    status: 401,
    code: 'INVALID_REQUEST_SIGNATURE',
    error: 'Invalid request signature',
  },
  requestSignatureExpired: {
    status: 401,
    code: 'EXPIRED_REQUEST_SIGNATURE',
    error: 'Request signature too old or ahead',
  },
  contentDigestMismatch: {
    status: 400,
    code: 'CONTENT_DIGEST_MISMATCH',
    error: 'Content-Digest is not of the content',
  },
  requestReplayed: {
    status: 409,
    code: 'REQUEST_REPLAYED',
    error: 'Signed request already used',
  },
  timestampExpired: { status: 401, code: 'EXPIRED_TIMESTAMP', error: 'Timestamp expired' },
  keyOfAnotherWallet: {
    status: 403,
    code: 'UNAUTHORIZED_WALLET',
    error: 'API key not authorized for this wallet',
  },
  orderOfAnotherWallet: {
    status: 403,
    code: 'UNAUTHORIZED_WALLET',
    error: 'Wallet not authorized for this order',
  },
  recipientNotGranted: {
    status: 403,
    code: 'UNAUTHORIZED_WALLET',
    error: 'Recipient not authorized by the owner',
  },
  limitExceeded: {
    status: 403,
    code: 'KEY_LIMIT_EXCEEDED',
    error: "Beyond the API key's limits",
  },
  settlementLimit: {
    status: 429,
    code: 'SETTLEMENT_LIMIT_EXCEEDED',
    error: 'Too many settlements of this wallet',
  },
  walletSuspended: { status: 403, code: 'WALLET_SUSPENDED', error: 'Wallet suspended' },
  permissionDenied: { status: 403, code: 'PERMISSION_DENIED', error: 'Permission denied' },
  ipNotAllowed: { status: 403, code: 'IP_NOT_ALLOWED', error: 'IP address not allowed' },
  serviceCredentialInvalid: {
    status: 401,
    code: 'INVALID_SERVICE_CREDENTIAL',
    error: 'Invalid or revoked service credential',
  },
  serviceScopeDenied: {
    status: 403,
    code: 'SERVICE_SCOPE_DENIED',
    error: 'Service credential not allowed to ask for this scope',
  },
  leakReportUnsigned: {
    status: 401,
    code: 'INVALID_SIGNATURE',
    error: 'Report not signed by a listed key',
  },
  sessionInvalid: { status: 401, code: 'INVALID_SESSION', error: 'Invalid or ended session' },
  keyNotFound: { status: 404, code: 'KEY_NOT_FOUND', error: 'API key not found' },
  orderNotFound: { status: 404, code: 'ORDER_NOT_FOUND', error: 'Order not found' },
  orderArchived: { status: 410, code: 'ORDER_ARCHIVED', error: 'Order archived' },
  webhookNotFound: { status: 404, code: 'WEBHOOK_NOT_FOUND', error: 'Webhook not found' },
  webhookUrlRefused: {
    status: 400,
    code: 'WEBHOOK_URL_REFUSED',
    error: 'Webhook address not allowed',
  },
  requestTimeout: {
    status: 408,
    code: 'REQUEST_TIMEOUT',
    error: 'Request took too long to arrive',
  },
  tokenNotFound: { status: 404, code: 'TOKEN_NOT_FOUND', error: 'Token not found' },
  routeNotFound: { status: 404, code: 'NOT_FOUND', error: 'Not found' },
  methodNotAllowed: { status: 405, code: 'METHOD_NOT_ALLOWED', error: 'Method not allowed' },
  messageReplayed: { status: 409, code: 'MESSAGE_REPLAYED', error: 'Message already used' },
  keyNotLive: { status: 409, code: 'KEY_NOT_LIVE', error: 'API key cannot be changed' },
  rotationInGrace: {
    status: 409,
    code: 'ROTATION_IN_GRACE',
    error: 'Previous secret still in its grace',
  },
  auditHeadUnknown: {
    status: 409,
    code: 'AUDIT_HEAD_UNKNOWN',
    error: 'Audit does not have the event that the message names',
  },
  secretInUse: { status: 409, code: 'SECRET_IN_USE', error: 'Secret already in use' },
  keyNameTaken: { status: 409, code: 'DUPLICATE_KEY_NAME', error: 'API key name already in use' },
  orderConflict: {
    status: 409,
    code: 'ORDER_CONFLICT',
    error: 'Another order has this uuid',
  },
  orderTampered: {
    status: 409,
    code: 'ORDER_TAMPERED',
    error: 'Order cannot be trusted',
  },
  keyLimitReached: { status: 409, code: 'KEY_LIMIT_REACHED', error: 'API key limit reached' },
  keyHistoryFull: {
    status: 409,
    code: 'KEY_HISTORY_FULL',
    error: 'Wallet has made as many API keys as it may',
  },
  sessionLimitReached: {
    status: 409,
    code: 'SESSION_LIMIT_REACHED',
    error: 'Session limit reached',
  },
  webhookLimitReached: {
    status: 409,
    code: 'WEBHOOK_LIMIT_REACHED',
    error: 'Webhook limit reached',
  },
  webhookDisabled: { status: 409, code: 'WEBHOOK_DISABLED', error: 'Webhook disabled' },
  webhookTampered: { status: 409, code: 'WEBHOOK_TAMPERED', error: 'Webhook cannot be trusted' },
  bodyTooLarge: { status: 413, code: 'BODY_TOO_LARGE', error: 'Request body too large' },
  unsupportedMedia: {
    status: 415,
    code: 'UNSUPPORTED_MEDIA_TYPE',
    error: 'Unsupported media type or coding',
  },
  headersTooLarge: {
    status: 431,
    code: 'HEADERS_TOO_LARGE',
    error: 'Request headers too large',
  },
  rateLimited: { status: 429, code: 'RATE_LIMIT_EXCEEDED', error: 'Rate limit exceeded' },
  tooManyStreams: { status: 429, code: 'TOO_MANY_STREAMS', error: 'Too many event streams' },
  eventsUnsupported: {
    status: 501,
    code: 'EVENTS_UNSUPPORTED',
    error: 'Event streams are not available here',
  },
  leakReportsOff: {
    status: 501,
    code: 'LEAK_REPORTS_OFF',
    error: 'Reports of leaked keys are not taken here',
  },
  webhooksOff: { status: 501, code: 'WEBHOOKS_OFF', error: 'Webhooks are not available here' },
  executionFailed: { status: 502, code: 'EXECUTION_FAILED', error: 'Execution failed' },
  unavailable: { status: 503, code: 'UNAVAILABLE', error: 'Service unavailable' },
  internal: { status: 500, code: 'INTERNAL', error: 'Internal error' },
} as const satisfies Record<string, { status: number; code: string; error: string }>

export type RefusalReason = keyof typeof REFUSALS

/** The stable code of an error response. */
export type ErrorCode = (typeof REFUSALS)[RefusalReason]['code']

/** What is wrong with a member of a request. */
type Issue = { path: string; message?: string | undefined }

/** A message to sign, or the value that a member of it must have. */
type Expected = Readonly<Record<string, unknown>>

/**
 * The facts of each refusal, by its code: what `refuse` takes, what `details` of a response holds, and what the errors of the SDK
 * declare. A response without facts has no `details`, and a later release may add members.
 */
export type RefusalDetails = {
  INVALID_REQUEST: {
    problem?: string
    issues?: readonly Issue[]
    expected?: Expected
    serverTime?: number
    [more: string]: unknown
  }
  ORDER_NOT_OPEN: { status: string | null; txid?: string }
  ORDER_NOT_YET_VALID: { validFrom: string; serverTime: number }
  INVALID_API_KEY: { problem?: string; expected?: Expected }
  API_KEY_INACTIVE: { reason: string | null }
  INVALID_SIGNATURE: {
    reason?: string
    problem?: string
    expected?: Expected | string | null
    headers?: readonly string[]
    field?: string
    publicKey?: string
    [more: string]: unknown
  }
  SIGNATURE_REQUIRED: NoDetails
  SIGNATURE_INCOMPLETE: {
    problem: string
    missing: readonly string[]
    components: readonly string[]
    parameters: readonly string[]
  }
  INVALID_REQUEST_SIGNATURE: { reason: string; problem: string; authority?: string }
  EXPIRED_REQUEST_SIGNATURE: {
    reason: string
    created: number
    serverTime: number
    maxAgeSeconds: number
  }
  CONTENT_DIGEST_MISMATCH: { algorithm: string }
  REQUEST_REPLAYED: NoDetails
  EXPIRED_TIMESTAMP: { reason: string; timestamp: number; serverTime: number }
  UNAUTHORIZED_WALLET: {
    apiKeyWallet?: string
    orderOwner?: string
    orderUuid?: string
    recipient?: string
    expected?: Expected
  }
  KEY_LIMIT_EXCEEDED: {
    limit: string
    value: unknown
    allowed: unknown
    left?: string
    resetsAt?: string
  }
  SETTLEMENT_LIMIT_EXCEEDED: { limit: 'settling' | 'failed'; allowed: number }
  WALLET_SUSPENDED: NoDetails
  PERMISSION_DENIED: { required: string; granted: readonly string[] }
  IP_NOT_ALLOWED: { observedIp: string | null }
  INVALID_SESSION: { reason?: string }
  INVALID_SERVICE_CREDENTIAL: { problem?: string }
  SERVICE_SCOPE_DENIED: { required: string; granted: readonly string[] }
  KEY_NOT_FOUND: NoDetails
  ORDER_NOT_FOUND: NoDetails
  REQUEST_TIMEOUT: NoDetails
  TOKEN_NOT_FOUND: NoDetails
  NOT_FOUND: NoDetails
  METHOD_NOT_ALLOWED: { allow: readonly string[] }
  MESSAGE_REPLAYED: NoDetails
  KEY_NOT_LIVE: { reason: string }
  ROTATION_IN_GRACE: { previousUntil: string }
  AUDIT_HEAD_UNKNOWN: { reason: string; auditHead: { sequence: number; hash: string } }
  SECRET_IN_USE: NoDetails
  DUPLICATE_KEY_NAME: { keyName: string }
  ORDER_CONFLICT: NoDetails
  ORDER_ARCHIVED: { archive: number }
  ORDER_TAMPERED: { reason: string }
  KEY_LIMIT_REACHED: { limit: number }
  KEY_HISTORY_FULL: { limit: number }
  SESSION_LIMIT_REACHED: { limit: number; until?: string }
  WEBHOOK_NOT_FOUND: NoDetails
  WEBHOOK_URL_REFUSED: { reason: string }
  WEBHOOK_LIMIT_REACHED: { limit: number }
  WEBHOOK_DISABLED: { reason: string }
  WEBHOOK_TAMPERED: NoDetails
  WEBHOOKS_OFF: { reason: string }
  BODY_TOO_LARGE: { maxBytes: number }
  UNSUPPORTED_MEDIA_TYPE: { problem: string; accept: string; supported: readonly string[] }
  HEADERS_TOO_LARGE: { maxBytes?: number }
  RATE_LIMIT_EXCEEDED: { retryAfterSeconds: number }
  TOO_MANY_STREAMS: { most: number }
  EVENTS_UNSUPPORTED: NoDetails
  LEAK_REPORTS_OFF: NoDetails
  EXECUTION_FAILED: {
    reason: string
    token?: string
    amountIn?: string
    amountOut?: string
    balance?: string
    minAmountOut?: string
    minimumReceived?: string
    targetPrice?: string | null
    direction?: string | null
  }
  UNAVAILABLE: { reason?: string; [more: string]: unknown }
  INTERNAL: NoDetails
}

type NoDetails = Readonly<Record<string, never>>

/** The facts of a refusal, by its reason. */
export type DetailsOfReason<Reason extends RefusalReason> =
  RefusalDetails[(typeof REFUSALS)[Reason]['code']]

/** The body of every error response. */
export interface ErrorBody {
  error: string
  code: ErrorCode
  /** Facts for the caller; the members depend on `code`. */
  details?: Record<string, unknown>
  /** ISO 8601. */
  timestamp: string
  requestId: string
}
