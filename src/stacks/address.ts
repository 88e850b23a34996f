import { ok, type Result, refuse } from '../result.ts'
import { type C32Address, decodeC32, encodeC32 } from './c32.ts'
import {
  chainId,
  isNetwork,
  multiSigVersion,
  NETWORKS,
  type Network,
  singleSigVersion,
} from './network.ts'
import { hash160 } from './public-key.ts'

declare const brand: unique symbol

/** A standard principal in canonical c32, of a wallet or of a multi-signature script. */
export type StacksAddress = string & { readonly [brand]: 'principal' | 'wallet' }

/** A Stacks address that one key controls, and that can therefore sign messages. */
export type WalletAddress = StacksAddress & { readonly [brand]: 'wallet' }

/** A contract principal: `<standard principal>.<contract name>`. */
export type ContractId = string & { readonly [brand]: 'contract' }

/** Why a text is not the address of a wallet. */
export type AddressReason = 'invalid_address' | 'wrong_network' | 'not_a_wallet'

const CONTRACT_NAME = /^[a-zA-Z][a-zA-Z0-9_-]{0,39}$/

/** Whether the text is a standard principal of the network in its canonical spelling. */
export function isStacksAddress(text: unknown, network: Network): text is StacksAddress {
  if (!isNetwork(network)) return false
  const version = decode(text)?.version
  return version === singleSigVersion(network) || version === multiSigVersion(network)
}

/** Whether the text is an address of the network that one key controls. */
export function isWalletAddress(text: unknown, network: Network): text is WalletAddress {
  return isNetwork(network) && decode(text)?.version === singleSigVersion(network)
}

/** Whether the text names a contract of the network. Does not check that the contract exists. */
export function isContractId(text: unknown, network: Network): text is ContractId {
  if (typeof text !== 'string') return false
  const dot = text.indexOf('.')
  if (dot < 0) return false
  return CONTRACT_NAME.test(text.slice(dot + 1)) && isStacksAddress(text.slice(0, dot), network)
}

/** A wallet's address, and the HASH160 of the public key that it is made of: 20 bytes hex. */
export interface ParsedAddress {
  readonly address: WalletAddress
  readonly hash160: string
}

/** Whether a public key, compressed or uncompressed hex, is the one that the address is made of. */
export function isKeyOf(publicKeyHex: string, wallet: ParsedAddress): boolean {
  return hash160(publicKeyHex) === wallet.hash160
}

/** Parses the address of a wallet of the network. The reason of a refusal is precise, for the log. */
export function parseWalletAddress(
  text: unknown,
  network: Network,
): Result<ParsedAddress, AddressReason> {
  const decoded = isWalletAddress(text, network) ? decode(text) : undefined
  if (decoded !== undefined) return ok({ address: text as WalletAddress, hash160: decoded.hash160 })
  if (isStacksAddress(text, network) || isContractId(text, network)) return refuse('not_a_wallet')
  if (NETWORKS.some((other) => isStacksAddress(text, other))) return refuse('wrong_network')
  return refuse('invalid_address')
}

/**
 * Returns the single-signature address of a public key in hex. An uncompressed key (130 characters) has another address than
 * its compressed form (66).
 */
export function addressOfPublicKey(publicKeyHex: string, network: Network): WalletAddress {
  const version = singleSigVersion(network)
  return encodeC32({ version, hash160: hash160(publicKeyHex) }) as WalletAddress
}

/** The address of the hash of zeros, which no known key makes: the chain of audited acts that are of no wallet has it. */
export function operatorChain(network: Network): WalletAddress {
  const hash160 = '00'.repeat(20)
  return encodeC32({ version: singleSigVersion(network), hash160 }) as WalletAddress
}

/** The principal of a Stacks address as an account of a blockchain (CAIP-10). */
export function caip10(address: string, network: Network): string {
  return `stacks:${chainId(network)}:${address}`
}

function decode(text: unknown): C32Address | undefined {
  return typeof text === 'string' ? decodeC32(text) : undefined
}
