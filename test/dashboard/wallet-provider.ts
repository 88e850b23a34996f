import { Cl, signStructuredData, type TupleCV } from '@stacks/transactions'
import { addressOf, publicKeyOf, signMessage } from '../../src/stacks/sign.ts'
import type { Page } from '../node/chromium.ts'

/** A wallet's extension: what it says to a page, and the key behind its account. */
export interface Wallet {
  privateKey: string
  /** The networks that its addresses are of. */
  networks: ('mainnet' | 'devnet')[]
  /** The next signature is declined by its user. */
  declines: boolean
  asked: string[]
  /** The texts that it was asked to sign. */
  texts: string[]
}

/** Puts a provider into the page as Leather does: `request` with JSON-RPC envelopes. It signs in this process. */
export async function installWallet(page: Page, wallet: Wallet): Promise<void> {
  await page.ask('Runtime.addBinding', { name: 'askWallet' })
  page.on('Runtime.bindingCalled', ({ payload }) => {
    const { id, method, params } = JSON.parse(payload)
    wallet.asked.push(method)
    if (method === 'stx_signMessage') wallet.texts.push(params.message)
    void page.evaluate(`walletAnswered(${id}, ${JSON.stringify(answer(wallet, method, params))})`)
  })
  await page.ask('Page.addScriptToEvaluateOnNewDocument', {
    source: `{
      const waiting = new Map()
      let last = 0
      globalThis.walletAnswered = (id, answer) => {
        const { resolve, reject } = waiting.get(id)
        ;('error' in answer ? reject : resolve)(answer)
      }
      globalThis.LeatherProvider = {
        request: (method, params) => new Promise((resolve, reject) => {
          waiting.set(++last, { resolve, reject })
          askWallet(JSON.stringify({ id: last, method, params }))
        }),
      }
    }`,
  })
}

// biome-ignore lint/suspicious/noExplicitAny: a wallet is given whatever the method takes
function answer(wallet: Wallet, method: string, params: any): object {
  const { privateKey, networks } = wallet
  const publicKey = publicKeyOf(privateKey)
  const envelope = (result: object) => ({ jsonrpc: '2.0', id: '1', result })
  if (method === 'stx_getAddresses' || method === 'getAddresses')
    return envelope({
      addresses: networks.map((network) => ({
        symbol: 'STX',
        address: addressOf(privateKey, network),
        publicKey,
      })),
    })
  if (wallet.declines) {
    wallet.declines = false
    return { jsonrpc: '2.0', id: '1', error: { code: 4001, message: 'User rejected' } }
  }
  if (method === 'stx_signMessage')
    return envelope({ signature: signMessage({ message: params.message, privateKey }), publicKey })
  const [message, domain] = [params.message, params.domain].map((value) =>
    Cl.deserialize<TupleCV>(value),
  ) as [TupleCV, TupleCV]
  return envelope({ signature: signStructuredData({ message, domain, privateKey }), publicKey })
}
