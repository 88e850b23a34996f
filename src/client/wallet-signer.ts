import { addressOfPublicKey } from '../stacks/address.ts'
import { intentDomain, intentHash, intentMessage, verifyIntent } from '../stacks/intent.ts'
import { messageHash } from '../stacks/message.ts'
import type { Network } from '../stacks/network.ts'
import { parseSignature, recoverKeys } from '../stacks/recover.ts'
import { verifyMessage } from '../stacks/signature.ts'
import { untilAborted } from './abort.ts'
import { LatchkeyError } from './errors.ts'
import type { Signer } from './signer.ts'
import {
  type AskWallet,
  accountFor,
  askAccounts,
  askFirst,
  requireAccount,
  type WalletAccount,
} from './wallet-accounts.ts'
import {
  isObject,
  METHOD_NOT_FOUND,
  walletCodeOf,
  walletFault,
  walletRefused,
} from './wallet-errors.ts'

/** The type of `request` in @stacks/connect 8. */
// biome-ignore lint/suspicious/noExplicitAny: any function that takes these methods will do, however it types their params
export type WalletRequest = (method: any, params?: any) => Promise<unknown>

/** What a wallet puts into a page, such as `window.LeatherProvider`. */
export interface WalletProvider {
  request: WalletRequest
  /** Of Xverse: follows `accountChange`, `networkChange` and `disconnect`. */
  // biome-ignore lint/suspicious/noExplicitAny: releases of Xverse differ in the parameters
  addListener?: (...event: any[]) => unknown
  /** As in EIP-1193: follows `accountsChanged`. */
  // biome-ignore lint/suspicious/noExplicitAny: wallets differ in their events
  on?: (event: any, listener: () => void) => unknown
}

/** Options of {@link walletSigner}. */
export interface WalletSignerOptions {
  /** The address that signs. By default the first address of the network in what the wallet returns, requested once. */
  address?: string
  /**
   * Called after the wallet has said that its account or network is another one, or that it has disconnected. The signer was reset;
   * a page that shows an account should forget it. Of a provider only: `request` of @stacks/connect passes no events on.
   */
  onAccountsChanged?: () => void
  /** Ends the calls of `onAccountsChanged`. */
  signal?: AbortSignal
}

/** A signer of a browser wallet. */
export interface WalletSigner extends Signer {
  /** Forgets the wallet's accounts: they are requested again before the next signature. */
  reset(): void
}

/**
 * Creates a signer from a browser wallet. Each signature is verified before anything is sent. Where the wallet does not sign, the
 * call rejects with a code that says why: `SIGNING_CANCELLED`, `WRONG_ACCOUNT`, `WRONG_NETWORK`, `MULTISIG_ADDRESS`,
 * `WALLET_UNSUPPORTED`, `WALLET_FAULT`, and `SIGNING_FAILED` for anything else that the wallet said. Throws `INVALID_ARGUMENT` for
 * what is no wallet, such as the provider of one that is not installed.
 *
 * @param wallet `request` of @stacks/connect 8, or the provider that a wallet puts into the page. It supports `stx_signMessage`,
 *   `stx_signStructuredMessage` (both Clarity values are passed in hex) and, when no address is given, `getAddresses`,
 *   `stx_getAddresses` or `wallet_connect`. It resolves with the result, or with the JSON-RPC envelope around it.
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
export function walletSigner(
  wallet: WalletRequest | WalletProvider,
  options: WalletSignerOptions = {},
): WalletSigner {
  requireWallet(wallet)
  let listed: { network: Network; accounts: Promise<WalletAccount[]> } | undefined

  function reset(): void {
    listed = undefined
  }

  /** Shared by calls that run at once: a signal ends the wait of its own call only. */
  function accountsOn(network: Network): Promise<WalletAccount[]> {
    if (listed?.network === network) return listed.accounts
    const next = { network, accounts: askAccounts(askUntil(wallet, undefined), network) }
    listed = next
    next.accounts.catch(() => {
      if (listed === next) reset()
    })
    return next.accounts
  }

  async function addressOn(network: Network, signal: AbortSignal | undefined): Promise<string> {
    signal?.throwIfAborted()
    if (options.address !== undefined) {
      requireAccount(options.address, network)
      return options.address
    }
    const accounts = await untilAborted(accountsOn(network), signal)
    try {
      return accountFor(accounts, network).address
    } catch (error) {
      reset()
      throw error
    }
  }

  /**
   * What a wallet takes beside a text differs: older Xverse demands the account's public key, and others may refuse a member that
   * they do not know. The key is not asked for before a wallet has refused to go without.
   */
  async function* formsOf({ method, params, address, network, signal }: Asked) {
    const key = async () => {
      const accounts = await untilAborted(accountsOn(network), signal)
      const account = accounts.find((one) => one.address === address)
      return account?.publicKey === undefined ? {} : { publicKey: account.publicKey }
    }
    const isKeyFirst = method === 'stx_signMessage' && listed?.network === network
    yield { ...params, network, ...(isKeyFirst && (await key())) }
    yield { ...params, ...(await key()) }
    yield params
  }

  async function sign(asked: Asked): Promise<SignedByWallet> {
    const ask = askUntil(wallet, asked.signal)
    const answer = await askFirst(ask, asked.method, formsOf(asked)).catch((error) => {
      if (asked.method === 'stx_signMessage' || walletCodeOf(error) !== METHOD_NOT_FOUND)
        throw error
      // Releases of Leather know one method for both.
      return ask('stx_signMessage', { ...asked.params, messageType: 'structured' })
    })
    return readSigned(asked.method, answer)
  }

  /** Names the account that a signature is of only where the wallet itself knows it: other bytes recover to an account as well. */
  async function unfit(asked: Asked, digest: Uint8Array, signed: SignedByWallet) {
    const accounts = (await listed?.accounts.catch(() => undefined)) ?? []
    return wrongSignature({ asked, digest, signed, accounts })
  }

  follow(wallet, options, reset)

  return {
    interactive: true,
    reset,
    getAddress: (network, { signal } = {}) => addressOn(network, signal),
    async signMessage(message, network, { signal } = {}) {
      const address = await addressOn(network, signal)
      const method = 'stx_signMessage'
      const asked: Asked = { method, params: { message }, address, network, signal }
      const signed = await sign(asked)
      const { signature } = signed
      const proof = verifyMessage({ message, signature, walletAddress: address, network })
      if (!proof.ok) throw await unfit(asked, messageHash(message), signed)
      return { signature, publicKey: proof.value.publicKey }
    },
    async signIntent(intent, network, { signal } = {}) {
      const address = await addressOn(network, signal)
      const method = 'stx_signStructuredMessage'
      const params = { domain: intentDomain(network), message: intentMessage(intent) }
      const asked: Asked = { method, params, address, network, signal }
      const signed = await sign(asked)
      const { signature } = signed
      const proof = verifyIntent({ ...intent, owner: address, signature, network })
      if (!proof.ok) throw await unfit(asked, intentHash(intent, network), signed)
      return signature
    },
  }
}

/** What a wallet is asked to sign, and for whom. */
interface Asked {
  method: 'stx_signMessage' | 'stx_signStructuredMessage'
  params: { message: string; domain?: string }
  address: string
  network: Network
  signal: AbortSignal | undefined
}

interface SignedByWallet {
  signature: string
  publicKey: string | undefined
}

/** Sends requests to a wallet until the signal aborts: a wallet cannot be closed, and its late answer is not used. */
function askUntil(
  wallet: WalletRequest | WalletProvider,
  signal: AbortSignal | undefined,
): AskWallet {
  return async (method, params) => {
    signal?.throwIfAborted()
    const asking = askOnce(wallet, method, params)
    return untilAborted(asking, signal)
  }
}

/** Resolves with the result out of the envelope that bare providers resolve with; rejects with a LatchkeyError. */
async function askOnce(
  wallet: WalletRequest | WalletProvider,
  method: string,
  params: object,
): Promise<unknown> {
  let answer: unknown
  try {
    answer = await (typeof wallet === 'function'
      ? wallet(method, params)
      : wallet.request(method, params))
  } catch (error) {
    throw walletRefused(method, error)
  }
  if (!isObject(answer)) throw walletFault(method, 'nothing')
  if (isObject(answer.error)) throw walletRefused(method, answer)
  return isObject(answer.result) ? answer.result : answer
}

function readSigned(method: string, answer: unknown): SignedByWallet {
  const { signature, publicKey } = isObject(answer) ? answer : {}
  if (typeof signature !== 'string') throw walletFault(method, 'no signature')
  if (!parseSignature(signature).ok)
    throw walletFault(method, 'a signature that is not 65 bytes of a valid one')
  const isKey = typeof publicKey === 'string' && publicKey !== ''
  return { signature, publicKey: isKey ? publicKey.replace(/^0x/i, '').toLowerCase() : undefined }
}

/** Says what a wallet did that did not sign as the account that it was asked for. */
function wrongSignature(facts: {
  asked: Asked
  digest: Uint8Array
  signed: SignedByWallet
  accounts: readonly WalletAccount[]
}): LatchkeyError {
  const { asked, digest, signed, accounts } = facts
  const { method, params, address, network } = asked
  const details = { method, address }
  const keys = keysOf(digest, signed.signature)
  const owns = (publicKey: string) => addressOfPublicKey(publicKey, network) === address
  if (keys.some(owns))
    return new LatchkeyError(
      'WALLET_UNSUPPORTED',
      `${address} has an uncompressed public key, whose intents the chain refuses`,
      { details },
    )
  const asText = method === 'stx_signStructuredMessage' && messageHash(params.message)
  if (asText && keysOf(asText, signed.signature).some(owns))
    return new LatchkeyError(
      'WALLET_UNSUPPORTED',
      'The wallet signed the data as a text, as Xverse does for an account on a Ledger. Connect the Ledger with Leather, or use an account that is not on a Ledger',
      { details },
    )
  const signedBy = keys
    .map((key) => ({ key, address: addressOfPublicKey(key, network) as string }))
    .find(
      (one) =>
        one.key === signed.publicKey || accounts.some((account) => account.address === one.address),
    )
  const [key] = keys
  if (key === undefined || (signedBy === undefined && signed.publicKey !== undefined))
    return walletFault(method, 'the signature of something else')
  const other = signedBy?.address ?? addressOfPublicKey(key, network)
  return new LatchkeyError(
    'WRONG_ACCOUNT',
    `The wallet did not sign as ${address}, but as ${other}`,
    { details: { ...details, signedBy: other } },
  )
}

function keysOf(digest: Uint8Array, signature: string): string[] {
  const readings = parseSignature(signature)
  return readings.ok ? recoverKeys(digest, readings.value).map(({ publicKey }) => publicKey) : []
}

const WALLET_EVENTS = ['accountChange', 'networkChange', 'disconnect']

/** Has the wallet say when its account, its network or its connection changes. */
function follow(
  wallet: WalletRequest | WalletProvider,
  { onAccountsChanged, signal }: WalletSignerOptions,
  reset: () => void,
): void {
  if (typeof wallet === 'function') return
  const changed = () => {
    if (signal?.aborted) return
    reset()
    onAccountsChanged?.()
  }
  try {
    // Earlier releases of Xverse take two parameters.
    for (const eventName of WALLET_EVENTS)
      if ((wallet.addListener?.length ?? 0) > 1) wallet.addListener?.(eventName, changed)
      else wallet.addListener?.({ eventName, cb: changed })
    wallet.on?.('accountsChanged', changed)
  } catch {
    // A wallet that knows none of the events can still sign.
  }
}

function requireWallet(wallet: WalletRequest | WalletProvider | undefined): void {
  if (typeof wallet === 'function' || typeof wallet?.request === 'function') return
  throw new LatchkeyError(
    'INVALID_ARGUMENT',
    'A wallet is request of @stacks/connect, or a provider with a method request; where it is undefined, no such wallet is installed',
  )
}
