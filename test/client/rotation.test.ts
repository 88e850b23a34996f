import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import {
  type Client,
  type Clock,
  createClient,
  keepRotating,
  privateKeySigner,
  type RotationOptions,
  type RotationState,
  rotateSecret,
} from '../../src/client/index.ts'
import { type Service, startService } from '../support/server.ts'

let service: Service
beforeAll(async () => {
  service = await startService()
}, 240_000)
afterAll(() => service?.stop())

/** A key, its owner's client, a bot that uses what was handed over to it, and a store that outlives a process. */
async function rotated() {
  const signer = privateKeySigner(`${randomBytes(32).toString('hex')}01`, 'devnet')
  const client = createClient({ baseUrl: service.url, signer })
  const { apiKey, keyId } = await client.keys.create({ name: 'bot', permissions: [] })
  let state: RotationState | undefined
  const states: RotationState[] = []
  const bot = { apiKey }
  const options = {
    client,
    keyId,
    store: {
      read: () => state,
      write: (next: RotationState) => {
        state = next
        states.push(next)
      },
    },
    handOver: (next: string) => {
      bot.apiKey = next
    },
    quietMs: 0,
  } satisfies RotationOptions
  return { client, keyId, apiKey, bot, states, options, stored: () => state }
}

const use = (apiKey: string) => createClient({ baseUrl: service.url, apiKey }).keys.me()
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'OK',
    (error) => error.code,
  )
/** Waits are over at once, in a time of their own. Each one gives the bot a turn. */
function passing(turn: () => Promise<unknown> = async () => {}): Clock {
  let now = Date.now()
  return {
    now: () => now,
    wait: async (ms, signal) => {
      signal.throwIfAborted()
      now += ms
      await turn()
    },
  }
}

describe('A rotation in two phases', () => {
  it('ends the old secret once the new one was used and the old one is silent', async () => {
    const { apiKey, bot, options, keyId } = await rotated()
    const clock = passing(() => use(bot.apiKey))
    const made = await rotateSecret({ ...options, clock })
    expect(made).toEqual({ keyId, apiKey: bot.apiKey })
    expect(await codeOf(use(apiKey))).toBe('INVALID_API_KEY')
    expect((await use(bot.apiKey)).keyId).toBe(keyId)
  })

  it('leaves the old secret alone while the new one is not used, or the old one still is', async () => {
    const { apiKey, options, bot } = await rotated()
    const unused = await rotateSecret({ ...options, waitMs: 20_000, clock: passing() })
    expect(Date.parse(unused.previousUntil ?? '')).toBeGreaterThan(Date.now() + 86_000_000)
    for (const secret of [apiKey, bot.apiKey]) expect(await codeOf(use(secret))).toBe('OK')

    const other = await rotated()
    const clock = passing(async () => {
      await use(other.apiKey) // A second bot that was not told.
      await use(other.bot.apiKey)
    })
    const busy = await rotateSecret({ ...other.options, waitMs: 20_000, quietMs: 10_000, clock })
    expect(busy.previousUntil).toBeDefined()
    expect(await codeOf(use(other.apiKey))).toBe('OK')
  })

  it('stores the new secret before the wallet signs, and forgets it once it is handed over', async () => {
    const { options, states, bot, client, keyId, apiKey } = await rotated()
    const rotate = vi.spyOn(client.keys, 'rotate')
    const write = (state: RotationState) => {
      options.store.write(state)
      throw new Error('disk full')
    }
    await expect(rotateSecret({ ...options, store: { ...options.store, write } })).rejects.toThrow(
      'disk full',
    )
    expect(rotate).toHaveBeenCalledOnce()
    expect((await client.keys.get(keyId)).previousUntil).toBeUndefined()
    expect(states).toEqual([{ pending: expect.stringMatching(/^ck_live_/) }])
    await rotateSecret({ ...options, waitMs: 0 })
    expect(bot.apiKey).toBe(states[0]?.pending)
    expect(states.at(-1)).toEqual({ rotatedAt: expect.any(Number) })
    expect(await codeOf(use(apiKey))).toBe('OK')
  })

  it.each([
    'before the service has the request',
    'after the service has answered',
    'while it hands over',
    'before it forgets',
  ])('is finished by the next process after one that ended %s', async (moment) => {
    const { options, bot, client, keyId, apiKey, stored } = await rotated()
    const died = new Error('killed')
    const dying: { [Moment in typeof moment]: Partial<RotationOptions> } = {
      'before the service has the request': {
        client: { keys: { ...client.keys, rotate: failing(client, died, 'before') } },
      },
      'after the service has answered': {
        client: { keys: { ...client.keys, rotate: failing(client, died, 'after') } },
      },
      'while it hands over': {
        handOver: () => {
          throw died
        },
      },
      'before it forgets': {
        store: {
          ...options.store,
          write: (state) => {
            if (state.pending === undefined) throw died
            options.store.write(state)
          },
        },
      },
    }
    await expect(rotateSecret({ ...options, ...dying[moment] })).rejects.toThrow('killed')
    const pending = stored()?.pending
    expect(pending).toMatch(/^ck_live_/)
    expect(await codeOf(use(bot.apiKey))).toBe('OK')
    const { apiKey: next } = await rotateSecret({
      ...options,
      waitMs: 0,
      quietMs: 1,
    })
    expect([next, bot.apiKey]).toEqual([pending, pending])
    for (const secret of [apiKey, next]) expect((await use(secret)).keyId).toBe(keyId)
    expect(stored()).toEqual({ rotatedAt: expect.any(Number) })
  })

  it('is repeated when its age has come, and puts the end of the key off', async () => {
    const { options, bot, client, keyId } = await rotated()
    await client.keys.update(keyId, { expiresAt: new Date(Date.now() + 3_600_000) })
    const stop = new AbortController()
    const secrets: string[] = []
    const clock = passing(() => use(bot.apiKey))
    await keepRotating({
      ...options,
      clock,
      everyMs: 7_200_000,
      renewMs: 8 * 3_600_000,
      signal: stop.signal,
      onRotation: ({ apiKey }) => {
        secrets.push(apiKey)
        if (secrets.length === 2) stop.abort()
      },
      onError: (error) => {
        throw error
      },
    })
    expect(new Set(secrets).size).toBe(2)
    expect(await codeOf(use(secrets[0] ?? ''))).not.toBe('OK')
    expect(bot.apiKey).toBe(secrets[1])
    const { expiresAt } = await client.keys.get(keyId)
    expect(Date.parse(expiresAt ?? '')).toBeGreaterThan(Date.now() + 7 * 3_600_000)
  })

  it('goes on after a failure, which it tells', async () => {
    const { options, bot } = await rotated()
    const stop = new AbortController()
    const errors: unknown[] = []
    let calls = 0
    await keepRotating({
      ...options,
      clock: passing(() => use(bot.apiKey)),
      everyMs: 1,
      signal: stop.signal,
      handOver: (apiKey) => {
        calls += 1
        if (calls === 1) throw new Error('no disk')
        options.handOver(apiKey)
      },
      onRotation: () => stop.abort(),
      onError: (error) => errors.push(error),
    })
    expect(errors).toEqual([new Error('no disk')])
    expect(await codeOf(use(bot.apiKey))).toBe('OK')
  })
})

/** A `rotate` whose process ends before or after the request. */
function failing(client: Client, error: Error, when: 'before' | 'after'): Client['keys']['rotate'] {
  return ((keyId, graceSeconds, options) => {
    const onSecret = async (secret: string) => {
      await options?.onSecret?.(secret)
      if (when === 'before') throw error
    }
    return client.keys.rotate(keyId, graceSeconds, { ...options, onSecret }).then(() => {
      throw error
    })
  }) as Client['keys']['rotate']
}
