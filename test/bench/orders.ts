import { randomUUID } from 'node:crypto'
import { createRequire } from 'node:module'
import { INPUT_TOKEN, OUTPUT_TOKEN, ROUTER } from '../../src/devnet/constants.ts'
import { intentHash } from '../../src/stacks/intent.ts'
import { addressOf } from '../../src/stacks/sign.ts'
import { tokenOf, WALLETS, walletKey } from './keys.ts'

const { ecdsaSign } = createRequire(import.meta.url)('secp256k1') as {
  ecdsaSign(digest: Uint8Array, key: Uint8Array): { signature: Uint8Array; recid: number }
}

/** Requests that create distinct orders, each signed by its owner; by key, each with a key of that owner. */
export function randomOrders(count: number, byKey: boolean): Buffer[] {
  const owners = Array.from({ length: WALLETS }, (_, n) => ({
    address: addressOf(walletKey(n), 'devnet'),
    privateKey: walletKey(n),
    credential: byKey ? `X-API-Key: ${tokenOf(n)}\r\n` : '',
  }))
  return Array.from({ length: count }, (_, n) => {
    const owner = owners[n % WALLETS] as (typeof owners)[number]
    const body = JSON.stringify(signedOrder(owner.address, owner.privateKey))
    return Buffer.from(
      `POST /api/v1/orders/new HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n` +
        `${owner.credential}Content-Length: ${body.length}\r\n\r\n${body}`,
    )
  })
}

function signedOrder(owner: string, privateKey: string) {
  const terms = { inputToken: INPUT_TOKEN, amountIn: '1000000', uuid: randomUUID() }
  const digest = intentHash({ ...terms, router: ROUTER }, 'devnet')
  const { signature, recid } = ecdsaSign(digest, Buffer.from(privateKey, 'hex').subarray(0, 32))
  const rsv = `${Buffer.from(signature).toString('hex')}0${recid}`
  return { ...terms, owner, outputToken: OUTPUT_TOKEN, signature: rsv }
}
