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

/**
 * Builds and signs `x-swap-N` of the router (settlement: one tuple for the input, one for each hop, one for the output).
 * Post-conditions deny every movement but the last vault's payment, of at least the minimum, and the router's handing it
 * on: what the operator owns cannot be moved by a token contract that a trader brought along.
 */
export async function signSwap(
  swap: Swap,
  operator: { privateKey: string; nonce: number; feeInMicroStx: number; network: Network },
): Promise<SignedTransaction> {
  const [routerAddress, routerName] = contractParts(swap.router)
  const payingVault = swap.hops.at(-1)?.vault
  if (payingVault === undefined) throw new Error('a route has at least one hop')
  const sends = (address: string, atLeast: string): PostCondition => ({
    type: 'ft-postcondition',
    address,
    condition: 'gte',
    amount: atLeast,
    asset: `${swap.outputToken as `${string}.${string}`}::${swap.outputAsset}`,
  })
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
    postConditions: [sends(payingVault, swap.minimumReceived), sends(swap.router, '0')],
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

function contractOf(contractId: string) {
  return contractPrincipalCV(...contractParts(contractId))
}

function contractParts(contractId: string): [address: string, name: string] {
  const [address = '', name = ''] = contractId.split('.')
  return [address, name]
}
