import type { CreatedKey, Me, RotatedKey } from '../keys/key.ts'
import type { Secret } from '../keys/secret.ts'
import { sendChange } from './audit-heads.ts'
import type { CallContext } from './call.ts'
import type { ServiceClock } from './clock.ts'
import { LatchkeyError, latchkeyError } from './errors.ts'
import type { RecoveredKey } from './keys.ts'
import type { Proof, Transport } from './transport.ts'
import type { Wallet } from './wallet.ts'

/** A key, or a new secret of one, that was asked for: the secret that the client made, and the message that names it. */
interface AskedKey {
  secret: Secret
  proof: Proof
  /** What the secret is for: a new key, or one that has another secret. */
  path: '/api-keys' | `/api-keys/${string}/rotate`
}

/** Secrets that were asked for and not confirmed, by the error that the call rejected with. */
export interface LostKeys {
  /** Asks for a key or its new secret. The same request may be sent again: the service takes the secret once. */
  send<Made extends CreatedKey | RotatedKey>(key: AskedKey, context: CallContext): Promise<Made>
  /** Remembers what was asked for. The error itself holds no secret. */
  keep(error: unknown, key: AskedKey): void
  /** Resolves with the key; rejects with `KEY_NOT_CREATED` where there is none. Signs nothing. */
  recover(error: unknown, context: CallContext): Promise<RecoveredKey>
  /** Resolves once there is no such key, and none can come of the message. Signs nothing. */
  discard(error: unknown, context: CallContext): Promise<{ message: string }>
}

/** Refusals of a message that was used before, or is too old: the secret itself then shows whether there is a key. */
const OVER: readonly string[] = ['MESSAGE_REPLAYED', 'EXPIRED_TIMESTAMP', 'SIGNED_TOO_LATE']

/** Creates the lost keys of a client. */
export function createLostKeys({
  transport,
  wallet,
  clock,
}: {
  transport: Transport
  wallet: Wallet
  clock: ServiceClock
}): LostKeys {
  const kept = new WeakMap<object, AskedKey>()

  async function send<Made extends CreatedKey | RotatedKey>(
    { secret, proof, path }: AskedKey,
    context: CallContext,
  ): Promise<Made> {
    const made = await sendChange<Made>(transport, wallet, {
      method: 'POST',
      path,
      apiKey: secret,
      proof,
      repeatable: true,
      context,
    })
    // The secret is the client's own, whatever the response says.
    return { ...made, apiKey: secret }
  }

  /** Sends the message once more, while the service may accept it. Resolves with undefined where it no longer does. */
  async function sendAgain(
    key: AskedKey,
    context: CallContext,
  ): Promise<CreatedKey | RotatedKey | undefined> {
    const { last } = key.proof
    if (last === undefined || clock.now() > last.goodUntil) return undefined
    const proof: Proof = {
      interactive: true, // Nothing is signed anew.
      last: { ...last, freshUntil: last.goodUntil },
      sign: () => Promise.reject(latchkeyError('SIGNED_TOO_LATE', 'The message is too old')),
    }
    try {
      return await send({ ...key, proof }, context)
    } catch (error) {
      if (error instanceof LatchkeyError && OVER.includes(error.code)) return undefined
      throw error
    }
  }

  function askedFor(error: unknown, context: CallContext): AskedKey {
    const key = typeof error === 'object' && error !== null ? kept.get(error) : undefined
    if (key === undefined)
      throw latchkeyError(
        'INVALID_ARGUMENT',
        'This is no error of keys.create or keys.rotate of this client after which the secret may be one',
      )
    context.onFailure = (failure) => keep(failure, key)
    return key
  }

  function keep(error: unknown, key: AskedKey): void {
    if (typeof error === 'object' && error !== null) kept.set(error, key)
  }

  return {
    send,
    keep,
    async recover(error, context) {
      const key = askedFor(error, context)
      const made = await sendAgain(key, context)
      if (made !== undefined && 'name' in made) return made
      const me = await transport
        .send<Me>({ method: 'GET', path: '/me', apiKey: key.secret, repeatable: true, context })
        .catch((failure) => {
          if (!isUnknown(failure)) throw failure
          throw latchkeyError('KEY_NOT_CREATED', 'The service has no key with this secret')
        })
      if (me.owner !== key.proof.last?.walletAddress)
        throw latchkeyError('BAD_RESPONSE', 'The key is of another wallet')
      return keyOf(me, key.secret)
    },
    async discard(error, context) {
      const key = askedFor(error, context)
      if (key.path !== '/api-keys')
        throw latchkeyError('INVALID_ARGUMENT', 'A rotation is not undone: recover its secret')
      try {
        // A request that is still under way could create the key later: after this one it cannot.
        await sendAgain(key, context)
      } catch (refusal) {
        if (context.isUncertain || context.signal.aborted) throw refusal
      }
      const how = { apiKey: key.secret, repeatable: true, context }
      return transport
        .send<{ message: string }>({ method: 'DELETE', path: '/api-keys/self', ...how })
        .then(({ message }) => ({ message }))
        .catch((failure) => {
          if (isUnknown(failure)) return { message: 'No key was created' }
          if (isOver(failure)) return { message: 'The API key has ended' }
          throw failure
        })
    },
  }
}

const isUnknown = (error: unknown) => error instanceof LatchkeyError && error.is('INVALID_API_KEY')

const isOver = (error: unknown) =>
  error instanceof LatchkeyError &&
  error.is('API_KEY_INACTIVE') &&
  ['revoked', 'expired'].includes(error.details?.reason ?? '')

/** A key as its creation would have shown it, from what the key sees of itself. */
function keyOf(
  { keyId, name, permissions, rateLimit, limits, expiresAt, createdAt }: Me,
  apiKey: string,
): RecoveredKey {
  const until = expiresAt === undefined ? {} : { expiresAt }
  const shown = { keyId, name, permissions, rateLimit, ...limits, ...until, createdAt }
  return { status: 'success', apiKey, ...shown }
}
