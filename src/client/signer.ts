import { isWalletAddress } from '../stacks/address.ts'
import { type Intent, intentDomain, intentMessage, verifyIntent } from '../stacks/intent.ts'
import type { Network } from '../stacks/network.ts'
import { addressOf, publicKeyOf, signIntent, signMessage } from '../stacks/sign.ts'
import { verifyMessage } from '../stacks/signature.ts'
import { LatchkeyError } from './errors.ts'

/** Signs for one Stacks address: a browser wallet, a private key, or an implementation of the caller's. */
export interface Signer {
  /** Whether a person confirms every signature. The client requests no second one for a call unless the first went stale. */
  readonly interactive: boolean
  /** Resolves with the address that signs. Rejects with `WRONG_NETWORK` when the signer is for another network. */
  getAddress(network: Network): Promise<string>
  /** Signs a text as `stx_signMessage` does. */
  signMessage(message: string, network: Network): Promise<MessageSignature>
  /** Signs an order's intent as `stx_signStructuredMessage` does (SIP-018). Resolves with 65 bytes hex, RSV or VRS. */
  signIntent(intent: Intent, network: Network): Promise<string>
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

/** The type of `request` in @stacks/connect 8. */
// biome-ignore lint/suspicious/noExplicitAny: any function that takes these methods will do, however it types their params
export type WalletRequest = (method: any, params?: any) => Promise<unknown>

/** Options of {@link walletSigner}. */
export interface WalletSignerOptions {
  /** The address that signs. By default the first address of the network in what the wallet returns, requested once. */
  address?: string
}

/**
 * Creates a signer from a browser wallet. Each signature is verified before anything is sent: where the wallet's account or
 * network was switched meanwhile, the call rejects with `SIGNING_FAILED` and a sentence for the wallet's user.
 *
 * @param request `request` of @stacks/connect 8, or a function that supports `stx_signMessage`,
 *   `stx_signStructuredMessage` (both Clarity values are passed in hex) and, when no address is given, `stx_getAddresses` or
 *   `getAddresses`. It resolves with the result, or with the JSON-RPC envelope around it.
 *
 * @example
 * ```ts
 * import { request } from '@stacks/connect'
 * import { createClient, walletSigner } from 'latchkey/client'
 *
 * const client = createClient({ baseUrl: 'https://dex.example', signer: walletSigner(request) })
 * const { apiKey } = await client.keys.create({ name: 'My Trading Bot', permissions: ['execute'] })
 * console.log(apiKey.length) // the wallet's user has signed; apiKey is shown this once
 * ```
 */
export function walletSigner(request: WalletRequest, options: WalletSignerOptions = {}): Signer {
  let asked: Promise<Account[]> | undefined

  function askOnce(): Promise<Account[]> {
    asked ??= askAccounts(request).catch((error) => {
      asked = undefined
      throw error
    })
    return asked
  }

  async function getAddress(network: Network): Promise<string> {
    if (options.address !== undefined) {
      if (isWalletAddress(options.address, network)) return options.address
      throw new LatchkeyError('WRONG_NETWORK', `${options.address} is not an address of ${network}`)
    }
    const account = (await askOnce()).find(({ address }) => isWalletAddress(address, network))
    if (account !== undefined) return account.address
    asked = undefined
    throw new LatchkeyError('WRONG_NETWORK', `Switch the wallet to ${network}`)
  }

  /**
   * Has the wallet sign. Releases of Xverse demand the account's public key beside a message, and other wallets may refuse a member
   * that they do not know: after "invalid params", which opens no dialog, the other form is tried.
   */
  async function sign(method: SigningMethod, params: object, address: string): Promise<string> {
    const withKey = async () => {
      const account = (await askOnce()).find((listed) => listed.address === address)
      return account?.publicKey && { ...params, publicKey: account.publicKey }
    }
    const isListed = method === 'stx_signMessage' && asked !== undefined
    const first = (isListed && (await withKey())) || params
    try {
      return readSignature(await ask(request, method, first))
    } catch (error) {
      if (walletCodeOf(error) !== INVALID_PARAMS) throw error
      const other = first === params ? await withKey() : params
      if (!other) throw error
      return readSignature(await ask(request, method, other))
    }
  }

  return {
    interactive: true,
    getAddress,
    async signMessage(message, network) {
      const walletAddress = await getAddress(network)
      const signature = await sign('stx_signMessage', { message }, walletAddress)
      const proof = verifyMessage({ message, signature, walletAddress, network })
      if (!proof.ok) throw signedByAnother(walletAddress, proof.reason)
      return { signature, publicKey: proof.value.publicKey }
    },
    async signIntent(intent, network) {
      const owner = await getAddress(network)
      const params = { domain: intentDomain(network), message: intentMessage(intent) }
      const signature = await sign('stx_signStructuredMessage', params, owner)
      const proof = verifyIntent({ ...intent, owner, signature, network })
      if (!proof.ok) throw signedByAnother(owner, proof.reason)
      return signature
    },
  }
}

type SigningMethod = 'stx_signMessage' | 'stx_signStructuredMessage'

/** An account of a wallet. Not every wallet names the public key. */
interface Account {
  address: string
  publicKey: string | undefined
}

// JSON-RPC 2.0. Any other error may be the user's refusal, after which no second dialog may open.
const METHOD_NOT_FOUND = -32601
const INVALID_PARAMS = -32602

async function askAccounts(request: WalletRequest): Promise<Account[]> {
  const answer = await ask(request, 'stx_getAddresses').catch((error) => {
    if (walletCodeOf(error) === METHOD_NOT_FOUND) return ask(request, 'getAddresses')
    throw error
  })
  const entries: unknown[] = Array.isArray(answer.addresses) ? answer.addresses : []
  return entries.flatMap((entry) => {
    const { address, publicKey } = isObject(entry) ? entry : { address: entry }
    const isKey = typeof publicKey === 'string' && /^(?:0x)?0[23][0-9a-f]{64}$/i.test(publicKey)
    return typeof address === 'string'
      ? [{ address, publicKey: isKey ? publicKey : undefined }]
      : []
  })
}

function walletCodeOf(error: unknown): unknown {
  return error instanceof LatchkeyError ? error.details?.walletCode : undefined
}

/** Calls a method of the wallet, and unwraps the JSON-RPC envelope that bare providers resolve with. */
async function ask(
  request: WalletRequest,
  method: SigningMethod | 'stx_getAddresses' | 'getAddresses',
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
