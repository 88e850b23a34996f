import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { signRequest } from '../../src/client/request-signer.ts'
import { rows } from '../../src/db/database.ts'
import { type ErrorBody, REFUSALS, type RefusalReason } from '../../src/errors.ts'
import { revokeCredential } from '../../src/service-credentials/manage.ts'
import type { InvalidKey, KeyQuestion, KeyVerdict } from '../../src/service-credentials/verdict.ts'
import { startService } from '../http/documented.ts'
import { answered, refused } from '../support/assertions.ts'
import { unknownSecret } from '../support/secrets.ts'
import { EVERYWHERE, type Service } from '../support/service.ts'
import { issueCredential, unknownCredential } from '../support/service-credentials.ts'
import { createSigningKey } from '../support/signed.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

const IP = '203.0.113.50'
const READ = { permissions: ['read'] }

describe.each(EVERYWHERE)('A backend that asks about keys, on %s', (engine) => {
  let service: Service
  let wallet: Wallet
  let secret: string
  beforeAll(async () => {
    service = await startService(engine, { env: { MAX_ACTIVE_KEYS_PER_WALLET: '1000' } })
    wallet = newWallet(service)
    secret = (await issueCredential(service)).secret
  })
  afterAll(() => service.close())

  const post = (question: unknown, credential = secret) =>
    service.call('/keys/verify', json(question, { 'X-Service-Credential': credential }))
  const verify = async (question: Partial<KeyQuestion>) =>
    (await (await post({ scope: 'read', ...question })).json()) as KeyVerdict
  const forward = (
    apiKey: string | undefined,
    query = 'scope=read',
    init: RequestInit & { ip?: string } = {},
    credential = secret,
  ) =>
    service.call(`/auth/forward?${query}`, {
      ...init,
      headers: {
        'X-Service-Credential': credential,
        ...(apiKey !== undefined && { 'X-API-Key': apiKey }),
      },
    })
  const countersOf = async (keyId: string) => {
    const [found] = await rows<{ minute: number; total: number; successful: number }>(
      service.world.db,
      sql`SELECT minute_count AS minute, total_requests::int AS total, successful_requests::int AS successful
        FROM key_counters WHERE key_id = ${keyId}`,
    )
    return found
  }

  it('is told of a signed request as of a secret, once, and never of another one', async () => {
    const { keyId, signer } = await createSigningKey(service, wallet, READ)
    const url = 'https://localhost/market/book?depth=5'
    const sign = async (method = 'GET', body?: string) => ({
      method,
      url,
      headers: await signRequest(signer, {
        method,
        url,
        now: service.clock.now,
        ...(body !== undefined && { body }),
      }),
    })
    const request = await sign()
    const answers = await Promise.all([verify({ request }), verify({ request })])
    expect(answers.map(({ code }) => code).sort()).toEqual(['OK', 'REQUEST_REPLAYED'])
    expect(answers.find(({ valid }) => valid)).toMatchObject({
      keyId,
      walletAddress: wallet.address,
    })
    const codeOf = async (changed: object) =>
      (await verify({ request: { ...(await sign()), ...changed } })).code
    expect(await codeOf({ url: 'https://localhost/market/book?depth=6' })).toBe(
      'INVALID_REQUEST_SIGNATURE',
    )
    expect(await codeOf({ method: 'HEAD' })).toBe('INVALID_REQUEST_SIGNATURE')
    expect(await codeOf({ method: 'POST' })).toBe('SIGNATURE_INCOMPLETE')
    expect(await codeOf({ headers: {} })).toBe('INVALID_REQUEST_SIGNATURE')
    expect((await verify({ request: await sign('POST', '{}') })).code).toBe('OK')
    const { apiKey } = await createKey(service, wallet, { ...READ, keyName: 'both' })
    for (const question of [{}, { apiKey, request: await sign() }])
      await refused(await post({ scope: 'read', ...question }), 'invalidRequest')
    for (const wrong of ['/market', 'ftp://localhost/', 'https://', 'https://a b/', 'https://[/'])
      await refused(
        await post({ scope: 'read', request: { ...(await sign()), url: wrong } }),
        'invalidRequest',
      )
    expect((await countersOf(keyId))?.successful).toBe(2)
  })

  it('is told what the key may do, and what is left of it', async () => {
    const limits = { maxAmountIn: { '.stx': { perDay: '5' } }, rateLimit: 50 }
    const { apiKey, keyId } = await createKey(service, wallet, {
      ...READ,
      ...limits,
      keyName: 'verified',
      expiresAt: new Date(service.clock.now + 86_400_000).toISOString(),
    })
    const verdict = await answered<KeyVerdict>(await post({ apiKey, scope: 'read', ip: IP }))
    expect(verdict).toEqual({
      valid: true,
      code: 'OK',
      keyId,
      walletAddress: wallet.address,
      principal: `stacks:2147483648:${wallet.address}`,
      name: 'verified',
      permissions: ['read'],
      limits: { maxAmountIn: limits.maxAmountIn },
      rateLimit: 50,
      windows: [
        expect.objectContaining({ name: 'minute', limit: 50, remaining: 49 }),
        expect.objectContaining({ name: 'hour', limit: 1_000, remaining: 999 }),
        expect.objectContaining({ name: 'day', limit: 10_000, remaining: 9_999 }),
      ],
      expiresAt: new Date(service.clock.now + 86_400_000).toISOString(),
      headers: expect.objectContaining({
        'X-RateLimit-Limit': '50',
        'X-RateLimit-Remaining': '49',
        'X-API-Key-Expires': new Date(service.clock.now + 86_400_000).toISOString(),
      }),
    })
    expect(await countersOf(keyId)).toEqual({ minute: 1, total: 1, successful: 1 })
    // The bearer sees the same counters when it comes here itself.
    const me = await service.call('/me', { headers: { 'X-API-Key': apiKey } })
    expect(me.headers.get('X-RateLimit-Remaining')).toBe('48')
  })

  it('behind a proxy is told who asks, in headers', async () => {
    const { apiKey, keyId } = await createKey(service, wallet, { permissions: ['read', 'cancel'] })
    for (const method of ['GET', 'POST']) {
      const response = await forward(apiKey, 'scope=read&cost=3', { method })
      const principal = `stacks:2147483648:${wallet.address}`
      expect(await answered(response)).toEqual({
        status: 'success',
        keyId,
        walletAddress: wallet.address,
        principal,
        permissions: ['read', 'cancel'],
      })
      expect(response.headers.get('X-Auth-Principal')).toBe(principal)
      expect(response.headers.get('X-Auth-Key-Id')).toBe(keyId)
      expect(response.headers.get('X-Auth-Scopes')).toBe('read cancel')
    }
    expect(await countersOf(keyId)).toEqual({ minute: 6, total: 6, successful: 6 })
  })

  /** Each way in which a key is refused, and what to ask with it. */
  const REFUSED: readonly [
    title: string,
    reason: RefusalReason,
    arrange: () => Promise<{ apiKey: string; ip?: string }>,
  ][] = [
    ['is mistyped', 'apiKeyInvalid', async () => ({ apiKey: `${unknownSecret().slice(0, -1)}_` })],
    ['is of no wallet', 'apiKeyInvalid', async () => ({ apiKey: unknownSecret() })],
    ['is a service credential', 'apiKeyInvalid', async () => ({ apiKey: secret })],
    [
      'was revoked',
      'apiKeyInactive',
      async () => {
        const { apiKey, keyId } = await createKey(service, wallet, READ)
        const body = json(wallet.sign({ action: 'delete_api_key', keyId }))
        await service.call(`/api-keys/${keyId}`, { ...body, method: 'DELETE' })
        return { apiKey }
      },
    ],
    [
      'is suspended',
      'apiKeyInactive',
      async () => {
        const { apiKey, keyId } = await createKey(service, wallet, READ)
        const body = json(wallet.sign({ action: 'suspend_api_key', keyId }))
        await service.call(`/api-keys/${keyId}/suspend`, body)
        return { apiKey }
      },
    ],
    [
      'was edited in the database',
      'apiKeyInactive',
      async () => {
        const { apiKey, keyId } = await createKey(service, wallet)
        await rows(
          service.world.db,
          sql`UPDATE api_keys SET permissions = '{read}' WHERE id = ${keyId}`,
        )
        return { apiKey }
      },
    ],
    [
      'is bound to another address',
      'ipNotAllowed',
      async () => ({
        ...(await createKey(service, wallet, { ...READ, ipAllowlist: ['198.51.100.0/24'] })),
        ip: IP,
      }),
    ],
    [
      'is bound to addresses, and none is known',
      'ipNotAllowed',
      async () => createKey(service, wallet, { ...READ, ipAllowlist: [IP] }),
    ],
    ['lacks the scope', 'permissionDenied', async () => createKey(service, wallet)],
    [
      'has used up its minute',
      'rateLimited',
      async () => {
        const { apiKey, keyId } = await createKey(service, wallet, READ)
        const minute = Math.floor(service.clock.now / 60_000)
        await rows(
          service.world.db,
          sql`UPDATE key_counters SET minute_window = ${minute}, minute_count = 100 WHERE key_id = ${keyId}`,
        )
        return { apiKey }
      },
    ],
  ]

  it.each(
    REFUSED,
  )('is told that a key %s, with the contract’s body and headers', async (_, reason, arrange) => {
    const { apiKey, ip } = await arrange()
    const { status, code, error } = REFUSALS[reason]
    const verdict = (await verify({ apiKey, ...(ip !== undefined && { ip }) })) as InvalidKey
    expect(verdict).toMatchObject({ valid: false, httpStatus: status, code, error })
    const { valid: _valid, httpStatus, keyId: _id, windows: _windows, headers, ...body } = verdict
    expect(headers['X-Request-Id']).toBe(body.requestId)
    // Sent on, it is the refusal that the key would get here. An address that is not known has no limits to show.
    const sent = new Headers({ 'Content-Type': 'application/json', ...headers })
    for (const name of ['Limit', 'Remaining', 'Reset', 'Window'])
      if (!sent.has(`X-RateLimit-${name}`)) sent.set(`X-RateLimit-${name}`, '0')
    if (!sent.has('RateLimit')) sent.set('RateLimit', '"minute";r=0;t=0')
    if (!sent.has('RateLimit-Policy')) sent.set('RateLimit-Policy', '"minute";q=0;w=60')
    await refused(new Response(JSON.stringify(body), { status: httpStatus, headers: sent }), reason)

    const response = await forward(apiKey, 'scope=read', { ip: ip ?? 'unix' })
    const passedOn = response.headers.get('X-Auth-Refusal')
    expect(response.headers.get('X-Auth-Principal')).toBeNull()
    const forwarded = await refused(response, reason)
    expect(JSON.parse(passedOn ?? '')).toEqual(forwarded)
    const comparable = ({ details, code }: Pick<ErrorBody, 'details' | 'code'>) => [code, details]
    expect(comparable(forwarded)).toEqual(comparable(body as ErrorBody))
  })

  it('is told that a key expired, at the millisecond of its end', async () => {
    const { apiKey } = await createKey(service, wallet, {
      ...READ,
      expiresAt: new Date(service.clock.now + 1_000).toISOString(),
    })
    service.clock.now += 999
    expect(await verify({ apiKey })).toMatchObject({ valid: true })
    service.clock.now += 1
    expect(await verify({ apiKey })).toMatchObject({ valid: false, code: 'API_KEY_INACTIVE' })
  })

  it('has a key of an allow list judged by the address that it names', async () => {
    const { apiKey } = await createKey(service, wallet, {
      ...READ,
      ipAllowlist: ['203.0.113.0/24'],
    })
    expect(await verify({ apiKey, ip: IP })).toMatchObject({ valid: true })
    expect(await verify({ apiKey, ip: `::ffff:${IP}` })).toMatchObject({ valid: true })
    expect((await forward(apiKey, 'scope=read', { ip: IP })).status).toBe(200)
    expect((await forward(apiKey, 'scope=read', { ip: '198.51.100.1' })).status).toBe(403)
  })

  it('has a cost counted whole, or not at all', async () => {
    const { apiKey, keyId } = await createKey(service, wallet, { ...READ, rateLimit: 10 })
    expect(await verify({ apiKey, cost: 7 })).toMatchObject({
      valid: true,
      windows: [{ remaining: 3 }, { remaining: 993 }, { remaining: 9_993 }],
    })
    const resetAt = (Math.floor(service.clock.now / 60_000) + 1) * 60
    const seconds = Math.ceil(resetAt - service.clock.now / 1_000)
    expect(await verify({ apiKey, cost: 4 })).toMatchObject({
      valid: false,
      code: 'RATE_LIMIT_EXCEEDED',
      details: { retryAfterSeconds: seconds },
      windows: [{ remaining: 3 }, { remaining: 993 }, { remaining: 9_993 }],
      headers: { 'Retry-After': String(seconds), 'X-RateLimit-Remaining': '3' },
    })
    expect(await countersOf(keyId)).toEqual({ minute: 7, total: 7, successful: 7 })
    expect((await forward(apiKey, 'scope=read&cost=4')).status).toBe(429)
    expect((await forward(apiKey, 'scope=read&cost=3')).status).toBe(200)
    expect(await verify({ apiKey })).toMatchObject({ valid: false, code: 'RATE_LIMIT_EXCEEDED' })
    expect(await countersOf(keyId)).toEqual({ minute: 10, total: 10, successful: 10 })
  })

  it('has requests that wait together pass for as long as there is room, whatever each costs', async () => {
    const { apiKey, keyId } = await createKey(service, wallet, { ...READ, rateLimit: 10 })
    const costs = [4, 1, 1, 8, 4, 1, 2, 8]
    const verdicts = await Promise.all(costs.map((cost) => verify({ apiKey, cost })))
    const passed = costs.filter((_, place) => verdicts[place]?.valid)
    const used = passed.reduce((sum, cost) => sum + cost, 0)
    expect((await countersOf(keyId))?.minute).toBe(used)
    for (const [place, cost] of costs.entries())
      if (!verdicts[place]?.valid) expect(used + cost).toBeGreaterThan(10)
  })

  it('is refused without a credential, with a mistyped, an unknown and an edited one', async () => {
    const { apiKey } = await createKey(service, wallet, READ)
    const question = { apiKey, scope: 'read' }
    const edited = await issueCredential(service, { scopes: ['cancel'] })
    await rows(
      service.world.db,
      sql`UPDATE service_credentials SET scopes = '{read}' WHERE id = ${edited.credentialId}`,
    )
    for (const [credential, costs] of [
      [undefined, 0],
      ['', 0],
      [apiKey, 0],
      [`${secret.slice(0, -1)}_`, 0],
      [unknownCredential(), 1],
      [edited.secret, 1],
    ] as const) {
      const headers: Record<string, string> =
        credential === undefined ? {} : { 'X-Service-Credential': credential }
      for (const call of [
        () => service.call('/keys/verify', json(question, headers)),
        () =>
          service.call('/auth/forward?scope=read', {
            headers: { ...headers, 'X-API-Key': apiKey },
          }),
      ]) {
        const before = service.statements.length
        await refused(await call(), 'serviceCredentialInvalid')
        expect(service.statements.length - before).toBe(costs)
      }
    }
    expect(service.logged.join()).toContain('service_credential_tampered')
  })

  it('asks for its own scopes only', async () => {
    const { secret: own } = await issueCredential(service, { scopes: ['cancel'] })
    const { apiKey, keyId } = await createKey(service, wallet, READ)
    for (const response of [
      await post({ apiKey, scope: 'read' }, own),
      await forward(apiKey, 'scope=read', {}, own),
    ]) {
      const { details } = await refused(response, 'serviceScopeDenied')
      expect(details).toEqual({ required: 'read', granted: ['cancel'] })
    }
    expect((await countersOf(keyId))?.total).toBe(0)
  })

  it('may ask as often as its credential says, by either way', async () => {
    const { secret: own } = await issueCredential(service, { rateLimit: 3 })
    const { apiKey } = await createKey(service, wallet, READ)
    const first = await post({ apiKey, scope: 'read' }, own)
    expect(first.headers.get('X-RateLimit-Remaining')).toBe('2')
    expect((await forward(apiKey, 'scope=read', {}, own)).status).toBe(200)
    expect((await post({ apiKey, scope: 'read' }, own)).status).toBe(200)
    const limited = await post({ apiKey, scope: 'read' }, own)
    expect(limited.headers.get('RateLimit-Policy')).toBe('"minute";q=3;w=60')
    await refused(limited, 'rateLimited')
    await refused(await forward(apiKey, 'scope=read', {}, own), 'rateLimited')
    service.clock.now += 60_000
    expect((await post({ apiKey, scope: 'read' }, own)).status).toBe(200)
  })

  it('is refused from the moment that its credential is revoked', async () => {
    const { secret: own, credentialId } = await issueCredential(service)
    const { apiKey } = await createKey(service, wallet, READ)
    expect((await post({ apiKey, scope: 'read' }, own)).status).toBe(200)
    await revokeCredential(service.world, credentialId, 'lost', service.clock.now)
    await refused(await post({ apiKey, scope: 'read' }, own), 'serviceCredentialInvalid')
    await refused(await forward(apiKey, 'scope=read', {}, own), 'serviceCredentialInvalid')
  })

  it.each([
    ['no scope', {}],
    ['a scope that is none', { scope: 'All of it' }],
    ['a cost of 0', { scope: 'read', cost: 0 }],
    ['a cost of a half', { scope: 'read', cost: 1.5 }],
    ['a cost above 1000', { scope: 'read', cost: 1_001 }],
    ['a cost that is text', { scope: 'read', cost: '1' }],
    ['an address that is none', { scope: 'read', ip: '203.0.113.0/24' }],
    ['an address of null', { scope: 'read', ip: null }],
    ['a resource with a line break', { scope: 'read', resource: 'a\nb' }],
    ['a key that is a number', { scope: 'read', apiKey: 5 }],
    ['a member more', { scope: 'read', key: 'x' }],
  ])('is refused with %s, and nothing is counted of the key', async (_, members) => {
    const { apiKey, keyId } = await createKey(service, wallet, READ)
    await refused(await post({ apiKey, ...members }), 'invalidRequest')
    expect((await countersOf(keyId))?.total).toBe(0)
  })

  it.each([
    '',
    'scope=',
    'scope=read&cost=0',
    'scope=read&cost=-1',
    'scope=read&cost=1.0',
    'scope=read&cost=1001',
    'scope=read&cost=1&cost=2',
    'scope=read&scope=cancel',
    'scope=read&more=1',
    'cost=1',
  ])('behind a proxy that asks with "%s" is refused', async (query) => {
    const { apiKey, keyId } = await createKey(service, wallet, READ)
    await refused(await forward(apiKey, query), 'invalidRequest')
    expect((await countersOf(keyId))?.total).toBe(0)
  })

  it('behind a proxy is refused without a key, with two, and with one sent twice', async () => {
    await refused(await forward(undefined), 'apiKeyInvalid')
    const headers = { 'X-Service-Credential': secret }
    const [one, other] = [unknownSecret(), unknownSecret()]
    for (const keys of [
      { 'X-API-Key': one, Authorization: `Bearer ${other}` },
      { 'X-API-Key': `${one}, ${one}` },
    ])
      await refused(
        await service.call('/auth/forward?scope=read', { headers: { ...headers, ...keys } }),
        'invalidRequest',
      )
  })

  it('costs 3 statements: the credential, the gate, the success', async () => {
    const { apiKey } = await createKey(service, wallet, READ)
    const statementsOf = async (call: () => Promise<Response>) => {
      const before = service.statements.length
      const { status } = await call()
      return [status, service.statements.length - before]
    }
    expect(await statementsOf(() => post({ apiKey, scope: 'read', cost: 2 }))).toEqual([200, 3])
    expect(await statementsOf(() => forward(apiKey, 'scope=read&cost=2'))).toEqual([200, 3])
    const mistyped = `${apiKey.slice(0, -1)}_`
    expect(await statementsOf(() => post({ apiKey: mistyped, scope: 'read' }))).toEqual([200, 1])
    expect(await statementsOf(() => forward(mistyped))).toEqual([401, 1])
    expect(await statementsOf(() => post({ apiKey, scope: 'cancel' }))).toEqual([200, 2])
  })

  it('leaves no secret in the log, and names what was asked for', async () => {
    const { apiKey } = await createKey(service, wallet, READ)
    await verify({ apiKey, resource: `GET /market/${randomUUID()}` })
    const log = service.logged.join('\n')
    expect(log).toContain('GET /market/')
    expect(log).not.toContain(apiKey)
    expect(log).not.toContain(secret)
  })
})
