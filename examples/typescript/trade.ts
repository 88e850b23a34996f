/** A key, an order and its end with the SDK: LATCHKEY_URL and WALLET_PRIVATE_KEY say where and for whom. */
import { createClient, privateKeySigner } from 'latchkey/client'

const baseUrl = process.env.LATCHKEY_URL ?? 'http://127.0.0.1:8787'
const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
const wallet = createClient({ baseUrl, signer })
const { inputToken = '', outputToken = '' } = (await wallet.info()).devnet ?? {}
await wallet.devnet.faucet(signer.address)

const { apiKey, keyId } = await wallet.keys.create({
  name: `typescript ${crypto.randomUUID()}`,
  permissions: ['create', 'execute', 'cancel'],
})
console.log('key', keyId)

/** A bot that makes its own orders has the key and the signer. */
const bot = createClient({ baseUrl, apiKey, signer })
const terms = { inputToken, outputToken, amountIn: '1000000', minAmountOut: '490000' }

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
