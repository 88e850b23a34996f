import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RequestSigner } from '../../src/client/request-signer.ts'
import {
  generateSigningKey,
  requestSigner,
  secretRequestSigner,
} from '../../src/client/request-signer.ts'
import { rows } from '../../src/db/database.ts'
import { signatureBase } from '../../src/signed-requests/base.ts'
import { forgetNonces } from '../../src/signed-requests/nonces.ts'
import { EVERYWHERE, type Service, startService } from '../support/service.ts'
import {
  callSigned,
  createSecretSigner,
  createSigningKey,
  outcome,
  PUBLIC_HOST,
  SIGNED_ENV,
  type SigningKeyOfWallet,
  signed,
} from '../support/signed.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

const ALL = ['@method', '@authority', '@path', '@query']

describe.each(EVERYWHERE)('a signed request on %s', (engine) => {
  let service: Service
  let wallet: Wallet
  let key: SigningKeyOfWallet
  beforeAll(async () => {
    service = await startService(engine, {
      env: {
        ...SIGNED_ENV,
        RATE_LIMIT_PER_MINUTE: '100000',
        RATE_LIMIT_PER_HOUR: '100000',
        RATE_LIMIT_PER_DAY: '100000',
        MAX_ACTIVE_KEYS_PER_WALLET: '1000',
      },
    })
    wallet = newWallet(service)
    await fund(service, wallet)
    key = await createSigningKey(service, wallet)
  })
  afterAll(() => service.close())

  const me = (signer: RequestSigner = key.signer) => callSigned(service, signer, '/me')
  const change = (keyId: string, members: Record<string, unknown>) =>
    service.call(`/api-keys/${keyId}`, {
      ...json(wallet.sign({ action: 'update_api_key', keyId, ...members })),
      method: 'PATCH',
    })
  const act = (keyId: string, action: string, path: string, members = {}, method = 'POST') =>
    service.call(`/api-keys/${keyId}${path}`, {
      ...json(wallet.sign({ action, keyId, ...members })),
      method,
    })

  /** A request to /me whose signature has exactly these components and parameters. */
  async function custom(
    components: readonly string[],
    parameters: string,
    { path = '/me', header = (_: string): string | undefined => undefined, method = 'GET' } = {},
  ): Promise<RequestInit & { headers: Record<string, string> }> {
    const list = `(${components.map((name) => `"${name}"`).join(' ')})${parameters}`
    const target = { method, authority: PUBLIC_HOST, path: `/api/v1${path}`, query: '?' }
    const base = signatureBase(components, list, target, header)
    if (!base.ok) throw new Error(base.reason)
    const signature = await key.signer.sign(new TextEncoder().encode(base.value))
    const headers = {
      'Signature-Input': `sig=${list}`,
      Signature: `sig=:${Buffer.from(signature).toString('base64')}:`,
    }
    return { method, headers }
  }
  const seconds = (offset = 0) => Math.floor(service.clock.now / 1000) + offset
  const parametersOf = (
    given: Record<string, string | number | undefined> = {},
    nonce = crypto.randomUUID(),
  ) => {
    const all = { created: seconds(), nonce, keyid: key.keyId, tag: 'latchkey', ...given }
    return Object.entries(all)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => `;${name}=${typeof value === 'number' ? value : `"${value}"`}`)
      .join('')
  }

  it('does all that a key may do: it creates, executes and cancels orders, lists them, and sees itself', async () => {
    const order = wallet.order()
    const created = await callSigned(service, key.signer, '/orders/new', json(order))
    expect(created.status, await created.clone().text()).toBe(201)
    const execute = `/orders/${order.uuid}/execute`
    expect((await callSigned(service, key.signer, execute, { method: 'POST' })).status).toBe(200)
    const other = await createOrder(service, wallet)
    const cancel = `/orders/${other}/cancel`
    const cancelled = await callSigned(service, key.signer, cancel, {
      method: 'PATCH',
      headers: { 'Content-Type': 'application/json' },
      body: '{"onChain":false}',
    })
    expect(cancelled.status, await cancelled.clone().text()).toBe(200)
    const list = await callSigned(service, key.signer, `/orders?owner=${wallet.address}&limit=5`)
    expect(((await list.json()) as { data: unknown[] }).data.length).toBeGreaterThan(1)
    const self = (await (await me()).json()) as Record<string, unknown>
    expect(self).toMatchObject({ keyId: key.keyId, owner: wallet.address })
    expect(self.limits).toMatchObject({ publicKey: key.publicKey })
  })

  it('revokes its own key, once', async () => {
    const { signer } = await createSigningKey(service, wallet)
    const init = { method: 'DELETE' }
    expect(await outcome(await callSigned(service, signer, '/api-keys/self', init))).toEqual([
      200,
      'success',
    ])
    expect(await outcome(await me(signer))).toEqual([401, 'API_KEY_INACTIVE'])
    expect(await outcome(await callSigned(service, signer, '/api-keys/self', init))).toEqual([
      401,
      'API_KEY_INACTIVE',
    ])
  })

  it('is taken once', async () => {
    const request = await signed(service, key.signer, '/me')
    expect(await outcome(await service.call('/me', request))).toEqual([200, 'success'])
    expect(await outcome(await service.call('/me', request))).toEqual([409, 'REQUEST_REPLAYED'])
  })

  it('shares no nonce with another key', async () => {
    const other = await createSigningKey(service, wallet)
    const nonce = crypto.randomUUID()
    const first = await custom(ALL, parametersOf({}, nonce))
    expect((await service.call('/me', first)).status).toBe(200)
    expect(
      await outcome(await service.call('/me', await custom(ALL, parametersOf({}, nonce)))),
    ).toEqual([409, 'REQUEST_REPLAYED'])
    const mine = key
    key = other
    const second = await custom(ALL, parametersOf({ keyid: other.keyId }, nonce))
    key = mine
    expect((await service.call('/me', second)).status).toBe(200)
  })

  it('costs the key nothing where it is replayed, and nothing where it is forged', async () => {
    const used = async () => {
      const [row] = await rows<{ total: string }>(
        service.database.db,
        sql`SELECT total_requests::text AS total FROM key_counters WHERE key_id = ${key.keyId}`,
      )
      return Number(row?.total)
    }
    const request = await signed(service, key.signer, '/me')
    await service.call('/me', request)
    const before = await used()
    await service.call('/me', request)
    const forged = await signed(service, key.signer, '/me')
    const zeros = `sig=:${Buffer.alloc(64).toString('base64')}:`
    await service.call('/me', { headers: { ...forged.headers, signature: zeros } })
    expect(await used()).toBe(before)
  })

  it.each([
    ['method', '/api-keys/self', { method: 'DELETE' }],
    ['path', '/orders', {}],
    ['query', '/me?limit=1', {}],
  ] as const)('is refused with another %s than the signed one', async (_, path, init) => {
    const { headers } = await signed(service, key.signer, '/me')
    expect(await outcome(await service.call(path, { ...init, headers }))).toEqual([
      401,
      'INVALID_REQUEST_SIGNATURE',
    ])
  })

  it('is refused with another host than the signed one, and says which it verified', async () => {
    const list = `(${ALL.map((name) => `"${name}"`).join(' ')})${parametersOf()}`
    const target = { method: 'GET', authority: 'evil.example', path: '/api/v1/me', query: '?' }
    const base = signatureBase(ALL, list, target, () => undefined)
    if (!base.ok) throw new Error('no base')
    const bytes = await key.signer.sign(new TextEncoder().encode(base.value))
    const headers = {
      'Signature-Input': `sig=${list}`,
      Signature: `sig=:${Buffer.from(bytes).toString('base64')}:`,
      Host: 'evil.example',
    }
    const response = await service.call('/me', { headers })
    expect(response.status).toBe(401)
    expect(await response.json()).toMatchObject({
      code: 'INVALID_REQUEST_SIGNATURE',
      details: { reason: 'mismatch', authority: PUBLIC_HOST },
    })
  })

  it('is refused with another content than the signed one, under any digest', async () => {
    const order = json(wallet.order())
    const { headers } = await signed(service, key.signer, '/orders/new', order)
    const changed = JSON.stringify({ ...JSON.parse(String(order.body)), amountIn: '2000000' })
    const send = (given: Record<string, string>, body: string) =>
      service.call('/orders/new', { method: 'POST', headers: { ...headers, ...given }, body })
    expect(await outcome(await send({}, changed))).toEqual([400, 'CONTENT_DIGEST_MISMATCH'])
    const digest = new Uint8Array(
      await crypto.subtle.digest('SHA-256', new TextEncoder().encode(changed)),
    )
    const matching = `sha-256=:${Buffer.from(digest).toString('base64')}:`
    expect(await outcome(await send({ 'content-digest': matching }, changed))).toEqual([
      401,
      'INVALID_REQUEST_SIGNATURE',
    ])
    for (const unknown of ['md5=:1B2M2Y8AsgTpgAmY7PhCfg==:', 'sha-256', '', 'x'])
      expect(await outcome(await send({ 'content-digest': unknown }, String(order.body)))).toEqual([
        unknown === 'sha-256' ? 400 : 401,
        unknown === 'sha-256' ? 'CONTENT_DIGEST_MISMATCH' : 'INVALID_REQUEST_SIGNATURE',
      ])
    expect((await send({}, String(order.body))).status).toBe(201)
  })

  it.each(
    ALL,
  )('is refused without %s, whatever it verifies, and says what to cover', async (one) => {
    const request = await custom(
      ALL.filter((name) => name !== one),
      parametersOf(),
    )
    const response = await service.call('/me', request)
    expect(response.status).toBe(401)
    expect(await response.json()).toMatchObject({
      code: 'SIGNATURE_INCOMPLETE',
      details: {
        missing: [one],
        components: ALL,
        parameters: ['created', 'nonce', 'keyid', 'tag'],
      },
    })
  })

  it.each(['created', 'nonce', 'keyid'])('is refused without the parameter %s', async (name) => {
    const request = await custom(ALL, parametersOf({ [name]: undefined }))
    expect(await (await service.call('/me', request)).json()).toMatchObject({
      code: 'SIGNATURE_INCOMPLETE',
      details: { missing: [name] },
    })
  })

  it('is refused with a body that it does not cover', async () => {
    const path = '/orders/new'
    const { headers } = await custom(ALL, parametersOf(), { path, method: 'POST' })
    const response = await service.call(path, json(wallet.order(), headers))
    expect(await response.json()).toMatchObject({
      code: 'SIGNATURE_INCOMPLETE',
      details: { missing: ['content-digest'] },
    })
  })

  it.each([
    [-301, 401],
    [-300, 200],
    [60, 200],
    [61, 401],
  ])('that was made %i s from now gets %i', async (offset, status) => {
    service.clock.now = Math.floor(service.clock.now / 1000) * 1000
    const request = await custom(ALL, parametersOf({ created: seconds(offset) }))
    const response = await service.call('/me', request)
    expect(response.status).toBe(status)
    if (status === 401)
      expect(await response.json()).toMatchObject({
        code: 'EXPIRED_REQUEST_SIGNATURE',
        details: { reason: offset < 0 ? 'too_old' : 'in_the_future', maxAgeSeconds: 300 },
      })
  })

  it('ends when its signer wants it to', async () => {
    service.clock.now = Math.floor(service.clock.now / 1000) * 1000
    const ends = async (offset: number) =>
      outcome(
        await service.call('/me', await custom(ALL, parametersOf({ expires: seconds(offset) }))),
      )
    expect(await ends(0)).toEqual([200, 'success'])
    expect(await ends(-1)).toEqual([401, 'EXPIRED_REQUEST_SIGNATURE'])
  })

  it('must be as young as the grant says', async () => {
    const young = await createSigningKey(service, wallet, { maxSignatureAgeSeconds: 30 })
    const mine = key
    key = young
    service.clock.now = Math.floor(service.clock.now / 1000) * 1000
    const old = await custom(ALL, parametersOf({ created: seconds(-31) }))
    const fresh = await custom(ALL, parametersOf({ created: seconds(-30) }))
    key = mine
    const response = await service.call('/me', old)
    expect(await response.json()).toMatchObject({
      code: 'EXPIRED_REQUEST_SIGNATURE',
      details: { maxAgeSeconds: 30 },
    })
    expect((await service.call('/me', fresh)).status).toBe(200)
  })

  it('is refused where its algorithm is not that of its key', async () => {
    const request = await custom(ALL, parametersOf({ alg: 'hmac-sha256' }))
    expect(await (await service.call('/me', request)).json()).toMatchObject({
      code: 'INVALID_REQUEST_SIGNATURE',
      details: { reason: 'algorithm' },
    })
    const named = await custom(ALL, parametersOf({ alg: 'ed25519' }))
    expect((await service.call('/me', named)).status).toBe(200)
    const none = await custom(ALL, parametersOf({ alg: 'rsa-pss-sha512' }))
    expect(await outcome(await service.call('/me', none))).toEqual([
      401,
      'INVALID_REQUEST_SIGNATURE',
    ])
  })

  it('of a key that is not there gets the code of an unknown key', async () => {
    const request = await custom(ALL, parametersOf({ keyid: 'key_nowhere' }))
    expect(await outcome(await service.call('/me', request))).toEqual([401, 'INVALID_API_KEY'])
  })

  it('has no other credential beside it', async () => {
    const { headers } = await signed(service, key.signer, '/me')
    const { apiKey } = await createKey(service, wallet)
    for (const other of [{ 'X-API-Key': apiKey }, { Authorization: `Bearer ${apiKey}` }])
      expect(
        await outcome(await service.call('/me', { headers: { ...headers, ...other } })),
      ).toEqual([400, 'INVALID_REQUEST'])
  })

  it('may have signatures for other readers beside it, and theirs alone authenticate nothing', async () => {
    const { headers } = await signed(service, key.signer, '/me')
    const others = {
      'signature-input': `bot=("@authority");created=1;keyid="x";tag="web-bot-auth", ${headers['signature-input']}`,
      signature: `bot=:AAAA:, ${headers.signature}`,
    }
    expect((await service.call('/me', { headers: { ...headers, ...others } })).status).toBe(200)
    const alone = {
      'signature-input': 'bot=("@authority");created=1;keyid="x";tag="web-bot-auth"',
      signature: 'bot=:AAAA:',
    }
    expect((await service.call('/orders?limit=1', { headers: alone })).status).toBe(200)
    const { apiKey } = await createKey(service, wallet)
    const withKey = { headers: { ...alone, 'X-API-Key': apiKey } }
    expect((await service.call('/me', withKey)).status).toBe(200)
    const response = await service.call('/me', { headers: alone })
    expect(await response.json()).toMatchObject({
      code: 'INVALID_API_KEY',
      details: { problem: 'Signature-Input has no signature with tag="latchkey"' },
    })
  })

  it('whose headers are malformed, doubled or long is refused, and none is an error of the service', async () => {
    const { headers } = await signed(service, key.signer, '/me')
    const { 'signature-input': input = '', signature = '' } = headers
    const hostile: Record<string, string>[] = [
      { 'signature-input': `${input}, ${input.replace('sig=', 'two=')}`, signature },
      { 'signature-input': input, signature: '' },
      { 'signature-input': input, signature: 'sig' },
      { 'signature-input': input, signature: 'sig="text"' },
      { 'signature-input': input, signature: 'other=:AAAA:' },
      { 'signature-input': input, signature: 'sig=:AAAA:' },
      { 'signature-input': input, signature: 'sig=::' },
      { 'signature-input': input, signature: `sig=:${'A'.repeat(5_000)}:` },
      { 'signature-input': `${input}${'x'.repeat(5_000)}`, signature },
      { 'signature-input': 'tag="latchkey"', signature },
      { 'signature-input': 'sig=1;tag="latchkey"', signature },
      { 'signature-input': 'sig;tag="latchkey"', signature },
      { 'signature-input': '((((tag="latchkey"', signature },
      { 'signature-input': input.replace('"@path"', '"@path" "@path"'), signature },
      { 'signature-input': input.replace('"@path"', '"@path";req'), signature },
      { 'signature-input': input.replace('"@path"', '@path'), signature },
      { 'signature-input': input.replace('"@path"', '"@path" "@status"'), signature },
      { 'signature-input': input.replace('"@path"', '"@path" "x-absent"'), signature },
      { 'signature-input': input.replace('"@path"', '"@path" "__proto__"'), signature },
      { 'signature-input': input.replace('"@path"', '"@path" "@constructor"'), signature },
      { 'signature-input': input.replace('"@path"', '"@path" "\\\\"'), signature },
      { 'signature-input': input.replace('"@path"', `"@path"${' "a"'.repeat(40)}`), signature },
      { 'signature-input': input.replace(/created=\d+/, 'created="x"'), signature },
      { 'signature-input': input.replace(/created=\d+/, 'created=1.5'), signature },
      { 'signature-input': input.replace(/created=\d+/, 'created=-1'), signature },
      { 'signature-input': input.replace(/created=\d+/, 'created=999999999999999'), signature },
      { 'signature-input': input.replace(/created=\d+/, 'created=@1'), signature },
      { 'signature-input': input.replace(/nonce="[^"]*"/, 'nonce="short"'), signature },
      {
        'signature-input': input.replace(/nonce="[^"]*"/, `nonce="${'n'.repeat(129)}"`),
        signature,
      },
      { 'signature-input': input.replace(/nonce="[^"]*"/, 'nonce=token'), signature },
      { 'signature-input': input.replace(/nonce="[^"]*"/, 'nonce'), signature },
      { 'signature-input': input.replace(/keyid="[^"]*"/, 'keyid="\' OR 1=1"'), signature },
      { 'signature-input': input.replace(/keyid="[^"]*"/, 'keyid=:AAAA:'), signature },
      { 'signature-input': `${input};expires="x"`, signature },
      { 'signature-input': input },
    ]
    for (const given of hostile) {
      const [status, code] = await outcome(await service.call('/me', { headers: given }))
      expect([401], `${JSON.stringify(given).slice(0, 300)} ${status} ${code}`).toContain(status)
      expect([
        'INVALID_REQUEST_SIGNATURE',
        'SIGNATURE_INCOMPLETE',
        'EXPIRED_REQUEST_SIGNATURE',
      ]).toContain(code)
    }
    expect((await service.call('/me', { headers })).status).toBe(200)
  })

  it('may cover other headers too, which must then be the signed ones', async () => {
    const header = (name: string) => (name === 'x-trace' ? 'a, b' : undefined)
    const request = await custom([...ALL, 'x-trace'], parametersOf(), { header })
    const send = (trace: string) =>
      service.call('/me', { headers: { ...request.headers, 'X-Trace': trace } })
    expect(await outcome(await send('other'))).toEqual([401, 'INVALID_REQUEST_SIGNATURE'])
    expect((await send('a, b')).status).toBe(200)
  })

  it.each([
    ['revoked', 'delete_api_key', '', 'DELETE', 'revoked'],
    ['suspended', 'suspend_api_key', '/suspend', 'POST', 'suspended'],
  ] as const)('of a key that is %s is refused at once', async (_, action, path, method, reason) => {
    const { keyId, signer } = await createSigningKey(service, wallet)
    expect((await me(signer)).status).toBe(200)
    expect((await act(keyId, action, path, {}, method)).status).toBe(200)
    const response = await me(signer)
    expect(await response.json()).toMatchObject({ code: 'API_KEY_INACTIVE', details: { reason } })
  })

  it('of a key that has expired is refused', async () => {
    const expiresAt = service.clock.now + 1_000
    const { signer } = await createSigningKey(service, wallet, { expiresAt })
    expect((await me(signer)).status).toBe(200)
    service.clock.now += 1_000
    expect(await (await me(signer)).json()).toMatchObject({
      code: 'API_KEY_INACTIVE',
      details: { reason: 'expired' },
    })
  })

  it('is of the public key that the owner signed last: the one before ends at once, for every act', async () => {
    const { keyId, signer } = await createSigningKey(service, wallet)
    expect((await me(signer)).status).toBe(200)
    const next = await generateSigningKey()
    expect((await change(keyId, { publicKey: next.publicKey })).status).toBe(200)
    for (const path of ['/me', '/me'])
      expect((await callSigned(service, signer, path)).status).toBe(401)
    const self = { method: 'DELETE' }
    expect((await callSigned(service, signer, '/api-keys/self', self)).status).toBe(401)
    service.clock.now += 1_000
    const other = requestSigner({ keyId, privateKey: next.privateKey })
    expect((await me(other)).status).toBe(200)
    expect((await me(signer)).status).toBe(401)
  })

  it('is refused where the public key was exchanged in the database', async () => {
    const { keyId, signer } = await createSigningKey(service, wallet)
    const thief = await generateSigningKey()
    const edit = (publicKey: object) =>
      rows(
        service.database.db,
        sql`UPDATE api_keys SET public_key = ${JSON.stringify(publicKey)}::text::jsonb WHERE id = ${keyId}`,
      )
    await edit(thief.publicKey)
    const forged = requestSigner({ keyId, privateKey: thief.privateKey })
    for (const one of [forged, signer])
      expect(await (await me(one)).json()).toMatchObject({
        code: 'API_KEY_INACTIVE',
        details: { reason: 'tampered' },
      })
  })

  it('is refused where the public key was exchanged after the process had read it', async () => {
    const { keyId, signer } = await createSigningKey(service, wallet)
    for (let count = 0; count < 3; count++) expect((await me(signer)).status).toBe(200)
    const thief = await generateSigningKey()
    await rows(
      service.database.db,
      sql`UPDATE api_keys SET public_key = ${JSON.stringify(thief.publicKey)}::text::jsonb WHERE id = ${keyId}`,
    )
    expect(await outcome(await me(signer))).toEqual([401, 'API_KEY_INACTIVE'])
    service.clock.now += 1_000
    const forged = requestSigner({ keyId, privateKey: thief.privateKey })
    expect(await outcome(await me(forged))).toEqual([401, 'API_KEY_INACTIVE'])
  })

  it('of a secret works by HMAC, and the secret itself is refused where the grant wants signatures', async () => {
    const { keyId, apiKey, signer } = await createSecretSigner(service, wallet)
    expect((await me(signer)).status).toBe(200)
    const bare = () => service.call('/me', { headers: { 'X-API-Key': apiKey } })
    expect(await outcome(await bare())).toEqual([401, 'SIGNATURE_REQUIRED'])
    expect((await change(keyId, { requireSignature: null })).status).toBe(200)
    expect((await bare()).status).toBe(200)
    expect((await me(signer)).status).toBe(200)
    expect((await change(keyId, { requireSignature: true })).status).toBe(200)
    expect(await outcome(await bare())).toEqual([401, 'SIGNATURE_REQUIRED'])
  })

  it('of a rotated secret works during the grace, and ends with it', async () => {
    const { keyId, signer } = await createSecretSigner(service, wallet)
    expect((await me(signer)).status).toBe(200)
    const rotated = await act(keyId, 'rotate_api_key', '/rotate', { graceSeconds: 60 })
    const { apiKey } = (await rotated.json()) as { apiKey: string }
    const next = secretRequestSigner({ keyId, apiKey })
    expect((await me(signer)).status).toBe(200)
    service.clock.now += 1_000
    expect((await me(next)).status).toBe(200)
    expect((await me(signer)).status).toBe(200)
    service.clock.now += 60_000
    expect(await (await me(signer)).json()).toMatchObject({
      code: 'API_KEY_INACTIVE',
      details: { reason: 'rotated' },
    })
    expect((await me(next)).status).toBe(200)
  })

  it('of a secret whose grant does not want signatures is refused, and says why', async () => {
    const { keyId, apiKey } = await createKey(service, wallet)
    const response = await me(secretRequestSigner({ keyId, apiKey }))
    expect(await response.json()).toMatchObject({
      code: 'INVALID_REQUEST_SIGNATURE',
      details: { reason: 'no_signing_key' },
    })
    expect(await outcome(await change(keyId, { requireSignature: true }))).toEqual([
      400,
      'INVALID_REQUEST',
    ])
  })

  it('is verified by no MAC key of another row', async () => {
    const [one, other] = [
      await createSecretSigner(service, wallet),
      await createSecretSigner(service, wallet),
    ]
    const { db } = service.database
    const [read] = await rows<{ box: string }>(
      db,
      sql`SELECT encode(mac_key_box, 'hex') AS box FROM api_keys WHERE id = ${other.keyId}`,
    )
    await rows(
      db,
      sql`UPDATE api_keys SET mac_key_box = decode(${read?.box}, 'hex') WHERE id = ${one.keyId}`,
    )
    const forged = secretRequestSigner({ keyId: one.keyId, apiKey: other.apiKey })
    expect(await outcome(await me(forged))).toEqual([401, 'INVALID_REQUEST_SIGNATURE'])
  })

  it('is of a key that stays one with a secret, or one without', async () => {
    const { publicKey } = await generateSigningKey()
    const secret = await createKey(service, wallet)
    for (const [keyId, members] of [
      [key.keyId, { publicKey: null }],
      [key.keyId, { requireSignature: true }],
      [secret.keyId, { publicKey }],
    ] as const)
      expect(await outcome(await change(keyId, members))).toEqual([400, 'INVALID_REQUEST'])
    const rotated = await act(key.keyId, 'rotate_api_key', '/rotate', { graceSeconds: 60 })
    expect(await outcome(rotated)).toEqual([400, 'INVALID_REQUEST'])
  })

  it('may be granted again by the same message, which makes one key', async () => {
    const { publicKey } = await generateSigningKey()
    const members = { action: 'create_api_key', keyName: 'twice', permissions: [], publicKey }
    const message = json(wallet.sign(members))
    const [first, second] = [
      await service.call('/api-keys', message),
      await service.call('/api-keys', message),
    ]
    expect([first.status, second.status]).toEqual([201, 200])
    const granted = (await first.json()) as Record<string, unknown>
    expect(await second.json()).toEqual(granted)
    expect(granted).not.toHaveProperty('apiKey')
    expect(granted).toMatchObject({ publicKey })
  })

  it.each([
    ['a point of small order', `${'A'.repeat(43)}`],
    ['too short a key', 'AAAA'],
  ])('is of no key that is %s', async (_, text) => {
    const members = { keyName: 'no', permissions: [], publicKey: { alg: 'ed25519', key: text } }
    const message = wallet.sign({ action: 'create_api_key', ...members })
    expect(await outcome(await service.call('/api-keys', json(message)))).toEqual([
      400,
      'INVALID_REQUEST',
    ])
  })

  it('leaves its nonce for as long as it could be fresh, and no longer', async () => {
    const count = async () => {
      const [row] = await rows<{ count: number }>(
        service.database.db,
        sql`SELECT count(*)::int AS count FROM request_nonces WHERE key_id = ${key.keyId}`,
      )
      return row?.count ?? 0
    }
    expect((await me()).status).toBe(200)
    const before = await count()
    await forgetNonces(service.database.db, service.clock.now)
    expect(await count()).toBe(before)
    await forgetNonces(service.database.db, service.clock.now + 1_000_000)
    expect(await count()).toBe(0)
  })
})
