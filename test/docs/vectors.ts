import { fromHex, sha256, toHex } from '../../src/crypto/bytes.ts'
import { walletShard } from '../../src/db/wallet-shard.ts'
import { COMMITTED_ROUTER, INPUT_TOKEN, OUTPUT_TOKEN, ROUTER } from '../../src/devnet/constants.ts'
import { hashSecret, makeSecret } from '../../src/keys/secret.ts'
import type { NewOrder } from '../../src/orders/order.ts'
import { canonicalOrder, orderHash } from '../../src/orders/validate.ts'
import { encodeC32 } from '../../src/stacks/c32.ts'
import { committedTermsTuple, committedUuid } from '../../src/stacks/committed.ts'
import { intentDomain, intentHash, intentMessage } from '../../src/stacks/intent.ts'
import { messageHash } from '../../src/stacks/message.ts'
import { hash160 } from '../../src/stacks/public-key.ts'
import { addressOf, publicKeyOf, signIntent, signMessage } from '../../src/stacks/sign.ts'

/** The private key of the vectors: SHA-256 of its name, and of no value to any party. */
const PRIVATE_KEY = `${toHex(sha256('latchkey test vectors'))}01`
const OWNER = addressOf(PRIVATE_KEY, 'devnet')
const UUID = '6f1c2b1e-5d0a-4a39-9d0e-2f6c6d8f7a10'

const MESSAGES = [
  '{"action":"list_api_keys","timestamp":1795240980000}',
  '{"action":"create_api_key","keyName":"caf\\u00e9","permissions":["execute"],"timestamp":1795240980000}',
  '{"action":"create_api_key","keyName":"café 🚀","permissions":[],"timestamp":1795240980000}',
  `{"action":"create_api_key","keyName":"long","label":"${'x'.repeat(160)}","permissions":[],"timestamp":1795240980000}`,
]
const RANDOMS = ['00'.repeat(29), '01'.repeat(29), 'ff'.repeat(29)]
const LENGTHS = [0, 1, 252, 253, 254, 255, 256, 16_384, 65_535, 65_536]
const HASHES = ['00'.repeat(20), `00${'11'.repeat(19)}`, `0000${'ff'.repeat(18)}`, 'ab'.repeat(20)]

/** What docs/vectors.json has: everything that is signed or hashed, as the service computes it. */
export function wireVectors() {
  const publicKey = publicKeyOf(PRIVATE_KEY)
  return {
    about: 'docs/wire.md says how each of these is made.',
    network: 'devnet',
    privateKey: PRIVATE_KEY,
    publicKey,
    hash160: [{ publicKey, hash160: hash160(publicKey) }],
    addresses: [hash160(publicKey), ...HASHES].flatMap((hash) =>
      [22, 26].map((version) => ({
        version,
        hash160: hash,
        address: encodeC32({ version, hash160: hash }),
      })),
    ),
    compactSizes: LENGTHS.map((length) => ({ length, bytes: compactSize(length) })),
    messages: MESSAGES.map((message) => ({
      message,
      bytes: messageBytes(message),
      digest: toHex(messageHash(message)),
      signature: signMessage({ message, privateKey: PRIVATE_KEY }),
    })),
    intentDomain: intentDomain('devnet'),
    intents: [
      { inputToken: INPUT_TOKEN, amountIn: '1000000', uuid: UUID, router: ROUTER },
      {
        inputToken: INPUT_TOKEN,
        amountIn: String(2n ** 128n - 1n),
        uuid: 'a',
        router: COMMITTED_ROUTER,
      },
    ].map((intent) => ({
      ...intent,
      tuple: intentMessage(intent),
      digest: toHex(intentHash(intent, 'devnet')),
      signature: signIntent({ ...intent, network: 'devnet', privateKey: PRIVATE_KEY }),
    })),
    orders: ORDERS.map((order) => ({
      order,
      canonical: canonicalOrder(order),
      orderHash: orderHash(order),
    })),
    committed: TERMS.map((terms) => ({
      terms,
      tuple: committedTermsTuple(terms, 'devnet'),
      uuid: committedUuid(terms, 'devnet'),
    })),
    secrets: RANDOMS.flatMap((random) =>
      ['ck_test_', 'dex_'].map((prefix) => {
        const shard = walletShard(OWNER)
        const secret = makeSecret(prefix, shard, fromHex(random))
        return { prefix, walletAddress: OWNER, shard, random, secret, keyHash: hashSecret(secret) }
      }),
    ),
  }
}

const ORDER: NewOrder = {
  owner: OWNER,
  inputToken: INPUT_TOKEN,
  outputToken: OUTPUT_TOKEN,
  amountIn: '1000000',
  uuid: UUID,
  signature: '00'.repeat(65),
}
const ORDERS: NewOrder[] = [
  ORDER,
  {
    ...ORDER,
    validTo: '2099-01-01T00:00:00Z',
    recipient: encodeC32({ version: 26, hash160: 'ab'.repeat(20) }),
  },
]
const COMMITTED = {
  by: null,
  min: '490000',
  salt: '00112233445566778899aabbccddeeff',
  to: OWNER,
  token: OUTPUT_TOKEN,
  until: 4_070_908_800,
}
const TERMS = [COMMITTED, { ...COMMITTED, by: OWNER, to: ROUTER, until: 1 }]

/** Written down a second time, for people to read: the tests compare it with the digest of the source. */
function messageBytes(message: string): string {
  const utf8 = new TextEncoder().encode(message)
  const prefix = new TextEncoder().encode('\x17Stacks Signed Message:\n')
  return toHex(prefix) + compactSize(utf8.length) + toHex(utf8)
}

function compactSize(length: number): string {
  const littleEndian = (bytes: number) =>
    Array.from({ length: bytes }, (_, at) =>
      ((length >>> (8 * at)) & 255).toString(16).padStart(2, '0'),
    ).join('')
  if (length < 0xfd) return littleEndian(1)
  return length <= 0xffff ? `fd${littleEndian(2)}` : `fe${littleEndian(4)}`
}
