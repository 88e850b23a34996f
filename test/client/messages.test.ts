import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { MAX_MESSAGE_BYTES } from '../../src/actions/action.ts'
import { orderHash, privateKeySigner } from '../../src/client/index.ts'
import { MAX_BODY_BYTES } from '../../src/http/body.ts'
import { verifyIntent } from '../../src/stacks/intent.ts'
import { verifyMessage } from '../../src/stacks/signature.ts'
import { mostOfEverything } from '../support/most.ts'
import { API_KEY, DRAFT, info, NOON, PRIVATE_KEY, ROUTER, scripted, signer } from './scripted.ts'

const owner = signer.address
const stranger = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM'
const HEAD = { sequence: 2_147_483_647, hash: 'f'.repeat(64) }
const order = { status: 201, body: { data: {} } }

describe('A message that changes something', () => {
  it('names what it does, when, where, and who signs it', async () => {
    const { client, sent } = scripted([{ status: 201, body: {} }], { signer })
    const expiresAt = new Date(NOON + 86_400_000)
    await client.keys.create({ name: 'Café 🤖', permissions: ['execute'], expiresAt })
    const { message, ...proof } = sent[0]?.body ?? {}
    expect(JSON.parse(message)).toEqual({
      action: 'create_api_key',
      keyName: 'Café 🤖',
      permissions: ['execute'],
      expiresAt: '2026-11-22T12:00:00.000Z',
      timestamp: NOON,
      network: 'devnet',
      walletAddress: owner,
    })
    expect(verifyMessage({ message, ...proof, network: 'devnet' })).toMatchObject({ ok: true })
    expect(sent[0]?.headers['x-message']).toBeUndefined()
  })

  it.each([
    Number.NaN,
    Number.POSITIVE_INFINITY,
  ])('is not signed with a limit of %s, which JSON would write as null: that lifts it', async (rateLimit) => {
    const { client, sent } = scripted([], { signer })
    const invalid = { code: 'INVALID_ARGUMENT' }
    await expect(client.keys.update('key_1', { rateLimit })).rejects.toMatchObject(invalid)
    const key = { name: 'a', permissions: [], rateLimit }
    await expect(client.keys.create(key)).rejects.toMatchObject(invalid)
    expect(sent).toEqual([])
  })

  it('names the domain of a service that has one: the host that it is sent to', async () => {
    const said = { ...info, signedDomain: 'dex.example' }
    const { client, sent } = scripted([{ body: {} }], { signer, info: said })
    await client.keys.delete('key_1')
    expect(JSON.parse(sent[0]?.body.message)).toMatchObject({
      action: 'delete_api_key',
      keyId: 'key_1',
      domain: 'dex.example',
    })
  })

  it.each([
    'execute',
    'cancel',
  ] as const)('authenticates %s where there is no key', async (verb) => {
    const { client, sent } = scripted([{ body: { data: {} } }], { signer })
    await client.orders[verb]('uuid-1')
    expect(JSON.parse(sent[0]?.body.message)).toMatchObject({
      action: `${verb}_order`,
      uuid: 'uuid-1',
    })
  })

  it('is not signed where there is a key, unless it is asked for', async () => {
    const answer = { body: { data: {} } }
    const { client, sent } = scripted([answer, answer], { signer, apiKey: API_KEY })
    await client.orders.execute('uuid-1')
    await client.orders.execute('uuid-1', { auth: 'signature' })
    expect(sent.map(({ body, headers }) => [headers['x-api-key'], body?.walletAddress])).toEqual([
      [API_KEY, undefined],
      [undefined, owner],
    ])
  })
})

describe('A message', () => {
  it('is ASCII in a header, whatever it says', async () => {
    const said = { ...info, signedDomain: 'dëx.example 🗝' }
    const { client, sent } = scripted([{ body: { apiKeys: [] } }], {
      signer,
      info: said,
      domain: 'dëx.example 🗝',
    })
    await client.keys.list()
    const headers = sent[0]?.headers ?? {}
    const message = headers['x-message'] ?? ''
    expect(message).toMatch(/^[\x20-\x7e]+$/)
    expect(JSON.parse(message).domain).toBe('dëx.example 🗝')
    expect(
      verifyMessage({
        message,
        signature: headers['x-signature'] ?? '',
        walletAddress: headers['x-wallet-address'] ?? '',
        publicKey: headers['x-public-key'],
        network: 'devnet',
      }),
    ).toMatchObject({ ok: true })
  })

  it('is ASCII in a body, so that the screen of a hardware wallet can show it', async () => {
    const { client, sent } = scripted([{ body: {} }], { signer })
    await client.keys.create({ name: 'café 🚀', permissions: [], label: 'Größe →' })
    const { message, signature, walletAddress } = sent[0]?.body ?? {}
    expect(message).toMatch(/^[\x20-\x7e]+$/)
    expect(JSON.parse(message)).toMatchObject({ keyName: 'café 🚀', label: 'Größe →' })
    expect(verifyMessage({ message, signature, walletAddress, network: 'devnet' }).ok).toBe(true)
  })

  it('has texts in normalization form C, however they were written', async () => {
    const { client, sent } = scripted([{ body: {} }, { body: {} }], { signer })
    await client.keys.create({ name: 'cafe\u0301', permissions: [], label: 'A\u030a' })
    await client.keys.update('key_1', { name: 'cafe\u0301', justification: 'A\u030a', label: null })
    const [created, updated] = sent.map(({ body }) => JSON.parse(body.message))
    expect(created).toMatchObject({ keyName: 'caf\u00e9', label: '\u00c5' })
    expect(updated).toMatchObject({ keyName: 'caf\u00e9', justification: '\u00c5', label: null })
  })

  it('has room for the most of everything that a grant may set, and for a head', async () => {
    const scopes = Array.from({ length: 31 }, (_, at) => `${'s'.repeat(30)}${at + 10}`)
    const permissions = [...scopes, 'create']
    const { client, sent } = scripted([{ body: { auditHead: HEAD } }, { body: {} }], {
      signer,
      info: { ...info, scopes: permissions },
    })
    await client.keys.delete('key_1')
    const { keyName: name, expiresAt: end, ...limits } = mostOfEverything(owner, NOON)
    const expiresAt = new Date(end).toISOString()
    await client.keys.create({ name, permissions, expiresAt, ...limits })
    const { body } = sent[1] ?? {}
    expect(JSON.parse(body.message)).toMatchObject({ keyName: name, ...limits, auditHead: HEAD })
    expect(body.message.length).toBeGreaterThan(12_000)
    expect(body.message.length).toBeLessThan(MAX_MESSAGE_BYTES - 512)
    expect(JSON.stringify(body).length).toBeLessThan(MAX_BODY_BYTES)
  })

  it('names no head where it would be too long with one', async () => {
    const messageOf = async (length: number) => {
      const domain = 'd'.repeat(length)
      const said = { ...info, signedDomain: domain }
      const script = [{ body: { auditHead: HEAD } }, { body: {} }]
      const { client, sent } = scripted(script, { signer, domain, info: said })
      await client.keys.suspend('key_1').catch(() => {})
      await client.keys.delete('key_1')
      return sent[1]?.body.message as string
    }
    const room = MAX_MESSAGE_BYTES - (await messageOf(1)).length + 1
    expect(JSON.parse(await messageOf(room))).toMatchObject({ auditHead: HEAD })
    expect(await messageOf(room)).toHaveLength(MAX_MESSAGE_BYTES)
    expect(JSON.parse(await messageOf(room + 1))).not.toHaveProperty('auditHead')
  })

  it('carries everything that reads a key: no body, nothing in the URL', async () => {
    const { client, sent } = scripted([{ body: { apiKey: {} } }], { signer })
    await client.keys.get('key_1')
    expect(sent[0]).toMatchObject({ method: 'GET', body: undefined })
    expect(sent[0]?.url.href).toBe('https://dex.example/api/v1/api-keys/key_1')
  })
})

describe('An order', () => {
  it('carries the intent that its owner signed, for the router that the service names', async () => {
    const { client, sent } = scripted([order], { signer })
    await client.orders.create(DRAFT)
    const { body } = sent[0] ?? {}
    expect(body).toMatchObject({ ...DRAFT, owner })
    expect(verifyIntent({ ...body, router: ROUTER, network: 'devnet' })).toMatchObject({ ok: true })
    expect(Object.keys(body)).not.toContain('message')
  })

  it('gets a uuid of its own when it has none', async () => {
    const { client, sent } = scripted([order], { signer })
    const { uuid: _, ...draft } = DRAFT
    await client.orders.create(draft)
    expect(sent[0]?.body.uuid).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  })

  it('is sent as it is when it is signed already', async () => {
    const { client, sent } = scripted([order])
    const signed = { ...DRAFT, owner, signature: '00'.repeat(65) }
    await client.orders.create(signed)
    expect(sent[0]?.body).toEqual(signed)
  })

  it('is not signed for another owner', async () => {
    const { client, sent } = scripted([], { signer })
    const creating = client.orders.create({ ...DRAFT, owner: stranger })
    await expect(creating).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(sent).toEqual([])
  })

  it.each([
    [{ inputToken: '.stx' }, 'stx_cannot_be_signed'],
    [{ inputToken: 'SP2D6RRAAZWG1N34S9QPADXN56HP4STX2H8BSQKK3.mainnet' }, 'invalid_input_token'],
    [{ amountIn: '1.5' }, 'invalid_amount'],
    [{ uuid: 'one two' }, 'invalid_uuid'],
  ])('is not signed when no chain would take it: %j', async (change, reason) => {
    const { client, sent } = scripted([], { signer })
    const creating = client.orders.create({ ...DRAFT, ...change })
    await expect(creating).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', details: { reason } })
    expect(sent).toEqual([])
  })

  it('names another recipient only together with the word of its owner', async () => {
    const { client, sent } = scripted([order], { signer })
    await client.orders.create({ ...DRAFT, recipient: stranger })
    const { message, messageSignature, signature, ...terms } = sent[0]?.body ?? {}
    const canonical = JSON.stringify(terms, Object.keys(terms).sort())
    expect(JSON.parse(message)).toMatchObject({
      action: 'create_order',
      orderHash: createHash('sha256').update(canonical).digest('hex'),
      timestamp: NOON,
    })
    const proof = { message, signature: messageSignature, walletAddress: owner }
    expect(verifyMessage({ ...proof, network: 'devnet' })).toMatchObject({ ok: true })
    expect(signature).not.toBe(messageSignature)
  })

  it('goes with the key when there is one, and without it when that is asked for', async () => {
    const { client, sent } = scripted([order, order], { signer, apiKey: API_KEY })
    await client.orders.create(DRAFT)
    await client.orders.create(DRAFT, { auth: 'signature' })
    expect(sent.map(({ headers }) => headers['x-api-key'])).toEqual([API_KEY, undefined])
  })
})

describe('A list of orders', () => {
  it('is walked through to its end', async () => {
    const script = [
      { body: { data: [{ uuid: 'c' }, { uuid: 'b' }], nextCursor: 'next & more' } },
      { body: { data: [{ uuid: 'a' }] } },
    ]
    const { client, sent } = scripted(script, { apiKey: API_KEY })
    const uuids: unknown[] = []
    for await (const { uuid } of client.orders.listAll({ owner, status: 'open', limit: 2 }))
      uuids.push(uuid)
    expect(uuids).toEqual(['c', 'b', 'a'])
    expect(sent.map(({ url }) => Object.fromEntries(url.searchParams))).toEqual([
      { owner, status: 'open', limit: '2' },
      { owner, status: 'open', limit: '2', cursor: 'next & more' },
    ])
    expect(sent[0]?.headers['x-api-key']).toBe(API_KEY)
  })

  it('is signed for when that is asked for, and needs nothing otherwise', async () => {
    const page = { body: { data: [] } }
    const { client, sent } = scripted([page, page], { signer })
    await client.orders.list()
    await client.orders.list({}, { auth: 'signature' })
    expect(sent[0]?.headers['x-message']).toBeUndefined()
    expect(JSON.parse(sent[1]?.headers['x-message'] ?? '').action).toBe('list_orders')
  })
})

describe('A client without a signer', () => {
  it.each([
    ['keys', scripted([]).client.keys.list],
    ['orders', scripted([]).client.orders.create.bind(null, DRAFT)],
    [
      'a call that a key or a wallet authenticates',
      scripted([]).client.orders.cancel.bind(null, 'uuid-1'),
    ],
    [
      'a signature',
      scripted([], { apiKey: API_KEY }).client.orders.list.bind(null, {}, { auth: 'signature' }),
    ],
  ])('says what it needs for %s', async (_, call) => {
    await expect(call()).rejects.toMatchObject({ code: 'SIGNER_MISSING' })
  })
})

describe('The hash of an order', () => {
  // SHA-256, by another program, of {"amountIn":"1","inputToken":"ST1.a","outputToken":".stx","owner":"ST1","uuid":"é"}
  it('equals a known one, however the order is written', () => {
    const terms = {
      uuid: 'é',
      owner: 'ST1',
      inputToken: 'ST1.a',
      outputToken: '.stx',
      amountIn: '1',
    }
    const known = 'b4ddc1b814656d94ffe16e8ed0effc9d810d34d662be86f97fe795eccf278349'
    expect(orderHash({ ...terms, signature: 's' })).toBe(known)
    expect(orderHash({ signature: 't', message: 'm', messageSignature: 'n', ...terms })).toBe(known)
  })
})

describe('A signer of a private key', () => {
  it('signs for its own network and no other', async () => {
    const mainnet = privateKeySigner(PRIVATE_KEY, 'mainnet')
    const { client, sent } = scripted([], { signer: mainnet })
    await expect(client.keys.list()).rejects.toMatchObject({ code: 'WRONG_NETWORK' })
    await expect(mainnet.signMessage('{}', 'devnet')).rejects.toMatchObject({
      code: 'WRONG_NETWORK',
    })
    expect(sent).toEqual([])
  })

  it.each([
    PRIVATE_KEY.slice(0, 64),
    'abc',
    '',
    `${PRIVATE_KEY}00`,
  ])('is refused, and not quoted, for a key that is none: %#', (key) => {
    const make = () => privateKeySigner(key, 'devnet')
    expect(make).toThrow(/private key/i)
    if (key.length > 3) expect(make).not.toThrow(new RegExp(key))
  })
})
