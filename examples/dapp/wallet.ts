import { privateKeySigner, type Signer, type WalletRequest, walletSigner } from 'latchkey/client'

declare const LeatherProvider: { request: WalletRequest } | undefined
declare const XverseProviders: { BitcoinProvider: { request: WalletRequest } } | undefined

/** The wallet that is installed, by the provider that its extension puts into the page; undefined where there is none. */
export function installedWallet(): Signer | undefined {
  if (typeof LeatherProvider !== 'undefined') {
    const leather = LeatherProvider
    return walletSigner((method, params) => leather.request(method, params))
  }
  if (typeof XverseProviders === 'undefined') return undefined
  const { BitcoinProvider } = XverseProviders
  return walletSigner((method, params) => BitcoinProvider.request(method, params))
}

/** A wallet for a devnet, whose tokens are worth nothing: a private key in this tab. */
export function throwawayWallet(): Signer {
  const kept = sessionStorage.getItem('throwaway')
  const bytes = crypto.getRandomValues(new Uint8Array(32))
  const key =
    kept ?? `${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}01`
  sessionStorage.setItem('throwaway', key)
  return privateKeySigner(key, 'devnet')
}
