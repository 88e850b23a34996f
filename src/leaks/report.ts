import { sha256, toHex } from '../crypto/bytes.ts'
import { revokeSelf } from '../keys/revoke.ts'
import {
  findSecrets,
  type KeyHash,
  parseSecret,
  SERVICE_PREFIX,
  type Secret,
  shardOf,
} from '../keys/secret.ts'
import type { KeyServices } from '../keys/services.ts'
import { announce } from '../notices/announce.ts'
import { revokeLeakedCredential } from '../service-credentials/manage.ts'
import type { LeakReport, LeakVerdict } from './schemas.ts'

type Services = KeyServices & {
  hashSecret(secret: Secret): KeyHash
}

/**
 * Revokes the key of each secret that was found in public. Who finds a secret holds it, and who holds it may revoke its key:
 * this is that act, with the place of the find in the audit, and a notice for its owner. Resolves to a verdict for each, in the order of the reports. A
 * secret that ended before is a true find, of which nothing is left to do.
 */
export async function revokeLeaked(
  services: Services,
  reports: readonly LeakReport[],
  now: number,
): Promise<LeakVerdict[]> {
  const verdicts: LeakVerdict[] = []
  for (const { token, type, url, source } of reports) {
    const [place, where] = [url, source].map((text) => withoutSecrets(services, text))
    const details = { reason: 'leaked', url: place ?? '', source: where ?? '' }
    const found = await revokeOne(services, token, details, now)
    const label = found ? 'true_positive' : 'false_positive'
    verdicts.push({ token_hash: toHex(sha256(token)), token_type: type, label })
  }
  return verdicts
}

async function revokeService(
  services: Services,
  secret: Secret,
  details: Record<string, string>,
  now: number,
): Promise<boolean> {
  const hash = services.hashSecret(secret)
  const revoked = await revokeLeakedCredential(services, hash, details, now)
  if (!revoked.ok) return false
  const { credentialId, isNew } = revoked.value
  if (isNew) services.log('warn', 'service_credential_leaked', { credentialId, url: details.url })
  return true
}

/** A text that is logged and kept in the audit. The address of a find can have the secret in it, as that of a search does. */
function withoutSecrets({ config }: Services, text: string): string {
  let rest = text
  for (const prefix of [config.KEY_PREFIX, SERVICE_PREFIX])
    for (const { secret } of findSecrets(prefix, rest))
      rest = rest.replaceAll(secret, `${prefix}...`)
  return rest
}

/** Whether a token is, or was, the secret of a key or of a service credential. */
async function revokeOne(
  services: Services,
  token: string,
  details: Record<string, string>,
  now: number,
): Promise<boolean> {
  const { KEY_PREFIX } = services.config
  const credential = parseSecret(SERVICE_PREFIX, token)
  if (credential !== undefined) return revokeService(services, credential, details, now)
  const secret = parseSecret(KEY_PREFIX, token)
  if (secret === undefined) return false
  const presented = { hash: services.hashSecret(secret), shard: shardOf(KEY_PREFIX, secret) }
  const revoked = await revokeSelf(services, presented, now, {
    details,
    inTransaction: (tx, of) => announce(tx, { ...of, type: 'key.leaked', data: details, at: now }),
  })
  if (revoked.ok) {
    const { keyId, walletAddress } = revoked.value
    services.log('warn', 'api_key_leaked', { keyId, walletAddress, url: details.url })
  }
  return revoked.ok || revoked.reason === 'apiKeyInactive'
}
