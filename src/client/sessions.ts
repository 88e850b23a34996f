import type { CreatedSession } from '../sessions/session.ts'
import type { CallOptions } from './keys.ts'
import type { Transport } from './transport.ts'
import type { Wallet } from './wallet.ts'

/** Read-only bearers, so that a page can watch keys without asking the wallet at each refresh. */
export interface Sessions {
  /**
   * Opens a session of 1 to 3600 seconds; the wallet signs once. `session` in the answer is the secret, which a client
   * takes as its option of that name.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const baseUrl = 'https://dex.example'
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const { session } = await createClient({ baseUrl, signer }).sessions.open(900)
   * const page = createClient({ baseUrl, session })
   * console.log((await page.keys.list()).length) // and keys.get, keys.usage, orders.list, audit.export: nothing is signed
   * await page.sessions.end()
   * ```
   */
  open(ttlSeconds?: number, options?: CallOptions): Promise<CreatedSession>
  /** Ends the session that the client itself uses. */
  end(options?: CallOptions): Promise<void>
}

export function createSessions(transport: Transport, wallet: Wallet): Sessions {
  return {
    open: (ttlSeconds = 3_600, { signal } = {}) =>
      transport.send<CreatedSession>({
        method: 'POST',
        path: '/sessions',
        proof: wallet.prove({ action: 'create_session', ttlSeconds }, 'body'),
        signal,
      }),
    async end({ signal } = {}) {
      await transport.send({ method: 'DELETE', path: '/sessions/self', session: true, signal })
    },
  }
}
