import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createClient, privateKeySigner, verifyAudit } from '../../src/client/index.ts'
import { rows } from '../../src/db/database.ts'
import { openGithubReports, rawSignature } from '../../src/leaks/github.ts'
import { answered, changesNothing, refused } from '../support/assertions.ts'
import { unknownSecret } from '../support/secrets.ts'
import { EVERYWHERE, type Service, startService } from '../support/service.ts'
import { issueCredential, unknownCredential } from '../support/service-credentials.ts'
import { createKey, newWallet } from '../support/wallet.ts'

/** The list that GitHub serves, with keys of our own, and what was asked for it. */
async function startKeyList() {
  const keys = new Map<string, KeyObject>()
  let isUp = true
  let requests = 0
  const server = createServer((_, response) => {
    requests++
    if (!isUp) return void response.writeHead(503).end()
    const list = [...keys].map(([id, key]) => ({
      key_identifier: id,
      key: key.export({ type: 'spki', format: 'pem' }),
      is_current: true,
    }))
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ public_keys: list }))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/keys`,
    requests: () => requests,
    setUp: (up: boolean) => {
      isUp = up
    },
    /** Lists a new key. Returns its private half. */
    add(id: string, namedCurve = 'P-256'): KeyObject {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve })
      keys.set(id, publicKey)
      return privateKey
    },
    close: () => new Promise((resolve) => server.close(resolve)),
  }
}

type KeyList = Awaited<ReturnType<typeof startKeyList>>

const signed = (body: string, keyId: string, key: KeyObject) => ({
  'Content-Type': 'application/json',
  'Github-Public-Key-Identifier': keyId,
  'Github-Public-Key-Signature': sign('sha256', Buffer.from(body), key).toString('base64'),
})

describe.each(EVERYWHERE)('A report of a leaked key on %s', (engine) => {
  let list: KeyList
  let github: KeyObject
  let service: Service
  beforeAll(async () => {
    list = await startKeyList()
    github = list.add('current')
    service = await startService(engine, {
      env: { LEAK_REPORTS: 'github', GITHUB_KEYS_URL: list.url },
    })
  }, 180_000)
  afterAll(async () => {
    await service.close()
    await list.close()
  })

  const send = (body: string, headers: Record<string, string>) =>
    service.call('/leaks/github', { method: 'POST', body, headers })
  const report = (token: string, more: object = {}) =>
    JSON.stringify([
      {
        token,
        type: 'latchkey_api_key',
        url: 'https://github.com/o/r/.env',
        source: 'content',
        ...more,
      },
    ])
  const hashOf = (token: string) => createHash('sha256').update(token).digest('hex')
  const me = (apiKey: string) => service.call('/me', { headers: { 'X-API-Key': apiKey } })

  it('revokes the key at once, says so to GitHub without the secret, and to the owner where it was found', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    const body = report(apiKey)
    expect((await me(apiKey)).status).toBe(200)
    const verdicts = await answered(await send(body, signed(body, 'current', github)))
    const verdict = { token_hash: hashOf(apiKey), token_type: 'latchkey_api_key' }
    expect(verdicts).toEqual([{ ...verdict, label: 'true_positive' }])
    await refused(await me(apiKey), 'apiKeyInactive')
    expect(service.logged.join('\n')).not.toContain(apiKey)

    const owner = createClient({
      baseUrl: 'http://127.0.0.1:1',
      fetch: (url, init) =>
        service.call(`/${new URL(String(url)).pathname}${new URL(String(url)).search}`, init),
      signer: privateKeySigner(wallet.privateKey, 'devnet'),
    })
    const audit = await owner.audit.export()
    const last = JSON.parse(audit.events.at(-1)?.body ?? '{}')
    expect(last).toMatchObject({ event: 'delete_api_key', actor: 'key', keyId })
    expect(last.details).toEqual({
      reason: 'leaked',
      url: 'https://github.com/o/r/.env',
      source: 'content',
    })
    expect(verifyAudit(audit)).toMatchObject({ ok: true, faults: [] })

    const again = await answered(await send(body, signed(body, 'current', github)))
    expect(again).toEqual([{ ...verdict, label: 'true_positive' }])
  })

  it('is logged and kept without the secret, also where the address of the find has it', async () => {
    const wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet)
    const body = report(apiKey, { url: `https://github.com/search?q=${apiKey}`, source: apiKey })
    await answered(await send(body, signed(body, 'current', github)))
    await refused(await me(apiKey), 'apiKeyInactive')
    expect(service.logged.join('\n')).not.toContain(apiKey)
    const headers = wallet.signHeaders({ action: 'list_audit' })
    const audit = await (await service.call('/audit', { headers })).text()
    expect(audit).toContain('https://github.com/search?q=ck_live_...')
    expect(audit).not.toContain(apiKey)
  })

  it('revokes a service credential that was found, once, and keeps its secret out of log and audit', async () => {
    const { secret, credentialId } = await issueCredential(service)
    const { apiKey } = await createKey(service, newWallet(service), { permissions: ['read'] })
    const ask = () =>
      service.call('/keys/verify', {
        method: 'POST',
        headers: { 'X-Service-Credential': secret },
        body: JSON.stringify({ apiKey, scope: 'read' }),
      })
    expect((await ask()).status).toBe(200)
    const body = report(secret, { url: `https://github.com/search?q=${secret}` })
    for (const _ of ['found', 'found again']) {
      const [verdict] = await answered<{ label: string }[]>(
        await send(body, signed(body, 'current', github)),
      )
      expect(verdict?.label).toBe('true_positive')
      await refused(await ask(), 'serviceCredentialInvalid')
    }
    const events = await rows<{ body: string }>(
      service.world.db,
      sql`SELECT body FROM audit_events WHERE body LIKE ${`%"${credentialId}"%`} ORDER BY sequence`,
    )
    expect(events.map((one) => JSON.parse(one.body))).toMatchObject([
      { event: 'create_service_credential', actor: 'operator' },
      { event: 'revoke_service_credential', details: { reason: 'leaked' } },
    ])
    expect(JSON.stringify([events, service.logged])).not.toContain(secret)
    const unknown = report(unknownCredential())
    expect(await answered(await send(unknown, signed(unknown, 'current', github)))).toMatchObject([
      { label: 'false_positive' },
    ])
  })

  it('is announced to the owner once, whatever its address has in it', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    const body = report(apiKey, { url: 'https://a.example/\u0000', source: 'a\\u0000' })
    for (const _ of ['found', 'found again'])
      await answered(await send(body, signed(body, 'current', github)))
    await refused(await me(apiKey), 'apiKeyInactive')
    const told = await rows(
      service.world.db,
      sql`SELECT type, key_id AS "keyId", data FROM notices WHERE wallet_address = ${wallet.address}`,
    )
    const data = { reason: 'leaked', url: 'https://a.example/\ufffd', source: 'a\\u0000' }
    expect(told).toEqual([{ type: 'key.leaked', keyId, data }])
  })

  it('tells what never was a secret from what is one, in a report of several', async () => {
    const { apiKey } = await createKey(service, newWallet(service))
    const tokens = ['ck_live_example', unknownSecret(), apiKey, `${apiKey}x`, '']
    const body = JSON.stringify(tokens.map((token) => ({ token, type: 't', added_later: 1 })))
    const verdicts = await answered<{ label: string }[]>(
      await send(body, signed(body, 'current', github)),
    )
    const [no, yes] = ['false_positive', 'true_positive']
    expect(verdicts.map(({ label }) => label)).toEqual([no, no, yes, no, no])
    await refused(await me(apiKey), 'apiKeyInactive')
  })

  it('changes nothing unless a listed key signed these very bytes', async () => {
    const { apiKey } = await createKey(service, newWallet(service))
    const body = report(apiKey)
    const good = signed(body, 'current', github)
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const other = list.add('other curve', 'P-384')
    const with_ = (signature: string) => ({ ...good, 'Github-Public-Key-Signature': signature })
    const { 'Github-Public-Key-Signature': mine } = good
    const bad: [string, Record<string, string>][] = [
      [body, { 'Content-Type': 'application/json' }],
      [body, with_('')],
      [body, with_('bm90IERFUg==')],
      [body, with_('%%%')],
      [body, with_(`${mine}AAAA`)],
      [` ${body}`, good],
      [`${body}\n`, good],
      [report(apiKey, { source: 'commit' }), good],
      [body, signed(body, 'current', stranger)],
      [body, signed(body, 'unlisted', github)],
      [body, signed(body, 'other curve', other)],
      [body, { ...good, 'Github-Public-Key-Identifier': '' }],
    ]
    await changesNothing(service, async () => {
      for (const [text, headers] of bad)
        await refused(await send(text, headers), 'leakReportUnsigned')
    })
    expect((await me(apiKey)).status).toBe(200)
  })

  it('is refused as a body where GitHub signed what is no report', async () => {
    for (const body of ['{}', '[]', 'null', '[{"token":1,"type":"t"}]', '[{"type":"t"}]', 'x'])
      await refused(await send(body, signed(body, 'current', github)), 'invalidRequest')
    await refused(await send('', signed('', 'current', github)), 'bodyMissing')
  })
})

describe('The list of keys that sign reports', () => {
  let list: KeyList
  let now = 0
  beforeAll(async () => {
    list = await startKeyList()
  })
  afterAll(() => list.close())
  afterEach(() => list.setUp(true))

  const open = () =>
    openGithubReports({ url: list.url, fetch, elapsed: () => now, sharesPending: true })
  const bytes = (text: string) => new TextEncoder().encode(text)
  const of = (keyId: string, key: KeyObject) => ({
    body: bytes('[]'),
    keyId,
    signature: sign('sha256', Buffer.from('[]'), key).toString('base64'),
  })

  it('is asked for once by many reports, and by ids that it does not have once a minute', async () => {
    const key = list.add('first')
    const verify = open()
    const before = list.requests()
    const all = await Promise.all(Array.from({ length: 40 }, () => verify(of('first', key))))
    expect(all.every(({ ok }) => ok)).toBe(true)
    expect(list.requests()).toBe(before + 1)
    const second = list.add('second')
    for (let time = 0; time < 20; time++)
      expect(await verify(of('second', second))).toMatchObject({ reason: 'leakReportUnsigned' })
    expect(list.requests()).toBe(before + 1)
    now += 60_001
    expect((await verify(of('second', second))).ok).toBe(true)
    expect(list.requests()).toBe(before + 2)
  })

  it('that cannot be had is 503 for a key that is not known, and goes on for one that is', async () => {
    const key = list.add('kept')
    const verify = open()
    list.setUp(false)
    expect(await verify(of('kept', key))).toMatchObject({ reason: 'unavailable' })
    list.setUp(true)
    expect((await verify(of('kept', key))).ok).toBe(true)
    list.setUp(false)
    now += 3_600_001
    expect((await verify(of('kept', key))).ok).toBe(true)
    expect(await verify(of('not kept', key))).toMatchObject({ reason: 'unavailable' })
  })
})

describe('A signature in DER', () => {
  it("of GitHub's documented sample verifies: its second number has 31 bytes", async () => {
    const keyId = 'bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c'
    const key =
      '-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\nAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==\n-----END PUBLIC KEY-----\n'
    const verify = openGithubReports({
      url: 'https://api.github.invalid',
      fetch: async () =>
        Response.json({ public_keys: [{ key_identifier: keyId, key, is_current: true }] }),
      elapsed: () => 0,
      sharesPending: true,
    })
    const sample =
      '[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]'
    const signature =
      'MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg=='
    expect((await verify({ body: new TextEncoder().encode(sample), keyId, signature })).ok).toBe(
      true,
    )
    const other = new TextEncoder().encode(sample.replace('commit', 'commit '))
    expect((await verify({ body: other, keyId, signature })).ok).toBe(false)
  })

  it('has one form: lengths that lie, needless zeros, negative numbers and trailing bytes are none', () => {
    const der = (...bytes: number[]) => Uint8Array.from([0x30, bytes.length, ...bytes])
    expect(rawSignature(der(2, 1, 1, 2, 1, 2))).toEqual(
      Uint8Array.from({ length: 64 }, (_, at) => (at === 31 ? 1 : at === 63 ? 2 : 0)),
    )
    expect(rawSignature(der(2, 2, 0, 0x80, 2, 1, 2))?.[31]).toBe(0x80)
    for (const bad of [
      undefined,
      new Uint8Array(),
      der(),
      der(2, 1, 1),
      der(2, 1, 1, 2, 0),
      der(2, 1, 1, 2, 2, 2),
      der(2, 1, 0x80, 2, 1, 2),
      der(2, 2, 0, 1, 2, 1, 2),
      der(2, 1, 1, 2, 1, 2, 0),
      der(4, 1, 1, 2, 1, 2),
      Uint8Array.from([0x31, 6, 2, 1, 1, 2, 1, 2]),
      Uint8Array.from([0x30, 7, 2, 1, 1, 2, 1, 2]),
      der(2, 33, ...new Array(33).fill(1), 2, 1, 2),
    ])
      expect(rawSignature(bad), String(bad)).toBeUndefined()
  })
})

describe('A service that takes no reports', () => {
  it('says so, and asks GitHub nothing', async () => {
    const service = await startService('PGlite')
    try {
      const call = service.call('/leaks/github', { method: 'POST', body: '[]' })
      await refused(await call, 'leakReportsOff')
    } finally {
      await service.close()
    }
  })
})
