import {
  bufferCV,
  type ClarityValue,
  contractPrincipalCV,
  deserializeCV,
  deserializeTransaction,
  makeUnsignedContractCall,
  noneCV,
  type PostCondition,
  PostConditionMode,
  principalCV,
  serializePayloadBytes,
  someCV,
  stringAsciiCV,
  tupleCV,
  uintCV,
} from '@stacks/transactions'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { toHex } from '../../src/crypto/bytes.ts'
import { INPUT_TOKEN, OUTPUT_TOKEN, ROUTER, VAULTS } from '../../src/devnet/constants.ts'
import { chooseEngine } from '../../src/node/recover.ts'
import { type Swap, swapBytes } from '../../src/settlement/swap-bytes.ts'
import { buildSwap, signAgain } from '../../src/settlement/transaction.ts'
import { encodeC32 } from '../../src/stacks/c32.ts'
import { committedTermsTuple } from '../../src/stacks/committed.ts'
import { NETWORKS, type Network, singleSigVersion } from '../../src/stacks/network.ts'
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
    const swap = buildSwap(SWAP, 'devnet')
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

const SIGNER_AT = 7
const KEY = `02${'79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798'}`

test('a swap has the bytes that stacks.js writes, whatever its order and its route are', async () => {
  await fc.assert(
    fc.asyncProperty(anyNetworkAndSwap(), async ([network, swap]) => {
      const bySdk = await unsignedBySdk(swap, network)
      const { bytes, payloadAt } = swapBytes(swap, network)
      expect(toHex(bytes.subarray(payloadAt))).toBe(toHex(serializePayloadBytes(bySdk.payload)))
      bytes.set(Buffer.from(bySdk.auth.spendingCondition.signer, 'hex'), SIGNER_AT)
      expect(toHex(bytes)).toBe(bySdk.serialize())
    }),
    { numRuns: 200 },
  )
})

const u128 = fc.bigInt({ min: 1n, max: 2n ** 128n - 1n }).map(String)
const hex = (minLength: number, maxLength: number) =>
  fc.uint8Array({ minLength, maxLength }).map(toHex)
const contractName = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_-]{0,30}$/)
const assetName = fc.stringMatching(/^[a-zA-Z][a-zA-Z0-9_!?+<>=/*-]{0,127}$/)

function anyNetworkAndSwap() {
  return fc
    .constantFrom(...NETWORKS)
    .chain((network) => fc.tuple(fc.constant(network), anySwap(network)))
}

function anySwap(network: Network): fc.Arbitrary<Swap> {
  const address = fc
    .oneof(hex(20, 20), fc.constant('00'.repeat(20)), fc.constant(`${'00'.repeat(19)}01`))
    .map((hash160) => encodeC32({ version: singleSigVersion(network), hash160 }))
  const contract = fc.tuple(address, contractName).map(([of, name]) => `${of}.${name}`)
  const recipient = fc.oneof(address, contract)
  const hop = fc.record({
    vault: contract,
    opcode: fc
      .tuple(fc.constantFrom('', '0x'), hex(0, 16))
      .map(([prefix, text]) => prefix + text.toUpperCase()),
    asset: fc.option(
      fc.tuple(contract, assetName).map(([token, name]) => `${token}::${name}`),
      { nil: undefined },
    ),
  })
  const terms = fc.record({
    by: fc.option(address),
    min: u128,
    salt: hex(16, 16),
    to: recipient,
    token: contract,
    until: fc.integer({ min: 1, max: 4_000_000_000 }),
  })
  return fc.record({
    router: contract,
    inputToken: contract,
    amountIn: u128,
    signature: fc.uint8Array({ minLength: 65, maxLength: 65 }),
    uuid: fc.stringMatching(/^[A-Za-z0-9_-]{1,36}$/),
    hops: fc.array(hop, { minLength: 1, maxLength: 5 }) as fc.Arbitrary<Swap['hops']>,
    outputToken: contract,
    outputAsset: assetName,
    recipient,
    minimumReceived: fc.oneof(u128, fc.bigInt({ min: 0n, max: 2n ** 64n }).map(String)),
    terms: fc.option(terms, { nil: undefined }),
  })
}

/** As the service built swaps before it wrote them itself. */
function unsignedBySdk(swap: Swap, network: Network) {
  const functionArgs = [
    tupleCV({
      token: contractCV(swap.inputToken),
      amount: uintCV(BigInt(swap.amountIn)),
      signature: bufferCV(swap.signature),
      uuid: stringAsciiCV(swap.uuid),
    }),
    ...swap.hops.map(({ vault, opcode, asset }, at) =>
      tupleCV({
        vault: contractCV(vault),
        opcode: bufferCV(Buffer.from(opcode.replace(/^0x/, ''), 'hex')),
        ...(swap.terms !== undefined &&
          at < swap.hops.length - 1 && {
            token: asset === undefined ? noneCV() : someCV(contractCV(asset.split('::')[0] ?? '')),
          }),
      }),
    ),
    swap.terms === undefined
      ? tupleCV({ token: contractCV(swap.outputToken), to: principalCV(swap.recipient) })
      : deserializeCV(committedTermsTuple(swap.terms, network)),
  ]
  const [contractAddress = '', contractName = ''] = swap.router.split('.')
  return makeUnsignedContractCall({
    contractAddress,
    contractName,
    functionName: `x-swap-${swap.hops.length}`,
    functionArgs,
    postConditions: conditionsBySdk(swap),
    postConditionMode: PostConditionMode.Deny,
    network,
    validateWithAbi: false,
    publicKey: KEY,
    nonce: 0,
    fee: 0,
  })
}

function conditionsBySdk(swap: Swap): PostCondition[] {
  const trader = swap.terms === undefined ? swap.router : `${swap.router}-account`
  return swap.hops.flatMap(({ vault, asset: named }, at) => {
    const isLast = at === swap.hops.length - 1
    const asset = isLast ? `${swap.outputToken}::${swap.outputAsset}` : named
    if (asset === undefined) return []
    const least = BigInt(isLast ? swap.minimumReceived : '0')
    const amount = least < 2n ** 64n ? least : 2n ** 64n - 1n
    return [sendsBySdk(vault, asset, amount), sendsBySdk(trader, asset, 0n)]
  })
}

function sendsBySdk(address: string, asset: string, amount: bigint): PostCondition {
  return {
    type: 'ft-postcondition',
    address,
    condition: 'gte',
    amount,
    asset: asset as `${string}.${string}::${string}`,
  }
}

function contractCV(contractId: string): ClarityValue {
  const [address = '', name = ''] = contractId.split('.')
  return contractPrincipalCV(address, name)
}
