/**
 * A key, an order and its end with the SDK.
 *
 * WALLET_PRIVATE_KEY says for whom, and LATCHKEY_URL where: by default http://127.0.0.1:8787, a devnet, whose faucet pays. The others
 * are for a testnet or mainnet, where the wallet holds the input token and the order trades it for real: LATCHKEY_NETWORK;
 * LATCHKEY_ROUTERS, the routers that may spend what is signed, from their operator, as `ROUTER,committed:ROUTER`; INPUT_TOKEN,
 * OUTPUT_TOKEN, AMOUNT_IN and MIN_AMOUNT_OUT; and LATCHKEY_DOMAIN where the service is not called as its host.
 */
import { createClient, privateKeySigner } from 'latchkey/client'

const NETWORKS = ['devnet', 'testnet', 'mainnet'] as const

const baseUrl = process.env.LATCHKEY_URL || 'http://127.0.0.1:8787'
const network = NETWORKS.find((one) => one === (process.env.LATCHKEY_NETWORK || 'devnet'))
if (network === undefined) throw new Error(`LATCHKEY_NETWORK is one of ${NETWORKS.join(', ')}`)
const isDevnet = network === 'devnet'

/** A variable. On a devnet the service may name the value; elsewhere nothing that is signed is the service's choice. */
function needed(name: string, onDevnet?: string): string {
  const value = process.env[name] || (isDevnet ? onDevnet : undefined)
  if (value !== undefined) return value
  console.error(`${name} is not set: the first lines of ${import.meta.filename} say what it is`)
  process.exit(1)
}

const signer = privateKeySigner(needed('WALLET_PRIVATE_KEY'), network)
/** Signatures are for this service, this network and these routers only, whatever the service says of itself. */
const pins = {
  baseUrl,
  network,
  domain: process.env.LATCHKEY_DOMAIN,
  routers: isDevnet ? undefined : needed('LATCHKEY_ROUTERS').split(','),
}
const wallet = createClient({ ...pins, signer })
const { devnet, ...info } = await wallet.info()
if (info.network !== network) {
  console.error(`${baseUrl} is on ${info.network}, and LATCHKEY_NETWORK is ${network}`)
  process.exit(1)
}
const terms = {
  inputToken: needed('INPUT_TOKEN', devnet?.inputToken),
  outputToken: needed('OUTPUT_TOKEN', devnet?.outputToken),
  amountIn: needed('AMOUNT_IN', '1000000'),
  minAmountOut: needed('MIN_AMOUNT_OUT', '490000'),
}
if (isDevnet) await wallet.devnet.faucet(signer.address)

const { apiKey, keyId } = await wallet.keys.create({
  name: `typescript ${crypto.randomUUID()}`,
  permissions: ['create', 'execute', 'cancel'],
})
console.log('key', keyId)

/** A bot that makes its own orders has the key and the signer. */
const bot = createClient({ ...pins, apiKey, signer })

const { uuid = '' } = await bot.orders.create(terms)
console.log('executes', uuid)
await bot.orders.execute(uuid)
const { status } = await bot.orders.waitFor(uuid)
console.log('  ', status)

const other = await bot.orders.create(terms)
console.log('cancels', other.uuid, (await bot.orders.cancel(other.uuid ?? '')).status)

await wallet.keys.delete(keyId)
console.log(`key ${keyId} has been revoked`)
if (status !== 'confirmed') process.exitCode = 1
