import { isStacksAddress, isWalletAddress } from '../stacks/address.ts'
import { NETWORKS, type Network } from '../stacks/network.ts'
import { LatchkeyError } from './errors.ts'
import {
  ACCESS_DENIED,
  INVALID_PARAMS,
  isObject,
  METHOD_NOT_FOUND,
  walletCodeOf,
} from './wallet-errors.ts'

/** An account of a wallet. Not every wallet names the public key. */
export interface WalletAccount {
  address: string
  publicKey: string | undefined
}

/** Sends a request to a wallet and resolves with its result, out of any envelope. */
export type AskWallet = (method: string, params: object) => Promise<unknown>

/**
 * How wallets are asked for their accounts, in this order. All know `getAddresses`, after which `isConnected` of @stacks/connect is
 * true; only Xverse demands another parameter there, and answers `stx_getAddresses` to a page that it is connected with, which
 * `wallet_connect` does.
 */
const ADDRESS_METHODS = ['getAddresses', 'stx_getAddresses', 'wallet_connect']

/** After these codes no dialog was open. A person's refusal ends the request. */
const NOT_ASKED: readonly unknown[] = [METHOD_NOT_FOUND, INVALID_PARAMS, ACCESS_DENIED]

/** Requests the accounts of a wallet: one dialog at most. */
export async function askAccounts(ask: AskWallet, network: Network): Promise<WalletAccount[]> {
  let refusal: unknown
  for (const method of ADDRESS_METHODS)
    try {
      return readAccounts(await askFirst(ask, method, [{ network }, {}]))
    } catch (error) {
      if (!NOT_ASKED.includes(walletCodeOf(error))) throw error
      refusal ??= error
    }
  throw refusal
}

/** Requests with each form of the parameters until the wallet takes one. "Invalid params" opens no dialog. */
export async function askFirst(
  ask: AskWallet,
  method: string,
  forms: Iterable<object> | AsyncIterable<object>,
): Promise<unknown> {
  const tried = new Set<string>()
  let refusal: unknown
  for await (const params of forms) {
    const text = JSON.stringify(params)
    if (tried.has(text)) continue
    tried.add(text)
    try {
      return await ask(method, params)
    } catch (error) {
      if (walletCodeOf(error) !== INVALID_PARAMS) throw error
      refusal = error
    }
  }
  throw refusal
}

/**
 * Reads the accounts out of an answer: a list (Leather on a phone), an object with a list, or a list whose indices became the
 * members of an object (@stacks/connect spreads what a wallet returns).
 */
export function readAccounts(answer: unknown): WalletAccount[] {
  const { addresses = answer } = isObject(answer) ? answer : {}
  const entries = Object.entries(isObject(addresses) ? addresses : {})
  return entries.flatMap(([index, entry]) => {
    if (!/^\d+$/.test(index)) return []
    const { address, publicKey } = isObject(entry) ? entry : { address: entry }
    const isKey = typeof publicKey === 'string' && /^(?:0x)?0[23][0-9a-f]{64}$/i.test(publicKey)
    return typeof address === 'string'
      ? [{ address, publicKey: isKey ? publicKey : undefined }]
      : []
  })
}

/** Returns the account that signs on a network, or throws what its owner can do about it. */
export function accountFor(accounts: readonly WalletAccount[], network: Network): WalletAccount {
  const account = accounts.find(({ address }) => isWalletAddress(address, network))
  if (account !== undefined) return account
  const listed = accounts.map(({ address }) => address)
  const stacks = listed.filter((address) => NETWORKS.some((one) => isStacksAddress(address, one)))
  const isSingle = (address: string) => NETWORKS.some((one) => isWalletAddress(address, one))
  const shared = stacks.find((address) => isStacksAddress(address, network))
  if (shared !== undefined || (stacks.length > 0 && !stacks.some(isSingle)))
    throw multisigAddress(shared ?? stacks[0] ?? '')
  if (stacks.length > 0) throw new LatchkeyError('WRONG_NETWORK', `Switch the wallet to ${network}`)
  throw new LatchkeyError(
    'WRONG_ACCOUNT',
    'The selected account of the wallet has no Stacks address',
  )
}

/** Throws unless an address that the caller named can sign on a network. */
export function requireAccount(address: string, network: Network): void {
  if (isWalletAddress(address, network)) return
  const isShared = NETWORKS.some(
    (one) => isStacksAddress(address, one) && !isWalletAddress(address, one),
  )
  if (isShared) throw multisigAddress(address)
  throw new LatchkeyError('WRONG_NETWORK', `${address} is not an address of ${network}`)
}

function multisigAddress(address: string): LatchkeyError {
  return new LatchkeyError(
    'MULTISIG_ADDRESS',
    `${address} belongs to several keys, and a message is signed by one`,
    { details: { address } },
  )
}
