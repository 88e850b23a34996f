import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { revokeCredential } from '../../src/service-credentials/manage.ts'
import type { KeyVerdict } from '../../src/service-credentials/verdict.ts'
import { type Service, secretsOf, startService } from '../support/service.ts'
import { issueCredential } from '../support/service-credentials.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

const ROUNDS = Array.from({ length: Number(process.env.RACE_ROUNDS ?? 3) }, (_, at) => at + 1)
const CALLERS = 24
/** A minute of a key, and what requests with it cost. */
const LIMIT = 100
const COSTS = [1, 1, 2, 3, 7, 1, 40, 1]

describe('of many requests at once, on Postgres, through two services with 24 connections each,', () => {
  let services: readonly [Service, Service]
  let wallet: Wallet
  let secret: string
  beforeAll(async () => {
    const options = { maxConnections: CALLERS, env: { MAX_ACTIVE_KEYS_PER_WALLET: '1000' } }
    const one = await startService('Postgres', options)
    const env = { ...options.env, ...secretsOf(one) }
    const { databaseUrl } = one
    services = [one, await startService('Postgres', { ...options, databaseUrl, env })]
    // A burst stays in one minute: of a clock that a test puts there.
    for (const { clock } of services) clock.now = Date.UTC(2031, 4, 6, 7, 20, 30)
    wallet = newWallet(one)
    secret = (await issueCredential(one)).secret
  })
  afterAll(async () => {
    await Promise.all(services.map((service) => service.close()))
  })

  /** Asks about a key, by either endpoint of either service; whether it passed. */
  async function ask(place: number, apiKey: string, cost: number, credential = secret) {
    const service = services[place % 2] as Service
    const headers = { 'X-Service-Credential': credential }
    if (place % 4 < 2) {
      const body = json({ apiKey, scope: 'read', cost }, headers)
      const response = await service.call('/keys/verify', body)
      if (response.status !== 200) return response.status
      return ((await response.json()) as KeyVerdict).valid ? 200 : 429
    }
    const path = `/auth/forward?scope=read&cost=${cost}`
    return (await service.call(path, { headers: { ...headers, 'X-API-Key': apiKey } })).status
  }
  const newKey = (members = {}) =>
    createKey(services[0], wallet, { permissions: ['read'], ...members })
  const counted = async (keyId: string) => {
    const [found] = await rows<{ minute: number; successful: number }>(
      services[0].world.db,
      sql`SELECT minute_count AS minute, successful_requests::int AS successful FROM key_counters WHERE key_id = ${keyId}`,
    )
    return found
  }

  it.each(
    ROUNDS,
  )('each cost is counted whole, and as much passes as there is room for (round %i)', async () => {
    const { apiKey, keyId } = await newKey()
    const costs = Array.from(
      { length: 5 * CALLERS },
      (_, place) => COSTS[place % COSTS.length] ?? 1,
    )
    const statuses = await Promise.all(costs.map((cost, place) => ask(place, apiKey, cost)))
    expect(new Set(statuses)).toEqual(new Set([200, 429]))
    const passed = costs.filter((_, place) => statuses[place] === 200)
    const used = passed.reduce((sum, cost) => sum + cost, 0)
    expect(used).toBeLessThanOrEqual(LIMIT)
    expect(await counted(keyId)).toEqual({ minute: used, successful: used })
    // Room only shrinks: what was refused had no room then, and has none now.
    for (const [place, cost] of costs.entries())
      if (statuses[place] === 429) expect(used + cost).toBeGreaterThan(LIMIT)
  })

  it.each(
    ROUNDS,
  )('of requests that cost 7 exactly 14 pass a minute of 100 (round %i)', async () => {
    const { apiKey, keyId } = await newKey()
    const asked = Array.from({ length: 3 * CALLERS }, (_, place) => ask(place, apiKey, 7))
    const statuses = await Promise.all(asked)
    expect(statuses.filter((status) => status === 200).length).toBe(14)
    expect(await counted(keyId)).toEqual({ minute: 98, successful: 98 })
  })

  it.each(ROUNDS)('both secrets of a rotated key share what is left (round %i)', async () => {
    const { apiKey, keyId } = await newKey()
    const rotate = wallet.sign({ action: 'rotate_api_key', keyId, graceSeconds: 60 })
    const rotated = await services[0].call(`/api-keys/${keyId}/rotate`, json(rotate))
    const { apiKey: newer } = (await rotated.json()) as { apiKey: string }
    const statuses = await Promise.all(
      Array.from({ length: 3 * CALLERS }, (_, place) =>
        ask(place, place % 3 === 0 ? newer : apiKey, place % 2 === 0 ? 3 : 1),
      ),
    )
    const used = statuses.reduce(
      (sum, status, place) => sum + (status === 200 ? (place % 2 === 0 ? 3 : 1) : 0),
      0,
    )
    expect(used).toBeGreaterThan(LIMIT - 3)
    expect(await counted(keyId)).toEqual({ minute: used, successful: used })
  })

  it.each(ROUNDS)('a credential asks exactly as often as it may (round %i)', async () => {
    const { secret: own, credentialId } = await issueCredential(services[0], { rateLimit: 30 })
    const keys = await Promise.all(Array.from({ length: 4 }, () => newKey()))
    const statuses = await Promise.all(
      Array.from({ length: 5 * CALLERS }, (_, place) =>
        ask(place, keys[place % 4]?.apiKey ?? '', 1, own),
      ),
    )
    expect(statuses.filter((status) => status === 200).length).toBe(30)
    const [used] = await rows(
      services[0].world.db,
      sql`SELECT total_requests::int AS total FROM service_credentials WHERE id = ${credentialId}`,
    )
    expect(used).toEqual({ total: 5 * CALLERS })
  })

  it.each(
    ROUNDS,
  )('none that was sent after a revocation passes, in either service (round %i)', async () => {
    const { secret: own, credentialId } = await issueCredential(services[0])
    const { apiKey } = await newKey()
    let isRevoked = false
    const asked = Array.from({ length: 4 }, async (_, place) => {
      const seen: [boolean, number][] = []
      for (let round = 0; round < 12; round++) {
        const wasRevoked = isRevoked
        seen.push([wasRevoked, await ask(place, apiKey, 1, own)])
      }
      return seen
    })
    const now = services[0].clock.now
    const revoked = await revokeCredential(services[0].world, credentialId, 'lost', now)
    isRevoked = true
    expect(revoked).toMatchObject({ ok: true, value: { isNew: true } })
    for (const [wasRevoked, status] of (await Promise.all(asked)).flat())
      if (wasRevoked) expect(status).toBe(401)
    const more = await Promise.all([0, 1, 2, 3].map((place) => ask(place, apiKey, 1, own)))
    expect(more).toEqual([401, 401, 401, 401])
  })

  it.each(ROUNDS)('a credential is revoked once (round %i)', async () => {
    const { credentialId } = await issueCredential(services[0])
    const outcomes = await Promise.all(
      Array.from({ length: CALLERS }, (_, place) => {
        const { world, clock } = services[place % 2] as Service
        return revokeCredential(world, credentialId, 'lost', clock.now)
      }),
    )
    expect(outcomes.filter((one) => one.ok && one.value.isNew).length).toBe(1)
    const events = await rows(
      services[0].world.db,
      sql`SELECT body FROM audit_events WHERE body LIKE ${`%"credentialId":"${credentialId}"%`} AND body LIKE '%revoke_service%'`,
    )
    expect(events.length).toBe(1)
  })
})
