import type { Intent } from '../stacks/intent.ts'
import type { Network } from '../stacks/network.ts'
import { addressOf, publicKeyOf, signIntent, signMessage } from '../stacks/sign.ts'
import { LatchkeyError } from './errors.ts'

/** Signs for one Stacks address: a browser wallet, a private key, or an implementation of the caller's. */
export interface Signer {
  /** Whether a person confirms every signature. The client then requests no second signature of a message for a call. */
  readonly interactive: boolean
  /** Resolves with the address that signs. Rejects with `WRONG_NETWORK` when the signer is for another network. */
  getAddress(network: Network, options?: SignOptions): Promise<string>
  /** Signs a text as `stx_signMessage` does. */
  signMessage(message: string, network: Network, options?: SignOptions): Promise<MessageSignature>
  /** Signs an order's intent as `stx_signStructuredMessage` does (SIP-018). Resolves with 65 bytes hex, RSV or VRS. */
  signIntent(intent: Intent, network: Network, options?: SignOptions): Promise<string>
}

/** Options of what a signer does. A signer may ignore them: the client itself stops waiting. */
export interface SignOptions {
  /** Ends the wait, also while a wallet is open. A signature that comes later is not used. */
  signal?: AbortSignal | undefined
}

/** A signature of a text. */
export interface MessageSignature {
  /** 65 bytes hex, RSV or VRS, with or without 0x. */
  signature: string
  /** The public key that signed, hex. The service checks it against the signature. */
  publicKey?: string
}

/** A signer with a private key in memory: for bots, servers and tests. */
export interface PrivateKeySigner extends Signer {
  /** The Stacks address of the key on `network`. */
  readonly address: string
  /** The one network that it signs for. */
  readonly network: Network
}

/**
 * Creates a signer from a private key. It signs for the given network and no other, so that a service which claims to be a
 * devnet cannot obtain a signature that is valid on mainnet. The key cannot be read from the signer.
 *
 * Throws `INVALID_ARGUMENT` for any other text; the error does not contain it.
 *
 * @param privateKey 66 hex characters that end in 01 (a compressed key), with or without 0x. Without the 01 it belongs to
 *   another address, whose intents the chain refuses.
 *
 * @example
 * ```ts
 * import { privateKeySigner } from 'latchkey/client'
 *
 * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
 * console.log(signer.address) // ST...
 * ```
 */
export function privateKeySigner(privateKey: string, network: Network): PrivateKeySigner {
  const key = compressedKey(privateKey)
  const address = addressOf(key, network)
  const publicKey = publicKeyOf(key)
  const requireNetwork = (asked: Network) => {
    if (asked !== network)
      throw new LatchkeyError(
        'WRONG_NETWORK',
        `The service is on ${asked}, and this signer signs for ${network} only`,
      )
  }
  return {
    interactive: false,
    address,
    network,
    async getAddress(asked) {
      requireNetwork(asked)
      return address
    },
    async signMessage(message, asked) {
      requireNetwork(asked)
      return { signature: signMessage({ message, privateKey: key }), publicKey }
    },
    async signIntent(intent, asked) {
      requireNetwork(asked)
      return signIntent({ ...intent, network, privateKey: key })
    },
  }
}

function compressedKey(privateKey: string): string {
  const key = privateKey.trim()
  if (/^(?:0x)?[0-9a-f]{64}01$/i.test(key)) return key
  throw new LatchkeyError(
    'INVALID_ARGUMENT',
    /^(?:0x)?[0-9a-f]{64}$/i.test(key)
      ? 'To Stacks, a private key of 64 characters is an uncompressed one, whose intents the chain refuses; end it in 01'
      : 'A private key is 66 hex characters that end in 01',
  )
}
