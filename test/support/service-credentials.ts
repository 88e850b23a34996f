import { randomBytes } from 'node:crypto'
import {
  hashSecret,
  makeUnshardedSecret,
  previewOf,
  SERVICE_PREFIX,
  type Secret,
} from '../../src/keys/secret.ts'
import { SERVICE_SECRET_BYTES } from '../../src/service-credentials/credential.ts'
import { createCredential, type NewCredential } from '../../src/service-credentials/manage.ts'
import type { Service } from './service.ts'

/** A service credential that no service has. */
export function unknownCredential(): Secret {
  return makeUnshardedSecret(SERVICE_PREFIX, randomBytes(SERVICE_SECRET_BYTES))
}

/** Issues a service credential, as latchkey-admin does, and answers its secret and id. */
export async function issueCredential(
  { world }: Pick<Service, 'world'>,
  given: Partial<NewCredential> = {},
): Promise<{ secret: Secret; credentialId: string }> {
  const secret = unknownCredential()
  const made = await createCredential(
    world,
    {
      name: 'a backend',
      scopes: ['create', 'execute', 'cancel', 'read'],
      rateLimit: 100_000,
      ...given,
      secretHash: hashSecret(secret),
      preview: previewOf(SERVICE_PREFIX, secret),
    },
    world.now(),
  )
  if (!made.ok) throw new Error(`no credential: ${JSON.stringify(made.details)}`)
  return { secret, credentialId: made.value.credentialId }
}
