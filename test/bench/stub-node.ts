import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { OUTPUT_TOKEN, VAULTS } from '../../src/devnet/constants.ts'
import { decodeC32 } from '../../src/stacks/c32.ts'
import { answerCalls } from './remote.ts'

/** A Stacks node and quote service that take every transaction and mine it at once, without executing any. */
export interface StubNode {
  url(): string
}

const PLENTY = `0x${'f'.repeat(16).padStart(32, '0')}`
const [VAULT] = VAULTS
const HOP = { vault: VAULT.vault, opcode: '00', asset: `${OUTPUT_TOKEN}::usd` }
const QUOTE = { amountOut: '1000000', minimumReceived: '990000', route: { hops: [HOP] } }
const SWAPPED = { status: 'success', canonical: true, block: { height: 1 } }
/** `(ok u..)` and `(ok false)`. */
const READ_ONLY: Readonly<Record<string, string>> = {
  'get-balance': `0x0701${PLENTY.slice(2)}`,
  check: '0x0704',
}
/** Of a serialized transaction: the hash of the signer's key, and its nonce. */
const SIGNER_AT = 7
const NONCE_AT = 27

/** The next nonce of each signer, by the hash of its key. */
const nonces = new Map<string, number>()
const nonceOf = (address: string) => nonces.get(decodeC32(address)?.hash160 ?? '') ?? 0

const ROUTES: readonly [RegExp, (argument: string, body: Buffer) => unknown][] = [
  [/^\/quote/, () => ({ success: true, data: QUOTE })],
  [/^\/v2\/fees\//, () => ({ estimations: [{ fee: 3_000 }, { fee: 3_000 }, { fee: 3_000 }] })],
  [/^\/v2\/info/, () => ({ stacks_tip_height: 1_000 })],
  [/^\/v2\/accounts\/(\w+)/, (address) => ({ nonce: nonceOf(address), balance: PLENTY })],
  [/^\/v2\/contracts\/interface\//, () => ({ fungible_tokens: [{ name: 'usd' }] })],
  [
    /^\/v2\/contracts\/call-read\/.*\/([\w-]+)$/,
    (name) => ({ okay: true, result: READ_ONLY[name] }),
  ],
  [/^\/v2\/transactions$/, (_, body) => take(body)],
  [
    /^\/extended\/v3\/principals\/(\w+)/,
    (address) => ({ next_nonce: nonceOf(address), mempool: {} }),
  ],
  [/^\/extended\/v3\/transactions\//, () => SWAPPED],
  [/^\/faucet/, () => ({})],
]

function take(raw: Buffer): string {
  const signer = raw.toString('hex', SIGNER_AT, SIGNER_AT + 20)
  const next = Number(raw.readBigUInt64BE(NONCE_AT)) + 1
  nonces.set(signer, Math.max(next, nonces.get(signer) ?? 0))
  return 'taken'
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

const server = createServer(async (request, response) => {
  const path = request.url ?? ''
  const body = request.method === 'POST' ? await bodyOf(request) : Buffer.alloc(0)
  const route = ROUTES.find(([pattern]) => pattern.test(path))
  const text = JSON.stringify(route?.[1](route[0].exec(path)?.[1] ?? '', body) ?? {})
  response.writeHead(route === undefined ? 404 : 200, {
    'Content-Type': 'application/json',
    'Content-Length': Buffer.byteLength(text),
  })
  response.end(text)
})
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  const calls: StubNode = { url: () => `http://127.0.0.1:${port}` }
  answerCalls(calls, () => {
    server.close()
    return undefined
  })
})
