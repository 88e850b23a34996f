import type { Permission } from '../keys/scope.ts'

/** Of a secret: 256 bits. */
export const SERVICE_SECRET_BYTES = 32
/** Requests a minute that a credential may be given, at most. */
export const MAX_SERVICE_RATE = 1_000_000

/** A service credential as its row says it is. Times are milliseconds since 1970, hashes are hex. */
export interface CredentialRow {
  id: string
  secretHash: string
  name: string
  scopes: Permission[]
  rateLimit: number
  createdAt: number
  revokedAt: number | null
}

/** A service credential as the operator sees it. Times are milliseconds since 1970. */
export interface ListedCredential extends Omit<CredentialRow, 'secretHash'> {
  preview: string
  totalRequests: number
  lastUsedAt: number | null
}

/** An authenticated service. */
export interface CallingService {
  credentialId: string
  name: string
  /** What it may ask for. */
  scopes: readonly Permission[]
}

/** The text that the `mac` of a credential covers. */
export function credentialText(row: CredentialRow): string {
  return JSON.stringify([
    'service credential 1',
    row.id,
    row.secretHash,
    row.name,
    row.scopes,
    row.rateLimit,
    row.createdAt,
    row.revokedAt,
  ])
}
