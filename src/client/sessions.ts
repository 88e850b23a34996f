import { type CreatedSession, MAX_SESSION_SECONDS } from '../sessions/session.ts'
import { sendChange } from './audit-heads.ts'
import type { ServiceClock } from './clock.ts'
import { requireWhole } from './errors.ts'
import { openEvents } from './events.ts'
import type { CallOptions } from './keys.ts'
import type { Transport } from './transport.ts'
import type { Wallet } from './wallet.ts'

/** Between two looks where there is no stream, and before the next connection where one has ended. */
const WATCH_PAUSE_MS = 5_000

/** Sessions authorize reads, so that a page can show keys without a signature for each refresh. */
export interface Sessions {
  /**
   * Opens a session of `ttlSeconds` (1 to 3600, the default); the wallet signs once. `session` in the result is the
   * secret, for the option of that name of another client. Not repeated after a 503.
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
  /**
   * Ends the client's own session. Not repeated after a 503.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const baseUrl = 'https://dex.example'
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const { session } = await createClient({ baseUrl, signer }).sessions.open(60)
   * const page = createClient({ baseUrl, session })
   * await page.sessions.end()
   * console.log(await page.keys.list().catch(({ code }) => code)) // INVALID_SESSION
   * ```
   */
  end(options?: CallOptions): Promise<void>
  /**
   * Yields whenever keys or orders of the session's wallet may have changed: read again what is shown. It follows one stream
   * of the service, and without one, as on Workers, it yields every five seconds. It outlasts outages, and ends with its
   * `signal` only: then it throws the signal's reason.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const baseUrl = 'https://dex.example'
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const { session } = await createClient({ baseUrl, signer }).sessions.open(900)
   * const page = createClient({ baseUrl, session })
   * for await (const _ of page.sessions.watch()) {
   *   console.log((await page.keys.list()).length)
   *   break
   * }
   * ```
   */
  watch(options?: CallOptions): AsyncGenerator<void, never, undefined>
}

/** Creates the `sessions` of a client. */
export function createSessions(
  transport: Transport,
  wallet: Wallet,
  clock: ServiceClock,
): Sessions {
  return {
    async open(ttlSeconds = MAX_SESSION_SECONDS, { signal } = {}) {
      requireWhole('ttlSeconds', ttlSeconds, 1, MAX_SESSION_SECONDS)
      return sendChange<CreatedSession>(transport, wallet, {
        method: 'POST',
        path: '/sessions',
        proof: wallet.prove({ action: 'create_session', ttlSeconds }),
        signal,
      })
    },
    async end({ signal } = {}) {
      await transport.send({ method: 'DELETE', path: '/sessions/self', session: true, signal })
    },
    async *watch({ signal = new AbortController().signal } = {}) {
      const events = openEvents(transport, '/events', signal, 'session')
      for (;;) {
        yield* events.connect()
        await clock.wait(WATCH_PAUSE_MS, signal)
        yield
      }
    },
  }
}
