import {
  addressFromVersionHash,
  addressToString,
  createAddress,
  publicKeyToAddress,
} from '@stacks/transactions'
import { ok, type Result, refuse } from '../result.ts'
import { isNetwork, multiSigVersion, NETWORKS, type Network, singleSigVersion } from './network.ts'

declare const brand: unique symbol

/** A standard principal in canonical c32, of a wallet or of a multi-signature script. */
export type StacksAddress = string & { readonly [brand]: 'principal' | 'wallet' }

/** A Stacks address that one key controls, and that can therefore sign messages. */
export type WalletAddress = StacksAddress & { readonly [brand]: 'wallet' }

/** A contract principal: `<standard principal>.<contract name>`. */
export type ContractId = string & { readonly [brand]: 'contract' }

export type AddressReason = 'invalid_address' | 'wrong_network' | 'not_a_wallet'

// The longest c32 text of 20 bytes. There is no shortest worth checking: leading zeros take
// characters away.
const MAX_ADDRESS_LENGTH = 41

const CONTRACT_NAME = /^[a-zA-Z][a-zA-Z0-9_-]{0,39}$/

/**
 * Whether the text is a standard principal of the network, written as the network itself writes
 * it.
 */
export function isStacksAddress(text: unknown, network: Network): text is StacksAddress {
  if (!isNetwork(network)) return false
  const version = addressVersion(text)
  return version === singleSigVersion(network) || version === multiSigVersion(network)
}

/** Whether the text is an address of the network that one key controls. */
export function isWalletAddress(text: unknown, network: Network): text is WalletAddress {
  return isNetwork(network) && addressVersion(text) === singleSigVersion(network)
}

/** Whether the text names a contract of the network. Does not check that the contract exists. */
export function isContractId(text: unknown, network: Network): text is ContractId {
  if (typeof text !== 'string') return false
  const dot = text.indexOf('.')
  if (dot < 0 || dot > MAX_ADDRESS_LENGTH) return false
  return CONTRACT_NAME.test(text.slice(dot + 1)) && isStacksAddress(text.slice(0, dot), network)
}

/**
 * Says why a text is not the address of a wallet of the network, as precisely as a log wants it.
 */
export function parseWalletAddress(
  text: unknown,
  network: Network,
): Result<WalletAddress, AddressReason> {
  if (isWalletAddress(text, network)) return ok(text)
  if (isStacksAddress(text, network) || isContractId(text, network)) return refuse('not_a_wallet')
  if (NETWORKS.some((other) => isStacksAddress(text, other))) return refuse('wrong_network')
  return refuse('invalid_address')
}

/**
 * The single-signature address of a public key. An uncompressed key (130 hex) has another one than
 * its compressed form.
 */
export function addressOfPublicKey(publicKeyHex: string, network: Network): WalletAddress {
  return publicKeyToAddress(singleSigVersion(network), publicKeyHex) as WalletAddress
}

// The round trip is the check: c32 decoding folds case and takes O for 0, I and L for 1.
function addressVersion(text: unknown): number | undefined {
  if (typeof text !== 'string' || text.length > MAX_ADDRESS_LENGTH) return undefined
  try {
    const { version, hash160 } = createAddress(text)
    const canonical = addressToString(addressFromVersionHash(version, hash160))
    return canonical === text ? version : undefined
  } catch {
    return undefined
  }
}
