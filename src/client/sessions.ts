import { type CreatedSession, MAX_SESSION_SECONDS } from '../sessions/session.ts'
import { sendChange } from './audit-heads.ts'
import type { CallOptions, CallPromise, Calls } from './call.ts'
import type { ServiceClock } from './clock.ts'
import { requireWhole } from './errors.ts'
import { openEvents } from './events.ts'
import type { Transport } from './transport.ts'
import type { Wallet } from './wallet.ts'

/** Between two looks where there is no stream, and before the next connection where one has ended. */
const WATCH_PAUSE_MS = 5_000

/** Sessions authorize reads, so that a page can show keys without a signature for each refresh. */
export interface Sessions {
  /**
   * Opens a session of `ttlSeconds` (1 to 3600, the default); the wallet signs once. `session` in the result is the
   * secret, for the option of that name of another client. Not repeated after a lost connection: a session reads, and ends by
   * itself.
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
  open(ttlSeconds?: number, options?: CallOptions): CallPromise<CreatedSession>
  /**
   * Ends the client's own session. Repeated after a lost connection.
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
  end(options?: CallOptions): CallPromise<void>
  /**
   * Yields whenever keys or orders of the session's wallet may have changed: read again what is shown. It follows one stream
   * of the service, and without one, as on Workers, it yields every five seconds. It outlasts outages, and ends with its
   * `signal` only: then it throws an `AbortError`.
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
  watch(options?: CallOptions): AsyncGenerator<void, void, undefined>
}

/** What the sessions of a client need. */
interface Context {
  transport: Transport
  wallet: Wallet
  clock: ServiceClock
  calls: Calls
}

/** Creates the `sessions` of a client. */
export function createSessions({ transport, wallet, clock, calls }: Context): Sessions {
  return {
    open: (ttlSeconds = MAX_SESSION_SECONDS, options) =>
      calls.start(options, async (context) => {
        requireWhole('ttlSeconds', ttlSeconds, 1, MAX_SESSION_SECONDS)
        return sendChange<CreatedSession>(transport, wallet, {
          method: 'POST',
          path: '/sessions',
          proof: wallet.prove({ action: 'create_session', ttlSeconds }),
          context,
        })
      }),
    end: (options) =>
      calls.start(options, async (context) => {
        await transport.send<object>({
          method: 'DELETE',
          path: '/sessions/self',
          session: true,
          repeatable: true,
          tookEffect: (refusal) =>
            refusal.is('INVALID_SESSION') && refusal.details?.reason === 'ended' ? {} : undefined,
          context,
        })
      }),
    watch: (options) =>
      calls.iterate(options, async function* ({ signal, headers }) {
        const events = openEvents(transport, '/events', { signal, headers, auth: 'session' })
        for (;;) {
          for await (const _ of events.connect()) yield
          await clock.wait(WATCH_PAUSE_MS, signal)
          yield
        }
      }),
  }
}
