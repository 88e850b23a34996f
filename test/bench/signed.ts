import { createPrivateKey, createPublicKey, randomUUID, sign } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { readEncryptionKeys } from '../../src/crypto/keys.ts'
import type { Database } from '../../src/db/database.ts'
import { openNativeMac } from '../../src/node/crypto.ts'
import { signatureBase } from '../../src/signed-requests/base.ts'
import { writeMacs } from '../support/remac.ts'
import { ENCRYPTION_KEY, idOf } from './keys.ts'

/** One key pair signs for all keys: what it costs to verify does not depend on it. */
const PREFIX_OF_PKCS8 = '302e020100300506032b657004220420'
const PRIVATE_KEY = createPrivateKey({
  key: Buffer.concat([Buffer.from(PREFIX_OF_PKCS8, 'hex'), Buffer.alloc(32, 'bench signs')]),
  format: 'der',
  type: 'pkcs8',
})
const COMPONENTS = ['@method', '@authority', '@path', '@query']
const HOST = '127.0.0.1'

/** Takes all keys of a database from secrets to signatures. */
export async function makeKeysSign(db: Database): Promise<void> {
  const { x } = createPublicKey(PRIVATE_KEY).export({ format: 'jwk' })
  const publicKey = JSON.stringify({ alg: 'ed25519', key: x })
  await db.execute(sql`UPDATE api_keys SET public_key = ${publicKey}::text::jsonb`)
  await writeMacs(db, openNativeMac(readEncryptionKeys(ENCRYPTION_KEY)), sql`true`)
}

/** Requests that are signed ahead, with keys at random. */
export function signedGets(path: string, keys: number, count: number): Buffer[] {
  const ids = Array.from({ length: keys }, (_, n) => idOf(n))
  const created = Math.floor(Date.now() / 1000)
  const list = COMPONENTS.map((name) => `"${name}"`).join(' ')
  const target = { method: 'GET', authority: HOST, path, query: '?' }
  return Array.from({ length: count }, () => {
    const keyId = ids[Math.floor(Math.random() * keys)]
    const parameters = `(${list});created=${created};nonce="${randomUUID()}";keyid="${keyId}";alg="ed25519";tag="latchkey"`
    const base = signatureBase(COMPONENTS, parameters, target, () => undefined)
    if (!base.ok) throw new Error(base.reason)
    const signature = sign(null, Buffer.from(base.value), PRIVATE_KEY).toString('base64')
    return Buffer.from(
      `GET ${path} HTTP/1.1\r\nHost: ${HOST}\r\nSignature-Input: sig=${parameters}\r\nSignature: sig=:${signature}:\r\n\r\n`,
    )
  })
}
