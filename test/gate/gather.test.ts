import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Gate, openGate } from '../../src/gate/gate.ts'
import type { Secret } from '../../src/keys/secret.ts'
import { hashSecretNatively } from '../../src/node/crypto.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'

const LIMITS = { perMinute: 1_000, perHour: 1_000, perDay: 1_000 }

describe('requests that come while the gate works', () => {
  let service: Service
  let gate: Gate
  let keys: string[]
  /** Ends the pauses that the gate makes. */
  const pauses: (() => void)[] = []
  beforeAll(async () => {
    service = await startService('PGlite', {
      change: (world) => {
        const { db, mac, log, now } = world
        const gather = () => new Promise<void>((resolve) => pauses.push(resolve))
        gate = openGate(db, LIMITS, { mac, log, now, gather })
        return world
      },
    })
    const wallet = newWallet(service)
    keys = await Promise.all(
      Array.from({ length: 6 }, async () => (await createKey(service, wallet)).apiKey),
    )
  })
  afterAll(() => service.close())

  const ask = (place: number) =>
    gate({ hash: hashSecretNatively(keys[place] as Secret), ip: undefined, scope: undefined })

  it('join one statement, and the first one waits for none of them', async () => {
    const before = service.statements.length
    const first = ask(0)
    expect(service.statements.length - before).toBe(1)
    const [second, third] = [ask(1), ask(2)]
    expect((await first).ok).toBe(true)
    await expect.poll(() => pauses.length).toBe(1)
    expect(service.statements.length - before).toBe(1)
    const late = ask(3)
    for (const resume of pauses.splice(0)) resume()
    expect(await Promise.all([second, third])).toMatchObject([{ ok: true }, { ok: true }])
    // Two of the three share a statement: the third request is the next one's.
    await expect.poll(() => pauses.length).toBe(1)
    for (const resume of pauses.splice(0)) resume()
    expect((await late).ok).toBe(true)
    expect(service.statements.length - before).toBe(3)
  })
})
