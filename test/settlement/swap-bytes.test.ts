import { deserializeTransaction } from '@stacks/transactions'
import { describe, expect, test } from 'vitest'
import { toHex } from '../../src/crypto/bytes.ts'
import { INPUT_TOKEN, OUTPUT_TOKEN, ROUTER, VAULTS } from '../../src/devnet/constants.ts'
import { chooseEngine } from '../../src/node/recover.ts'
import { buildSwap, type Swap, signAgain } from '../../src/settlement/transaction.ts'
import { addressOf, nobleSign } from '../../src/stacks/sign.ts'

const SWAP: Swap = {
  router: ROUTER,
  inputToken: INPUT_TOKEN,
  amountIn: '1000000',
  signature: new Uint8Array(65).fill(7),
  uuid: 'order-1',
  hops: [{ vault: VAULTS[0].vault, opcode: '00' }],
  outputToken: OUTPUT_TOKEN,
  outputAsset: 'usd',
  recipient: addressOf('11'.repeat(32), 'devnet'),
  minimumReceived: '1',
  terms: undefined,
}
const ENGINES = { libsecp256k1: chooseEngine().signDigest, noble: nobleSign }

describe.each(Object.entries(ENGINES))('the bytes of a swap that %s signs', (_, signDigest) => {
  test.each(
    ['11', '7c', 'e3'].flatMap((byte) => [byte.repeat(32), `${byte.repeat(32)}01`]),
  )('are those that stacks.js signs, for key %s', async (privateKey) => {
    const swap = await buildSwap(SWAP, 'devnet')
    for (const nonce of [0, 1, 2 ** 40]) {
      const feeInMicroStx = 3_000 + nonce
      const signed = await swap.sign({ privateKey, nonce, feeInMicroStx, signDigest })
      const bySdk = signAgain(signed.raw, { privateKey, feeInMicroStx })
      expect(toHex(signed.raw)).toBe(toHex(bySdk.raw))
      expect(signed.txid).toBe(bySdk.txid)
      expect(signed.raw).toHaveLength(swap.byteLength)
      const read = deserializeTransaction(signed.raw)
      expect(read.verifyOrigin()).toBeTypeOf('string')
      expect(read.auth.spendingCondition).toMatchObject({ nonce: BigInt(nonce) })
    }
  })
})
