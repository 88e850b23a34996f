import { isWalletAddress } from '../stacks/address.ts'
import { type Intent, intentDomain, intentMessage, verifyIntent } from '../stacks/intent.ts'
import type { Network } from '../stacks/network.ts'
import { addressOf, publicKeyOf, signIntent, signMessage } from '../stacks/sign.ts'
import { verifyMessage } from '../stacks/signature.ts'
import { LatchkeyError } from './errors.ts'

/** What proves to a service who is asking: a browser wallet, a private key, or anything else that signs for one address. */
export interface Signer {
  /** Whether a person is asked for every signature. The client never asks such a signer twice for one call by itself. */
  readonly interactive: boolean
  /** Answers the address that signs. Throws `WRONG_NETWORK` when the signer is meant for another network. */
  getAddress(network: Network): Promise<string>
  /** Signs as `stx_signMessage` does. The signature is 65 bytes hex, RSV or VRS. */
  signMessage(message: string, network: Network): Promise<MessageSignature>
  /** Signs an order's intent as `stx_signStructuredMessage` does (SIP-018). Answers 65 bytes hex, RSV or VRS. */
  signIntent(intent: Intent, network: Network): Promise<string>
}

export interface MessageSignature {
  signature: string
  /** Hex. The service checks it. */
  publicKey?: string
}

/** A signer with a private key in memory: for bots, servers and tests. */
export interface PrivateKeySigner extends Signer {
  readonly address: string
  readonly network: Network
}

/**
 * Makes a signer of a private key. It signs for the given network and no other, so that a service which claims to be a
 * devnet cannot obtain a signature that is worth something on mainnet. The key cannot be read from the signer.
 *
 * @param privateKey 66 hex characters that end in 01 (compressed); `0x` is tolerated. Without the 01 it would be another
 *   address's, whose intents the chain refuses: `INVALID_ARGUMENT`.
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
  const demand = (asked: Network) => {
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
      demand(asked)
      return address
    },
    async signMessage(message, asked) {
      demand(asked)
      return { signature: signMessage({ message, privateKey: key }), publicKey }
    },
    async signIntent(intent, asked) {
      demand(asked)
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

/** The shape of `request` from @stacks/connect 8: three methods of it are used. */
// biome-ignore lint/suspicious/noExplicitAny: any function that takes these methods will do, however it types their params
export type WalletRequest = (method: any, params?: any) => Promise<unknown>

export interface WalletSignerOptions {
  /** The address that signs. Without it the wallet is asked, once. */
  address?: string
}

/**
 * Makes a signer of a browser wallet. What the wallet signs is checked on the spot: a wallet whose account or network was
 * switched meanwhile fails with `SIGNING_FAILED` and a sentence for its user, before anything is sent.
 *
 * @param request `request` of @stacks/connect 8, or anything like it that knows `stx_signMessage`,
 *   `stx_signStructuredMessage` and, when no address is given, `stx_getAddresses` or `getAddresses`.
 *
 * @example
 * ```ts
 * import { request } from '@stacks/connect'
 * import { createClient, walletSigner } from 'latchkey/client'
 *
 * const client = createClient({ baseUrl: 'https://dex.example', signer: walletSigner(request) })
 * const { apiKey } = await client.keys.create({ name: 'My Trading Bot', permissions: ['execute'] })
 * console.log(apiKey.length) // the wallet asked its user to sign; apiKey is shown this once
 * ```
 */
export function walletSigner(request: WalletRequest, options: WalletSignerOptions = {}): Signer {
  let asked: Promise<string[]> | undefined

  async function getAddress(network: Network): Promise<string> {
    if (options.address !== undefined) {
      if (isWalletAddress(options.address, network)) return options.address
      throw new LatchkeyError('WRONG_NETWORK', `${options.address} is not an address of ${network}`)
    }
    asked ??= askAddresses(request)
    const addresses = await asked.catch((error) => {
      asked = undefined
      throw error
    })
    const address = addresses.find((candidate) => isWalletAddress(candidate, network))
    if (address !== undefined) return address
    asked = undefined
    throw new LatchkeyError('WRONG_NETWORK', `Switch the wallet to ${network}`)
  }

  return {
    interactive: true,
    getAddress,
    async signMessage(message, network) {
      const walletAddress = await getAddress(network)
      const signature = readSignature(await ask(request, 'stx_signMessage', { message }))
      const proof = verifyMessage({ message, signature, walletAddress, network })
      if (!proof.ok) throw signedByAnother(walletAddress, proof.reason)
      return { signature, publicKey: proof.value.publicKey }
    },
    async signIntent(intent, network) {
      const owner = await getAddress(network)
      const signature = readSignature(
        await ask(request, 'stx_signStructuredMessage', {
          domain: intentDomain(network),
          message: intentMessage(intent),
        }),
      )
      const proof = verifyIntent({ ...intent, owner, signature, network })
      if (!proof.ok) throw signedByAnother(owner, proof.reason)
      return signature
    },
  }
}

// JSON-RPC 2.0: method not found. Any other refusal is the user's, who must not be asked a second time.
const METHOD_NOT_FOUND = -32601

async function askAddresses(request: WalletRequest): Promise<string[]> {
  const answer = await ask(request, 'stx_getAddresses').catch((error) => {
    if (error instanceof LatchkeyError && error.details?.walletCode === METHOD_NOT_FOUND)
      return ask(request, 'getAddresses')
    throw error
  })
  const entries: unknown[] = Array.isArray(answer.addresses) ? answer.addresses : []
  return entries.flatMap((entry) => {
    const address = typeof entry === 'string' ? entry : (entry as { address?: unknown })?.address
    return typeof address === 'string' ? [address] : []
  })
}

/** Asks the wallet, and unwraps the JSON-RPC envelope in which bare providers answer. */
async function ask(
  request: WalletRequest,
  method: 'stx_signMessage' | 'stx_signStructuredMessage' | 'stx_getAddresses' | 'getAddresses',
  params?: object,
): Promise<Record<string, unknown>> {
  let answer: unknown
  try {
    answer = await (params === undefined ? request(method) : request(method, params))
  } catch (error) {
    throw walletRefused(method, error)
  }
  if (!isObject(answer)) throw walletRefused(method, undefined)
  if (isObject(answer.error)) throw walletRefused(method, answer.error)
  return isObject(answer.result) ? answer.result : answer
}

function readSignature({ signature }: Record<string, unknown>): string {
  if (typeof signature === 'string') return signature
  throw new LatchkeyError('SIGNING_FAILED', 'The wallet answered without a signature')
}

function walletRefused(method: string, cause: unknown): LatchkeyError {
  const { message, code } = isObject(cause) ? cause : {}
  const reason = typeof message === 'string' && message !== '' ? `: ${message}` : ''
  return new LatchkeyError('SIGNING_FAILED', `The wallet did not answer ${method}${reason}`, {
    details: { method, ...(typeof code === 'number' && { walletCode: code }) },
  })
}

function signedByAnother(address: string, reason: string): LatchkeyError {
  return new LatchkeyError(
    'SIGNING_FAILED',
    `The wallet did not sign as ${address}; select this account in the wallet and sign again`,
    { details: { address, reason } },
  )
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
