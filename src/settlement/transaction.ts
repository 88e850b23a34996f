import {
  bufferCV,
  contractPrincipalCV,
  makeContractCall,
  type PostCondition,
  PostConditionMode,
  principalCV,
  stringAsciiCV,
  tupleCV,
  uintCV,
} from '@stacks/transactions'
import { fromHex } from '../bytes.ts'
import type { Network } from '../stacks/network.ts'
import type { Hop } from './chain.ts'

/** A router call that is ready to send. Its txid is the hash of its bytes, so it is known before anyone has them. */
export interface SignedTransaction {
  txid: string
  raw: Uint8Array<ArrayBuffer>
  nonce: number
  feeInMicroStx: number
}

export interface Swap {
  router: string
  inputToken: string
  amountIn: string
  /** The owner's intent signature, RSV. */
  signature: Uint8Array
  uuid: string
  hops: readonly Hop[]
  outputToken: string
  /** The name of the output token's asset, for the post-condition. */
  outputAsset: string
  recipient: string
  minimumReceived: string
}

/** Builds and signs `x-swap-N` of the router: one tuple for the input, one for each hop, one for the output. */
export async function signSwap(
  swap: Swap,
  operator: { privateKey: string; nonce: number; feeInMicroStx: number; network: Network },
): Promise<SignedTransaction> {
  const [routerAddress, routerName] = contractParts(swap.router)
  const transaction = await makeContractCall({
    contractAddress: routerAddress,
    contractName: routerName,
    functionName: `x-swap-${swap.hops.length}`,
    functionArgs: [
      tupleCV({
        token: contractOf(swap.inputToken),
        amount: uintCV(BigInt(swap.amountIn)),
        signature: bufferCV(swap.signature),
        uuid: stringAsciiCV(swap.uuid),
      }),
      ...swap.hops.map((hop) =>
        tupleCV({
          vault: contractOf(hop.vault),
          opcode: bufferCV(fromHex(hop.opcode.replace(/^0x/, ''))),
        }),
      ),
      tupleCV({ token: contractOf(swap.outputToken), to: principalCV(swap.recipient) }),
    ],
    postConditionMode: PostConditionMode.Deny,
    postConditions: postConditionsOf(swap),
    senderKey: operator.privateKey,
    nonce: operator.nonce,
    fee: operator.feeInMicroStx,
    network: operator.network,
    validateWithAbi: false,
  })
  return {
    txid: transaction.txid(),
    raw: new Uint8Array(transaction.serializeBytes()),
    nonce: operator.nonce,
    feeInMicroStx: operator.feeInMicroStx,
  }
}

/**
 * Denies every movement but these: the last vault pays at least the minimum, the others pay what they pay, and the router
 * hands it on. What the operator owns cannot be moved by a token contract that a trader brought along.
 */
function postConditionsOf(swap: Swap): PostCondition[] {
  const output = `${swap.outputToken}::${swap.outputAsset}`
  const last = swap.hops.length - 1
  return swap.hops.flatMap((hop, at) => {
    const asset = at === last ? output : hop.asset
    if (asset === undefined) return []
    return [
      sends(hop.vault, asset, at === last ? swap.minimumReceived : '0'),
      sends(swap.router, asset, '0'),
    ]
  })
}

function sends(address: string, asset: string, atLeast: string): PostCondition {
  return {
    type: 'ft-postcondition',
    address,
    condition: 'gte',
    amount: atLeast,
    asset: asset as `${string}.${string}::${string}`,
  }
}

function contractOf(contractId: string) {
  return contractPrincipalCV(...contractParts(contractId))
}

function contractParts(contractId: string): [address: string, name: string] {
  const [address = '', name = ''] = contractId.split('.')
  return [address, name]
}
