import { type ClarityValue, cvToString, deserializeCV } from '@stacks/transactions'
import * as z from 'zod'
import { addressOfPublicKey } from '../stacks/address.ts'
import { intentHash } from '../stacks/intent.ts'
import type { Network } from '../stacks/network.ts'
import { parseSignature, recoverKeys } from '../stacks/recover.ts'
import { post, type StacksApi } from './stacks-api.ts'
import type { Refund } from './transaction.ts'

const Source = z.object({ source: z.string() })
const ReadOnly = z.object({ okay: z.literal(true), result: z.string() })
const value = z.object({ hex: z.string() })
const contractCall = z.object({
  contract_id: z.string(),
  function_name: z.string(),
  function_args: z.array(value).optional(),
})
const TransactionV3 = z.object({
  status: z.string(),
  canonical: z.boolean().optional(),
  contract_call: contractCall.optional(),
  result: value.nullish(),
})
type Transaction = z.output<typeof TransactionV3>
const TransactionV1 = z
  .object({
    tx_status: z.string(),
    canonical: z.boolean().optional(),
    contract_call: contractCall.optional(),
    tx_result: value.nullish(),
  })
  .transform(
    ({ tx_status: status, canonical, contract_call, tx_result: result }): Transaction => ({
      status,
      canonical,
      contract_call,
      result,
    }),
  )

/** What a committed router says of itself. It is only worth something where the router's source is known. */
export interface RouterInfo {
  account: string
  deployer: string
  verifier: string
  version: string
}

/** Requests the source of a contract; undefined when the API did not respond. */
export async function contractSource(
  api: StacksApi,
  contract: string,
): Promise<string | 'absent' | undefined> {
  const found = await api.request(
    `/v2/contracts/source/${contract.replace('.', '/')}?proof=0`,
    Source,
  )
  return found === undefined || found === 'absent' ? found : found.source
}

/** Requests a router's `get-info`; undefined when it has none, or the API did not respond. */
export async function routerInfo(api: StacksApi, router: string): Promise<RouterInfo | undefined> {
  const [sender] = router.split('.')
  const found = await api.request(
    `/v2/contracts/call-read/${router.replace('.', '/')}/get-info`,
    ReadOnly,
    post({ sender, arguments: [] }),
  )
  const info = found === undefined || found === 'absent' ? undefined : clarityOf(found.result)
  if (info?.type !== 'tuple') return undefined
  const text = (name: string) => plainText(info.value[name])
  const [account, deployer, verifier] = ['account', 'deployer', 'verifier'].map(text)
  return account === undefined || deployer === undefined || verifier === undefined
    ? undefined
    : { account, deployer, verifier, version: text('version') ?? '' }
}

/** The result of a mined transaction as Clarity writes it, `(err u403103)`; undefined while there is none. */
export async function resultOf(api: StacksApi, txid: string): Promise<string | undefined> {
  const found = await transactionOf(api, txid)
  const result = clarityOf(found?.result?.hex)
  return result === undefined ? undefined : cvToString(result)
}

/**
 * The refund that a transaction calls for: a successful `x-transfer` of an input to the router, by a call of the token itself.
 * Undefined for every other transaction: only that event shows that an input was moved, and not merely its uuid burnt.
 */
export async function refundFor(
  api: StacksApi,
  txid: string,
  router: string,
  network: Network,
): Promise<Refund | undefined> {
  const found = await transactionOf(api, txid)
  if (found?.status !== 'success' || found.canonical === false) return undefined
  const {
    contract_id: token = '',
    function_name: name,
    function_args: args = [],
  } = found.contract_call ?? {}
  const [signature, amount, uuid, target] = args.map(({ hex }) => plainText(clarityOf(hex)))
  if (name !== 'x-transfer' || target !== router) return undefined
  if (signature === undefined || amount === undefined || uuid === undefined) return undefined
  const intent = { inputToken: token, amountIn: amount, uuid, router }
  const owner = ownerOf(intent, signature, network)
  return owner === undefined ? undefined : { ...intent, signature, owner }
}

/** The address that the chain recovers from an intent's signature, RSV. */
function ownerOf(
  intent: Parameters<typeof intentHash>[0],
  signature: string,
  network: Network,
): string | undefined {
  const readings = parseSignature(signature)
  const rsv = readings.ok ? readings.value.filter(({ order }) => order === 'RSV') : []
  const [key] = recoverKeys(intentHash(intent, network), rsv)
  return key === undefined ? undefined : addressOfPublicKey(key.publicKey, network)
}

async function transactionOf(api: StacksApi, txid: string): Promise<Transaction | undefined> {
  const found = await api.requestEither(
    [`/extended/v3/transactions/0x${txid}?include=result,function_args`, TransactionV3],
    [`/extended/v1/tx/0x${txid}`, TransactionV1],
  )
  return found === 'absent' ? undefined : found
}

function clarityOf(hex: string | undefined): ClarityValue | undefined {
  try {
    return hex === undefined ? undefined : deserializeCV(hex)
  } catch {
    return undefined
  }
}

/** The content of a buffer in hex, a number in decimal, or a principal or text as it is. */
function plainText(value: ClarityValue | undefined): string | undefined {
  if (value === undefined) return undefined
  if (value.type === 'buffer') return value.value.replace(/^0x/, '')
  if (value.type === 'uint') return String(value.value)
  if (value.type === 'ascii' || value.type === 'contract' || value.type === 'address')
    return String(value.value)
  return undefined
}
