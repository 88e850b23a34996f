import { randomBytes } from 'node:crypto'
import {
  Cl,
  type ClarityValue,
  cvToString,
  fetchCallReadOnlyFunction,
  makeContractCall,
  makeContractDeploy,
  type PostCondition,
  type TupleCV,
} from '@stacks/transactions'
import {
  COMMITTED_ROUTER,
  DEVNET_OPERATOR_ADDRESS,
  INPUT_TOKEN,
  OUTPUT_TOKEN,
  VAULTS,
} from '../../src/devnet/constants.ts'
import { type CommittedTerms, committedUuid } from '../../src/stacks/committed.ts'
import { signIntent } from '../../src/stacks/sign.ts'
import { type Answer, type Devnet, splitId, type Wallet } from './devnet.ts'

/** A committed order, as its owner signs it. */
export interface CommittedOrder {
  owner: Wallet
  amount: bigint
  inputToken: string
  router: string
  terms: CommittedTerms
  uuid: string
  signature: string
}

/** Far behind what the devnet's clock reaches in a test. */
export const LATER = 1_900_000_000

export function commit(
  owner: Wallet,
  terms: Partial<CommittedTerms> = {},
  {
    amount = 1_000_000n,
    inputToken = INPUT_TOKEN,
    router = COMMITTED_ROUTER,
    uuid,
  }: Partial<CommittedOrder> = {},
): CommittedOrder {
  const committed = {
    by: null,
    min: '1',
    salt: randomBytes(16).toString('hex'),
    to: owner.address,
    token: OUTPUT_TOKEN,
    until: LATER,
    ...terms,
  }
  const intent = {
    inputToken,
    amountIn: amount.toString(),
    router,
    uuid: uuid ?? committedUuid(committed, 'devnet'),
  }
  const signature = signIntent({ ...intent, network: 'devnet', privateKey: owner.privateKey })
  return { owner, amount, inputToken, router, terms: committed, uuid: intent.uuid, signature }
}

export interface Step {
  vault: string
  opcode?: string
  /** What the vault pays; absent on the last hop. */
  token?: string | null
}

export const SELLS_A = '00'.repeat(16)
export const SELLS_B = `01${'00'.repeat(15)}`
export const DIRECT: Step[] = [{ vault: VAULTS[0].vault }]

export function inputOf({ inputToken, amount, signature, uuid }: CommittedOrder): TupleCV {
  return Cl.tuple({
    token: Cl.principal(inputToken),
    amount: Cl.uint(amount),
    signature: Cl.bufferFromHex(signature),
    uuid: Cl.stringAscii(uuid),
  })
}

export function refundArgs(order: CommittedOrder) {
  return [inputOf(order), Cl.principal(order.owner.address)]
}

export function termsOf(terms: CommittedTerms): TupleCV {
  return Cl.tuple({
    by: terms.by === null ? Cl.none() : Cl.some(Cl.principal(terms.by)),
    min: Cl.uint(terms.min),
    salt: Cl.bufferFromHex(terms.salt),
    to: Cl.principal(terms.to),
    token: Cl.principal(terms.token),
    until: Cl.uint(terms.until),
  })
}

/** The arguments of `x-swap-N`; `terms` are those of the call, where they are others than the order's. */
export function swapArgs(order: CommittedOrder, route: Step[] = DIRECT, terms = order.terms) {
  const hops = route.map(({ vault, opcode = SELLS_A, token }, at) =>
    Cl.tuple({
      vault: Cl.principal(vault),
      opcode: Cl.bufferFromHex(opcode),
      ...(at < route.length - 1 && {
        token: token == null ? Cl.none() : Cl.some(Cl.principal(token)),
      }),
    }),
  )
  return { fn: `x-swap-${route.length}`, args: [inputOf(order), ...hops, termsOf(terms)] }
}

/** Clarity source of a value, for a contract that calls with it. */
export const literal = (value: ClarityValue) => Cl.prettyPrint(value)

/** Calls and deployments of a devnet, one after another for each sender. */
export function actorsOf(devnet: Devnet) {
  const nonceOf = async ({ address }: Wallet) =>
    Number((await devnet.get(`/v2/accounts/${address}?proof=0`)).nonce)
  const settled = async (tx: Parameters<Devnet['broadcast']>[0]) => {
    const answer = await devnet.broadcast(tx)
    if (answer.error !== undefined) throw new Error(`${answer.reason}: ${answer.error}`)
    return { txid: answer.txid, ...(await devnet.status(answer.txid)) } as Answer
  }

  async function send(
    sender: Wallet,
    contract: string,
    fn: string,
    args: ClarityValue[],
    options: { postConditions?: PostCondition[]; nonce?: number; fee?: bigint } = {},
  ) {
    return settled(
      await makeContractCall({
        ...splitId(contract),
        functionName: fn,
        functionArgs: args,
        senderKey: sender.privateKey,
        network: 'devnet',
        postConditionMode: options.postConditions === undefined ? 'allow' : 'deny',
        postConditions: options.postConditions ?? [],
        nonce: options.nonce ?? (await nonceOf(sender)),
        fee: options.fee ?? 10_000n,
      }),
    )
  }

  async function deploy(sender: Wallet, name: string, source: string, clarityVersion = 3) {
    const deployed = await settled(
      await makeContractDeploy({
        contractName: name,
        codeBody: source,
        clarityVersion,
        senderKey: sender.privateKey,
        network: 'devnet',
        nonce: await nonceOf(sender),
        fee: 100_000n,
      }),
    )
    if (deployed.status !== 'success') throw new Error(`${name}: ${deployed.vm_error}`)
    return `${sender.address}.${name}`
  }

  const read = (contract: string, functionName: string, functionArgs: ClarityValue[] = []) =>
    fetchCallReadOnlyFunction({
      ...splitId(contract),
      functionName,
      functionArgs,
      senderAddress: DEVNET_OPERATOR_ADDRESS,
      network: 'devnet',
      client: { baseUrl: devnet.url },
    }).then(cvToString)

  return {
    send,
    deploy,
    read,
    execute(
      sender: Wallet,
      order: CommittedOrder,
      route: Step[] = DIRECT,
      terms: CommittedTerms = order.terms,
      options: Parameters<typeof send>[4] = {},
    ) {
      const { fn, args } = swapArgs(order, route, terms)
      return send(sender, order.router, fn, args, options)
    },
    /** What a stranger does with a signature: moves the input to the router, and nothing else. */
    strand(sender: Wallet, order: CommittedOrder, amount = order.amount) {
      const args = [
        Cl.bufferFromHex(order.signature),
        Cl.uint(amount),
        Cl.stringAscii(order.uuid),
        Cl.principal(order.router),
      ]
      return send(sender, INPUT_TOKEN, 'x-transfer', args)
    },
    refund: (sender: Wallet, order: CommittedOrder) =>
      send(sender, order.router, 'refund', refundArgs(order)),
    held: async (principal: string, token: string) =>
      BigInt((await devnet.get(`/balances/${principal}`)).tokens[token]),
  }
}

export type Actors = ReturnType<typeof actorsOf>
