import { sql } from 'drizzle-orm'
import { fromHex } from '../crypto/bytes.ts'
import { verifyEd25519 } from '../crypto/ed25519.ts'
import type { Encryption } from '../crypto/encryption.ts'
import { verifyHmacSha256 } from '../crypto/hmac.ts'
import type { Mac } from '../crypto/mac.ts'
import type { Database } from '../db/database.ts'
import { walletShard } from '../db/shard.ts'
import { statement } from '../db/statement.ts'
import { macKeyLabel } from '../keys/mac-key.ts'
import { type RightsValues, readRights, rightsText } from '../keys/rights.ts'
import type { KeyHash } from '../keys/secret.ts'
import { RIGHTS } from '../keys/terms-sql.ts'
import type { SignatureAlgorithm } from './base.ts'
import { hasLengthOf, type SignedRequest } from './read.ts'

/** What verifies signatures of a key: its public key, or the MAC key of one of its secrets. */
interface Verifier {
  /** The hash that the gate finds the key by: of a secret, or of the message that named the public key. */
  hash: KeyHash
  algorithm: SignatureAlgorithm
  verify(signed: SignedRequest): Promise<boolean> | boolean
}

/** A key as far as its signatures concern. */
export interface KnownSigner {
  shard: number
  verifiers: readonly Verifier[]
  /** Whether the row is not what its MAC is of. */
  isTampered: boolean
  /** When it was read again for a signature that it did not verify, in milliseconds since 1970; undefined where it never was. */
  rereadAt: number | undefined
}

/** Signers by the ids of their keys. */
export interface Signers {
  find(keyId: string): KnownSigner | undefined
  /** Reads a key and remembers it, and when it was read again; undefined where there is none. */
  read(db: Database, keyId: string, rereadAt: number | undefined): Promise<KnownSigner | undefined>
}

/** About 5 MB. */
const MAX_SIGNERS = 10_000

/**
 * Opens a memory of signers. It decides nothing: whatever it verifies, the gate's statement reads the key's row by the hash of the verifier.
 * A rotation and a change of the public key give the row another hash, so that what is remembered of a replaced one leads to no key;
 * suspension, revocation and expiry are read by that statement as for every request.
 */
export function openSigners({ mac, encryption }: { mac: Mac; encryption: Encryption }): Signers {
  const signers = new Map<string, KnownSigner>()
  return {
    find: (keyId) => signers.get(keyId),
    async read(db, keyId, rereadAt) {
      const [row] = await signerOf(db, { keyId })
      signers.delete(keyId)
      if (row === undefined) return undefined
      const signer = { ...(await readSigner(row, { mac, encryption })), rereadAt }
      if (signers.size >= MAX_SIGNERS) signers.delete(signers.keys().next().value as string)
      signers.set(keyId, signer)
      return signer
    },
  }
}

interface SignerRow {
  rights: RightsValues
  mac: string | null
  box: string | null
  previousBox: string | null
}

/** By the id alone, which names no shard: where tables are distributed, this reads all of them, once for a key and process. */
const signerOf = statement<SignerRow, { keyId: string }>(
  'signer_of_key',
  () => sql`SELECT ${RIGHTS} AS rights, encode(rights_mac, 'hex') AS mac, encode(mac_key_box, 'hex') AS box,
      encode(previous_mac_key_box, 'hex') AS "previousBox" FROM api_keys WHERE id = ${sql.placeholder('keyId')}`,
)

async function readSigner(
  row: SignerRow,
  { mac, encryption }: { mac: Mac; encryption: Encryption },
): Promise<Omit<KnownSigner, 'rereadAt'>> {
  const rights = readRights(row.rights)
  const shard = walletShard(rights.walletAddress)
  if (!mac.verify(rightsText(rights), row.mac)) return { shard, verifiers: [], isTampered: true }
  const { id, publicKey, keyHash, previousKeyHash } = rights
  if (publicKey !== null)
    return { shard, verifiers: [ofPublicKey(publicKey.key, keyHash)], isTampered: false }
  const boxes = [
    [keyHash, row.box],
    [previousKeyHash, row.previousBox],
  ] as const
  const opened = await Promise.all(
    boxes.map(async ([hash, box]) => {
      if (hash === null || box === null) return []
      // A box that was moved or changed does not decrypt: it then verifies nothing.
      const macKey = await encryption.decrypt(fromHex(box), macKeyLabel(id, hash)).catch(() => null)
      return macKey === null ? [] : [ofMacKey(macKey, hash)]
    }),
  )
  return { shard, verifiers: opened.flat(), isTampered: false }
}

function ofPublicKey(publicKey: string, hash: string): Verifier {
  return {
    hash: hash as KeyHash,
    algorithm: 'ed25519',
    verify: ({ signature, base }) => verifyEd25519(publicKey, signature, base),
  }
}

function ofMacKey(macKey: Uint8Array, hash: string): Verifier {
  return {
    hash: hash as KeyHash,
    algorithm: 'hmac-sha256',
    verify: ({ signature, base }) => verifyHmacSha256(macKey, signature, base),
  }
}

/** The verifier that a signature is of; undefined where it is of none. */
export async function verifierOf(
  { verifiers }: KnownSigner,
  signed: SignedRequest,
): Promise<Verifier | undefined> {
  for (const verifier of verifiers) {
    const { algorithm } = verifier
    const isOfIt = signed.algorithm === undefined || signed.algorithm === algorithm
    if (isOfIt && hasLengthOf(algorithm, signed.signature) && (await verifier.verify(signed)))
      return verifier
  }
  return undefined
}
