import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { subnetOf } from '../../src/alerts/detect.ts'
import { watchKeys } from '../../src/alerts/watch.ts'
import { rows } from '../../src/db/database.ts'
import { INPUT_TOKEN, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import type { Key } from '../../src/keys/key.ts'
import type { Alerts } from '../../src/keys/terms.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { startService } from '../http/documented.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, type Service, secretsOf } from '../support/service.ts'
import { createKey, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
const HOME = '192.0.2.1'

interface Finding {
  rule: string
  subject: string
  acted: boolean
}

describe.each(ENGINES)('Alerts of a key on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine, {
      env: { RATE_LIMIT_PER_MINUTE: '1000', MAX_ACTIVE_KEYS_PER_WALLET: '1000' },
    })
    // The beginning of an hour: windows are those of UTC.
    service.clock.now = Date.UTC(2031, 4, 6, 12)
  })
  afterAll(() => service.close())

  const grant = (alerts: Alerts, members: object = {}, wallet = newWallet(service)) =>
    createKey(service, wallet, { permissions: ['create', 'execute'], alerts, ...members }).then(
      (key) => ({ ...key, wallet }),
    )
  const use = (apiKey: string, ip = HOME, path = '/me') =>
    service.call(path, { headers: { 'X-API-Key': apiKey }, ip })
  const fail = (apiKey: string) => use(apiKey, HOME, '/orders?limit=0')
  const times = async (count: number, work: () => Promise<unknown>) => {
    for (let time = 0; time < count; time++) await work()
  }
  /** What a second of a process does: write what it counted, and act on what was found. */
  const pass = async ({ world }: Service = service) => {
    await world.usage.flush(world.db)
    while (!(await watchKeys(world)));
  }
  const findings = (keyId: string) =>
    rows<Finding>(
      service.world.db,
      sql`SELECT rule, subject, acted_at IS NOT NULL AS acted FROM key_findings WHERE key_id = ${keyId} ORDER BY at, rule, subject`,
    )
  const subjects = async (keyId: string) =>
    (await findings(keyId)).map(({ rule, subject }) => `${rule} ${subject}`)
  const shown = async ({ wallet, keyId }: { wallet: Wallet; keyId: string }) => {
    const headers = wallet.signHeaders({ action: 'get_api_key', keyId })
    const { apiKey } = await answered<{ apiKey: Key }>(
      await service.call(`/api-keys/${keyId}`, { headers }),
    )
    return apiKey
  }
  const resume = async ({ wallet, keyId }: { wallet: Wallet; keyId: string }) =>
    answered(
      await service.call(
        `/api-keys/${keyId}/resume`,
        json(wallet.sign({ action: 'resume_api_key', keyId })),
      ),
    )
  const told = (keyId: string) =>
    rows<{ type: string; data: { rule: string; action: string } }>(
      service.world.db,
      sql`SELECT type, data FROM notices WHERE key_id = ${keyId} AND data ? 'rule' ORDER BY sequence`,
    )

  describe('in its grant', () => {
    const signed = (alerts: unknown, members: object = {}) =>
      service.call(
        '/api-keys',
        json(
          newWallet(service).sign({
            action: 'create_api_key',
            keyName: 'bot',
            permissions: ['create'],
            alerts,
            ...members,
          }),
        ),
      )
    const notify = { action: 'notify' } as const
    const day = (perDay: string) => ({ maxAmountIn: { [INPUT_TOKEN]: { perDay } } })
    const spend = (above: string, token = INPUT_TOKEN) => ({
      spendPerHour: { above: { [token]: above }, ...notify },
    })

    it('are shown to the owner as they were signed, and not to the bearer', async () => {
      const alerts: Alerts = {
        newAddress: { action: 'suspend' },
        newNetwork: { action: 'suspend' },
        errorRate: { percent: 50, requests: 20, action: 'notify' },
        requestsPerMinute: { above: 60, action: 'suspend' },
        spendPerHour: { above: { [INPUT_TOKEN]: '9' }, action: 'notify' },
        expiring: { action: 'notify' },
      }
      const key = await grant(alerts, { ...day('10'), expiresAt: service.clock.now + DAY })
      expect((await shown(key)).alerts).toEqual(alerts)
      const me = await answered(await use(key.apiKey))
      expect(JSON.stringify(me)).not.toContain('newAddress')
    })

    it.each<[string, unknown, string, object]>([
      ['none of them', {}, 'alerts', {}],
      ['one that there is not', { rate: notify }, 'alerts', {}],
      ['another action', { newAddress: { action: 'revoke' } }, 'alerts.newAddress.action', {}],
      ['no action', { newAddress: {} }, 'alerts.newAddress', {}],
      [
        '0 percent',
        { errorRate: { percent: 0, requests: 10, ...notify } },
        'alerts.errorRate.percent',
        {},
      ],
      [
        '101 percent',
        { errorRate: { percent: 101, requests: 10, ...notify } },
        'alerts.errorRate.percent',
        {},
      ],
      [
        'a share of 9 requests',
        { errorRate: { percent: 50, requests: 9, ...notify } },
        'alerts.errorRate.requests',
        {},
      ],
      [
        'a share of a million and one',
        { errorRate: { percent: 50, requests: 1_000_001, ...notify } },
        'alerts.errorRate.requests',
        {},
      ],
      [
        'more than 0 requests',
        { requestsPerMinute: { above: 0, ...notify } },
        'alerts.requestsPerMinute.above',
        {},
      ],
      [
        'more than a million',
        { requestsPerMinute: { above: 1_000_001, ...notify } },
        'alerts.requestsPerMinute.above',
        {},
      ],
      [
        'an end that suspends',
        { expiring: { action: 'suspend' } },
        'alerts.expiring.action',
        { expiresAt: '2999-01-01T00:00:00Z' },
      ],
      ['an end of a key without one', { expiring: notify }, 'alerts.expiring', {}],
      [
        'a new address that suspends and a new network that does not',
        { newAddress: { action: 'suspend' }, newNetwork: notify },
        'alerts.newNetwork',
        {},
      ],
      [
        'spending without an amount a day',
        spend('1'),
        `alerts.spendPerHour.above.${INPUT_TOKEN}`,
        {},
      ],
      [
        'spending of another token',
        spend('1', OUTPUT_TOKEN),
        `alerts.spendPerHour.above.${OUTPUT_TOKEN}`,
        day('10'),
      ],
      [
        'spending of what is no token',
        spend('1', 'token'),
        'alerts.spendPerHour.above.token',
        day('10'),
      ],
      [
        'spending that can never be',
        spend('10'),
        `alerts.spendPerHour.above.${INPUT_TOKEN}`,
        day('10'),
      ],
      ['spending of nothing', spend('0'), `alerts.spendPerHour.above.${INPUT_TOKEN}`, day('10')],
    ])('are refused with %s', async (_, alerts, path, members) => {
      const { details } = await refused(await signed(alerts, members), 'invalidRequest')
      expect(JSON.stringify(details)).toContain(`"path":"${path}`)
    })

    it.each<[string, unknown, object]>([
      ['1 percent of 10', { errorRate: { percent: 1, requests: 10, ...notify } }, {}],
      [
        '100 percent of a million',
        { errorRate: { percent: 100, requests: 1_000_000, ...notify } },
        {},
      ],
      ['more than one request', { requestsPerMinute: { above: 1, ...notify } }, {}],
      [
        'a new network that suspends and a new address that does not',
        { newAddress: notify, newNetwork: { action: 'suspend' } },
        {},
      ],
      ['spending one less than the day', spend('9'), day('10')],
    ])('are accepted with %s', async (_, alerts, members) => {
      await answered(await signed(alerts, members), 201)
    })

    it('may not be contradicted later: the end that they tell of cannot be lifted alone', async () => {
      const { wallet, keyId } = await grant(
        { expiring: notify },
        { expiresAt: service.clock.now + DAY },
      )
      const change = (members: object) =>
        service.call(`/api-keys/${keyId}`, {
          ...json(wallet.sign({ action: 'update_api_key', keyId, ...members })),
          method: 'PATCH',
        })
      const { details } = await refused(await change({ expiresAt: null }), 'invalidRequest')
      expect(details).toMatchObject({ issues: [{ path: 'alerts.expiring' }] })
      await answered(await change({ expiresAt: null, alerts: null }))
    })
  })

  describe('of a new address', () => {
    it('find each once, and not the first one of a key', async () => {
      const { apiKey, keyId } = await grant({ newAddress: { action: 'notify' } })
      await use(apiKey)
      await pass()
      expect(await findings(keyId)).toEqual([])
      for (let time = 0; time < 3; time++) {
        await use(apiKey, '192.0.2.2')
        await use(apiKey)
        await pass()
      }
      await use(apiKey, '2001:db8::1')
      await pass()
      expect(await findings(keyId)).toEqual([
        { rule: 'newAddress', subject: '192.0.2.2', acted: true },
        { rule: 'newAddress', subject: '2001:db8::1', acted: true },
      ])
      expect(await told(keyId)).toHaveLength(2)
    })

    it('find one that came right behind the first, and one that is refused', async () => {
      const { apiKey, keyId } = await grant(
        { newAddress: { action: 'notify' } },
        { ipAllowlist: [HOME, '192.0.2.9'] },
      )
      await use(apiKey)
      service.clock.now += 1
      await use(apiKey, '192.0.2.9')
      await refused(await use(apiKey, '198.51.100.7'), 'ipNotAllowed')
      await pass()
      expect(await subjects(keyId)).toEqual(['newAddress 192.0.2.9', 'newAddress 198.51.100.7'])
    })

    it('suspend the key, at once everywhere, until its owner resumes it; the owner can prove why', async () => {
      const key = await grant({ newAddress: { action: 'suspend' } })
      await use(key.apiKey)
      await pass()
      service.clock.now += 1
      await answered(await use(key.apiKey, '198.51.100.7'))
      await pass()
      const { details } = await refused(await use(key.apiKey), 'apiKeyInactive')
      expect(details).toEqual({ reason: 'suspended' })
      expect(await shown(key)).toMatchObject({ status: 'suspended', suspendedBy: 'newAddress' })
      expect((await checkAudit(service.world)).faults).toEqual([])
      await resume(key)
      await answered(await use(key.apiKey, '198.51.100.7'))
      await pass()
      expect((await shown(key)).status).toBe('active')
      expect((await checkAudit(service.world)).faults).toEqual([])
    })

    it('are silent about a key without the rule, and about one whose owner lifted it meanwhile', async () => {
      const plain = await createKey(service, newWallet(service))
      const lifted = await grant({ newAddress: { action: 'suspend' } })
      for (const { apiKey } of [plain, lifted]) await use(apiKey)
      await pass()
      service.clock.now += 1
      for (const { apiKey } of [plain, lifted]) await use(apiKey, '198.51.100.7')
      await service.world.usage.flush(service.world.db)
      await answered(
        await service.call(`/api-keys/${lifted.keyId}`, {
          ...json(
            lifted.wallet.sign({ action: 'update_api_key', keyId: lifted.keyId, alerts: null }),
          ),
          method: 'PATCH',
        }),
      )
      await pass()
      expect(await findings(plain.keyId)).toEqual([])
      expect((await shown(lifted)).status).toBe('active')
      expect(await told(lifted.keyId)).toEqual([])
    })

    it('bound what they keep, with ten thousand addresses', async () => {
      const key = await grant({ newAddress: { action: 'notify' } })
      const { usage, db } = service.world
      await use(key.apiKey)
      await pass()
      const [{ shard = 0 } = {}] = await rows<{ shard: number }>(
        db,
        sql`SELECT shard FROM api_keys WHERE id = ${key.keyId}`,
      )
      for (let at = 0; at < 10_000; at++) {
        const ip = `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`
        const of = { keyId: key.keyId, shard, at: service.clock.now + at, outcome: 'OK' }
        usage.record({ ...of, ip, userAgent: 'bot' })
        if (at % 500 === 499) await pass()
      }
      await pass()
      const [kept] = await rows<{ findings: number; sightings: number }>(
        db,
        sql`SELECT (SELECT count(*)::int FROM key_findings WHERE key_id = ${key.keyId}) AS findings,
          (SELECT count(*)::int FROM key_sightings WHERE key_id = ${key.keyId} AND kind = 'ip') AS sightings`,
      )
      expect(kept).toEqual({ findings: 20, sightings: 100 })
      expect(await told(key.keyId)).toHaveLength(20)
    })
  })

  describe('of a new network', () => {
    it('find the next /24 and the next /48, and no address within a known one', async () => {
      const { apiKey, keyId } = await grant({ newNetwork: { action: 'notify' } })
      for (const ip of [
        '192.0.2.0',
        '192.0.2.255',
        '192.0.3.0',
        '192.0.3.9',
        '2001:db8:1::1',
        '2001:db8:1:ffff::1',
        '2001:db8:2::',
      ]) {
        await use(apiKey, ip)
        service.clock.now += 1
        await pass()
      }
      expect(await subjects(keyId)).toEqual([
        'newNetwork 192.0.3.0/24',
        'newNetwork 2001:db8:1::/48',
        'newNetwork 2001:db8:2::/48',
      ])
    })

    it.each([
      ['192.0.2.255', '192.0.2.0/24'],
      ['::ffff:192.0.2.255', '192.0.2.0/24'],
      ['2001:db8:1:ffff::1', '2001:db8:1::/48'],
      ['unknown', undefined],
    ])('know the network of %s', (address, network) => {
      expect(subnetOf(address)).toBe(network)
    })
  })

  describe('of requests in a minute', () => {
    it('find the first one beyond the number, refused ones included, once a minute', async () => {
      const { apiKey, keyId } = await grant({ requestsPerMinute: { above: 5, action: 'notify' } })
      const minute = service.clock.now - (service.clock.now % MINUTE) + MINUTE
      service.clock.now = minute
      await times(3, () => use(apiKey))
      await pass()
      await times(2, () => fail(apiKey))
      await pass()
      expect(await findings(keyId)).toEqual([])
      service.clock.now = minute + MINUTE - 1
      await times(1, () => use(apiKey))
      await pass()
      const subject = `60 ${new Date(minute).toISOString().slice(0, 16)}Z`
      expect(await findings(keyId)).toEqual([{ rule: 'requestsPerMinute', subject, acted: true }])
      await times(9, () => use(apiKey))
      await pass()
      expect(await told(keyId)).toHaveLength(1)
      service.clock.now = minute + MINUTE
      await times(5, () => use(apiKey))
      await pass()
      expect(await findings(keyId)).toHaveLength(1)
      await times(1, () => use(apiKey))
      await pass()
      expect(await findings(keyId)).toHaveLength(2)
    })

    it('suspend the key', async () => {
      const key = await grant({ requestsPerMinute: { above: 2, action: 'suspend' } })
      await times(2, () => use(key.apiKey))
      await pass()
      expect((await shown(key)).status).toBe('active')
      await use(key.apiKey)
      await pass()
      expect(await shown(key)).toMatchObject({ suspendedBy: 'requestsPerMinute' })
      expect((await checkAudit(service.world)).faults).toEqual([])
    })
  })

  describe('of refused requests', () => {
    const alerts: Alerts = { errorRate: { percent: 50, requests: 10, action: 'notify' } }
    const begin = () => {
      service.clock.now += 5 * MINUTE - (service.clock.now % (5 * MINUTE))
    }

    it('find a share as large as it may not be, of as many requests as it takes', async () => {
      begin()
      const [few, small, large] = [await grant(alerts), await grant(alerts), await grant(alerts)]
      await times(9, () => fail(few.apiKey))
      await times(4, () => fail(small.apiKey))
      await times(6, () => use(small.apiKey))
      await times(5, () => use(large.apiKey))
      await times(5, () => fail(large.apiKey))
      await pass()
      expect(await findings(few.keyId)).toEqual([])
      expect(await findings(small.keyId)).toEqual([])
      expect(await subjects(large.keyId)).toEqual([
        `errorRate 300 ${new Date(service.clock.now).toISOString().slice(0, 16)}Z`,
      ])
      await fail(few.apiKey)
      await pass()
      expect(await findings(few.keyId)).toHaveLength(1)
    })

    it('are of five minutes, and not of ten', async () => {
      begin()
      const { apiKey, keyId } = await grant(alerts)
      service.clock.now += 5 * MINUTE - 1
      await times(9, () => fail(apiKey))
      service.clock.now += 1
      await times(9, () => fail(apiKey))
      await pass()
      expect(await findings(keyId)).toEqual([])
      service.clock.now += 5 * MINUTE - 1
      await fail(apiKey)
      await pass()
      expect(await findings(keyId)).toHaveLength(1)
    })
  })

  describe('of spending in an hour', () => {
    const limits = { maxAmountIn: { [INPUT_TOKEN]: { perDay: '1000' } } }
    const alerts: Alerts = { spendPerHour: { above: { [INPUT_TOKEN]: '100' }, action: 'suspend' } }
    const place = async (
      { wallet, apiKey }: { wallet: Wallet; apiKey: string },
      amountIn: string,
    ) =>
      answered(
        await service.call(
          '/orders/new',
          json(wallet.order({ amountIn }), { 'X-API-Key': apiKey }),
        ),
        201,
      )

    it('find the order that goes beyond it, and suspend the key', async () => {
      service.clock.now += HOUR - (service.clock.now % HOUR)
      const key = await grant(alerts, limits)
      await fund(service, key.wallet)
      await place(key, '60')
      service.clock.now += HOUR - 1
      await place(key, '40')
      await pass()
      expect(await findings(key.keyId)).toEqual([])
      service.clock.now += 1
      await place(key, '100')
      await pass()
      expect((await shown(key)).status).toBe('active')
      const hour = new Date(service.clock.now).toISOString()
      await place(key, '1')
      await pass()
      expect(await subjects(key.keyId)).toEqual([`spendPerHour ${INPUT_TOKEN} ${hour}`])
      expect(await shown(key)).toMatchObject({ suspendedBy: 'spendPerHour' })
      expect((await checkAudit(service.world)).faults).toEqual([])
    })

    it('cost no statement, and find once', async () => {
      const key = await grant(
        { spendPerHour: { above: { [INPUT_TOKEN]: '1' }, action: 'notify' } },
        limits,
      )
      const plain = await createKey(service, key.wallet, { permissions: ['create'], ...limits })
      const count = async (one: { apiKey: string }) => {
        await place({ wallet: key.wallet, ...one }, '5')
        const before = service.statements.length
        await place({ wallet: key.wallet, ...one }, '5')
        return service.statements.length - before
      }
      expect(await count(key)).toBe(await count(plain))
      await pass()
      expect(await findings(key.keyId)).toHaveLength(1)
      expect(await findings(plain.keyId)).toEqual([])
    })
  })

  describe('of the end of a key', () => {
    it('tell of it 14, 3 and 1 days before, each once and no millisecond earlier', async () => {
      const expiresAt = service.clock.now + 20 * DAY
      const key = await grant({ expiring: { action: 'notify' } }, { expiresAt })
      const end = new Date(expiresAt).toISOString()
      for (const days of [14, 3, 1]) {
        service.clock.now = expiresAt - days * DAY - 1
        await pass()
        const before = await subjects(key.keyId)
        expect(before).not.toContain(`expiring ${end} ${days}`)
        service.clock.now += 1
        await pass()
        await pass()
        expect(await subjects(key.keyId)).toEqual([...before, `expiring ${end} ${days}`])
      }
      service.clock.now = expiresAt + DAY
      await pass()
      expect((await told(key.keyId)).map(({ type }) => type)).toEqual([
        'key.expiring',
        'key.expiring',
        'key.expiring',
      ])
      const left = await rows(
        service.world.db,
        sql`SELECT FROM key_watches WHERE key_id = ${key.keyId}`,
      )
      expect(left).toEqual([])
    })

    it('tell of the nearest one alone after an outage, and again of a new end', async () => {
      const expiresAt = service.clock.now + 20 * DAY
      const key = await grant({ expiring: { action: 'notify' } }, { expiresAt })
      service.clock.now = expiresAt - 2 * DAY
      await pass()
      expect(await subjects(key.keyId)).toEqual([`expiring ${new Date(expiresAt).toISOString()} 3`])
      const later = expiresAt + 30 * DAY
      await answered(
        await service.call(`/api-keys/${key.keyId}`, {
          ...json(
            key.wallet.sign({ action: 'update_api_key', keyId: key.keyId, expiresAt: later }),
          ),
          method: 'PATCH',
        }),
      )
      await pass()
      service.clock.now = later - 14 * DAY
      await pass()
      expect((await subjects(key.keyId)).at(-1)).toBe(
        `expiring ${new Date(later).toISOString()} 14`,
      )
      expect(await findings(key.keyId)).toHaveLength(2)
    })

    it('tell nothing of a key that was revoked', async () => {
      const expiresAt = service.clock.now + 15 * DAY
      const key = await grant({ expiring: { action: 'notify' } }, { expiresAt })
      await answered(
        await service.call('/api-keys/self', {
          method: 'DELETE',
          headers: { 'X-API-Key': key.apiKey },
        }),
      )
      service.clock.now = expiresAt - DAY
      await pass()
      expect(await findings(key.keyId)).toEqual([])
    })
  })

  it('never failed to be looked for', () => {
    expect(service.logged.filter((line) => /usage_lost|watch_failed/.test(line))).toEqual([])
  })

  it('are written a second after a request, once a process knows that a key has them', async () => {
    const { apiKey } = await grant({ newAddress: { action: 'notify' } })
    const plain = await createKey(service, newWallet(service))
    const { usage, db } = service.world
    for (const key of [apiKey, plain.apiKey]) await use(key)
    await usage.flush(db)
    for (const key of [apiKey, plain.apiKey]) await use(key)
    service.clock.now += 999
    expect(usage.isDue(service.clock.now)).toBe(false)
    service.clock.now += 1
    expect(usage.isDue(service.clock.now)).toBe(true)
    await usage.flushDue(db, service.clock.now)
    expect(usage.isDue(service.clock.now)).toBe(false)
    service.clock.now += 4_000
    expect(usage.isDue(service.clock.now)).toBe(true)
    await usage.flushDue(db, service.clock.now)
  })
})

describe('Alerts of two processes, on Postgres,', () => {
  let one: Service
  let other: Service
  beforeAll(async () => {
    one = await startService('Postgres', { maxConnections: 12 })
    other = await startService('Postgres', {
      maxConnections: 12,
      databaseUrl: one.databaseUrl,
      env: secretsOf(one),
    })
    for (const { clock } of [one, other]) clock.now = Date.UTC(2031, 4, 6, 12)
  })
  afterAll(async () => {
    await Promise.all([one.close(), other.close()])
  })

  const passes = () =>
    Promise.all(
      [one, other].map(async ({ world }) => {
        await world.usage.flush(world.db)
        while (!(await watchKeys(world)));
      }),
    )
  const use = (service: Service, apiKey: string, ip = HOME) =>
    service.call('/me', { headers: { 'X-API-Key': apiKey }, ip })
  const told = (keyId: string) =>
    rows(one.world.db, sql`SELECT FROM notices WHERE key_id = ${keyId} AND data ? 'rule'`)

  it.each([
    1, 2, 3,
  ])('count together, find once, suspend once and tell once (round %i)', async () => {
    const wallets = Array.from({ length: 8 }, () => newWallet(one))
    const keys = await Promise.all(
      wallets.map((wallet) =>
        createKey(one, wallet, {
          permissions: [],
          alerts: {
            newAddress: { action: 'suspend' },
            newNetwork: { action: 'suspend' },
            requestsPerMinute: { above: 9, action: 'suspend' },
          },
        }),
      ),
    )
    for (const { clock } of [one, other]) clock.now += MINUTE
    await Promise.all(keys.map(({ apiKey }) => use(one, apiKey)))
    await passes()
    for (const { clock } of [one, other]) clock.now += 1_000
    // Five requests through each: neither process has seen more than nine.
    for (let time = 0; time < 5; time++)
      await Promise.all(
        keys.flatMap(({ apiKey }) =>
          [one, other].map((service) => use(service, apiKey, '198.51.100.7')),
        ),
      )
    await passes()
    await passes()
    for (const [at, { keyId }] of keys.entries()) {
      const found = await rows<{ rule: string }>(
        one.world.db,
        sql`SELECT rule FROM key_findings WHERE key_id = ${keyId} AND acted_at IS NOT NULL ORDER BY rule`,
      )
      expect(found.map(({ rule }) => rule)).toEqual([
        'newAddress',
        'newNetwork',
        'requestsPerMinute',
      ])
      expect(await told(keyId)).toHaveLength(3)
      const suspensions = await rows(
        one.world.db,
        sql`SELECT FROM audit_events WHERE key_id = ${keyId} AND body LIKE '%"event":"suspend_api_key"%'`,
      )
      expect([at, suspensions.length]).toEqual([at, 1])
    }
  })
})
