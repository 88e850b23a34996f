import {
  type Network,
  privateKeySigner,
  type Signer,
  type WalletProvider,
  type WalletSignerOptions,
  walletSigner,
} from '../client/index.ts'
import { PageFault } from './problem.tsx'

/** A wallet that has put its provider into the page. */
export interface InstalledWallet {
  id: string
  name: string
  icon?: string
}

/** Where wallets that register themselves nowhere put their providers. */
const KNOWN: readonly InstalledWallet[] = [
  { id: 'LeatherProvider', name: 'Leather' },
  { id: 'XverseProviders.BitcoinProvider', name: 'Xverse' },
  { id: 'AsignaProvider', name: 'Asigna' },
  { id: 'FordefiProviders.UtxoProvider', name: 'Fordefi' },
]

/** Lists in which wallets register themselves: WBIP004, and its earlier names, which Leather and Xverse use. */
const REGISTERS = ['wbip_providers', 'webbtc_providers', 'btc_providers']

/**
 * The wallets of this browser: those that registered themselves, and those that are known. Their providers are used directly and
 * not through @stacks/connect: the signer of the SDK accepts what bare providers return, and the policy of the page allows neither
 * the scripts of its dialog nor the relay of WalletConnect.
 */
export function installedWallets(): InstalledWallet[] {
  const registered = REGISTERS.flatMap((name) => {
    const list: unknown = (globalThis as Record<string, unknown>)[name]
    return Array.isArray(list) ? list.filter(isRegistration) : []
  })
  const all = [...registered, ...KNOWN].filter(({ id }) => providerOf(id) !== undefined)
  return all.filter(({ id }, at) => all.findIndex((one) => one.id === id) === at)
}

function isRegistration(entry: unknown): entry is InstalledWallet {
  const { id, name } = (entry ?? {}) as Partial<InstalledWallet>
  return typeof id === 'string' && typeof name === 'string'
}

function providerOf(id: string): WalletProvider | undefined {
  const found = id
    .split('.')
    .reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], globalThis)
  return typeof (found as WalletProvider | undefined)?.request === 'function'
    ? (found as WalletProvider)
    : undefined
}

const KEPT_WALLET = 'latchkey.wallet'

/**
 * A signer of a wallet of this browser: the one that was used last, unless another is named. With an address it signs for
 * that account only, and the wallet is not asked for its addresses again.
 */
export function browserSigner({
  id = localStorage.getItem(KEPT_WALLET) ?? '',
  ...options
}: { id?: string } & WalletSignerOptions = {}): Signer {
  const provider = providerOf(id)
  if (provider === undefined) throw new PageFault('noWallet')
  localStorage.setItem(KEPT_WALLET, id)
  return walletSigner(provider, options)
}

const KEPT_KEY = 'latchkey.throwaway'

/**
 * The throw-away wallet of this tab: a private key in sessionStorage, where every script of the page could read it. It
 * signs for a devnet only, whose tokens are worth nothing.
 */
export function throwawaySigner(network: Network): Signer {
  if (network !== 'devnet') throw new PageFault('wrongNetwork')
  const kept = sessionStorage.getItem(KEPT_KEY)
  const key = kept ?? newPrivateKey()
  sessionStorage.setItem(KEPT_KEY, key)
  return privateKeySigner(key, network)
}

/** One in 2^127 is beyond the curve's order, and would not sign. */
function newPrivateKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32))
  return `${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}01`
}
