import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addressOf, publicKeyOf, signMessage } from '../../src/stacks/sign.ts'
import { startService } from '../http/documented.ts'
import { answered, asksNothing, refused } from '../support/assertions.ts'
import type { Service } from '../support/service.ts'
import { json, newWallet, type Wallet } from '../support/wallet.ts'

/** Read through POST /api-keys, whose body can carry any text. */
describe('A signed message', () => {
  let service: Service
  let wallet: Wallet
  let names = 0
  beforeAll(async () => {
    service = await startService('Postgres', { env: { MAX_ACTIVE_KEYS_PER_WALLET: '1000' } })
    wallet = newWallet(service)
  })
  afterAll(() => service.close())

  const members = () => ({
    action: 'create_api_key',
    keyName: `bot ${names++}`,
    permissions: ['execute'],
    timestamp: service.clock.now,
  })
  /** Signs exactly this text. */
  const send = (message: string, extra: object = {}) =>
    service.call(
      '/api-keys',
      json({
        message,
        signature: signMessage({ message, privateKey: wallet.privateKey }),
        walletAddress: wallet.address,
        ...extra,
      }),
    )
  const sendMembers = (changed: object) => send(JSON.stringify({ ...members(), ...changed }))

  it('may be written with any white space, order of members and escapes', async () => {
    const { action, keyName, permissions, timestamp } = members()
    await answered(await send(JSON.stringify(members(), null, 2)), 201)
    await answered(
      await send(JSON.stringify({ timestamp, permissions, keyName, action }).replaceAll(':', ': ')),
      201,
    )
    await answered(
      await send(`\r\n\t ${JSON.stringify(members()).replace('bot', '\\u0062ot')} \n`),
      201,
    )
  })

  it.each([
    ['with a member twice', (text: string) => text.replace('{', '{"keyName":"a",')],
    [
      'with a member twice, once escaped',
      (text: string) => text.replace('{', '{"\\u006beyName":"a",'),
    ],
    ['with an unknown member', (text: string) => text.replace('{', '{"more":1,')],
    ['with a member called __proto__', (text: string) => text.replace('{', '{"__proto__":{},')],
    ['with a member called constructor', (text: string) => text.replace('{', '{"constructor":1,')],
    ['with half of an emoji', (text: string) => text.replace('bot', '\\ud83d')],
    ['with a comment', (text: string) => `${text}// yes`],
    ['with a trailing comma', (text: string) => text.replace('}', ',}')],
    ['with a byte-order mark', (text: string) => `\ufeff${text}`],
    ['that is two texts', (text: string) => text + text],
    ['in a list', (text: string) => `[${text}]`],
    ['in a string', (text: string) => JSON.stringify(text)],
    ['that is empty', () => ''],
    ['that is a number', () => '1'],
    ['that is null', () => 'null'],
    ['that is a bare uuid', () => 'de305d54-75b4-431b-adb2-eb6b9e546014'],
    ['nested 200 deep', () => '['.repeat(200) + ']'.repeat(200)],
    ['without an action', (text: string) => text.replace('"action":"create_api_key",', '')],
    ['without a timestamp', (text: string) => text.replace(/,"timestamp":\d+/, '')],
    [
      'with its time as text',
      (text: string) => text.replace(/"timestamp":(\d+)/, '"timestamp":"$1"'),
    ],
    ['with a time between two milliseconds', (text: string) => text.replace(/(\d)\}/, '$1.5}')],
    [
      'with a time that is no safe integer',
      (text: string) => text.replace(/\d+\}/, '9007199254740993}'),
    ],
    ['with an endless time', (text: string) => text.replace(/\d+\}/, '1e999}')],
    ['with a null domain', (text: string) => text.replace('{', '{"domain":null,')],
  ])('is refused %s, and the refusal shows what to sign', async (_, change) => {
    const message = change(JSON.stringify(members()))
    await asksNothing(service, async () => {
      const { details } = await refused(await send(message), 'invalidRequest')
      expect(details?.expected).toEqual({
        action: 'create_api_key',
        keyName: 'My Trading Bot',
        permissions: ['create', 'execute', 'cancel'],
        timestamp: service.clock.now,
      })
    })
  })

  it('is refused when it ends in half of an emoji', async () => {
    const message = `${JSON.stringify(members())}`
    const body = JSON.stringify({ ...wallet.sign(members()), message }).replace('bot', '\\ud83d')
    await refused(await service.call('/api-keys', { method: 'POST', body }), 'invalidRequest')
  })

  it.each([
    ['letters', ' '],
    ['letters of four bytes', '😀'],
  ])('may have 16,384 bytes of UTF-8 and not one more, in %s', async (_, filler) => {
    const ofBytes = (bytes: number) => {
      const text = JSON.stringify({ ...members(), domain: '' })
      const room = bytes - Buffer.byteLength(text)
      const width = Buffer.byteLength(filler)
      const padding = filler.repeat(Math.floor(room / width)) + ' '.repeat(room % width)
      return filler === ' ' ? padding + text : text.replace('""', `"${padding}"`)
    }
    const fits = ofBytes(16_384)
    expect(Buffer.byteLength(fits)).toBe(16_384)
    // The domain is not the service's: what is refused is the signature, after the size.
    await refused(await send(fits), 'signatureInvalid')
    const { details } = await refused(await send(ofBytes(16_385)), 'invalidRequest')
    expect(details?.problem).toBe('message is longer than 16384 bytes')
  })

  it('may be exactly 300 s old and exactly 60 s ahead', async () => {
    const { now } = service.clock
    await answered(await sendMembers({ timestamp: now - 300_000 }), 201)
    await answered(await sendMembers({ timestamp: now + 60_000 }), 201)
    await refused(await sendMembers({ timestamp: now - 300_001 }), 'timestampExpired')
    await refused(await sendMembers({ timestamp: now + 60_001 }), 'timestampExpired')
    await refused(await sendMembers({ timestamp: 0 }), 'timestampExpired')
    await refused(await sendMembers({ timestamp: -now }), 'timestampExpired')
    await refused(await sendMembers({ timestamp: Number.MAX_SAFE_INTEGER }), 'timestampExpired')
  })

  it('may name the service, the network and the wallet', async () => {
    await answered(await sendMembers({ network: 'devnet', walletAddress: wallet.address }), 201)
    for (const changed of [{ network: 'testnet' }, { network: '' }, { domain: '' }])
      await refused(await sendMembers(changed), 'signatureInvalid')
  })

  it('may come with the key that signed, in either form, and with no other', async () => {
    const compressed = publicKeyOf(wallet.privateKey)
    const uncompressed = publicKeyOf(wallet.privateKey.slice(0, 64))
    for (const publicKey of [compressed, `0x${compressed.toUpperCase()}`, uncompressed])
      await answered(await send(JSON.stringify(members()), { publicKey }), 201)
    const stranger = publicKeyOf(newWallet(service).privateKey)
    for (const [publicKey, reason] of [
      [stranger, 'public_key_mismatch'],
      ['', 'malformed_public_key'],
      ['02', 'malformed_public_key'],
      [`05${compressed.slice(2)}`, 'malformed_public_key'],
    ]) {
      const { details } = await refused(
        await send(JSON.stringify(members()), { publicKey }),
        'signatureInvalid',
      )
      expect(details).toEqual({ reason })
    }
  })

  it('may come with that key in a header too', async () => {
    const get = (publicKey: string) =>
      service.call('/api-keys', {
        headers: { ...wallet.signHeaders({ action: 'list_api_keys' }), 'X-Public-Key': publicKey },
      })
    await answered(await get(publicKeyOf(wallet.privateKey)))
    const { details } = await refused(
      await get(publicKeyOf(newWallet(service).privateKey)),
      'signatureInvalid',
    )
    expect(details).toEqual({ reason: 'public_key_mismatch' })
  })

  it('may be signed in RSV or VRS, with or without 0x, in any case', async () => {
    for (const write of [
      (rsv: string) => rsv,
      (rsv: string) => `0x${rsv}`,
      (rsv: string) => rsv.toUpperCase(),
      (rsv: string) => rsv.slice(-2) + rsv.slice(0, -2),
      (rsv: string) => `0x${rsv.slice(-2)}${rsv.slice(0, -2)}`,
    ]) {
      const proof = wallet.sign(members())
      const signature = write(proof.signature)
      await answered(await service.call('/api-keys', json({ ...proof, signature })), 201)
    }
  })

  it('may be signed by the uncompressed key of an old wallet', async () => {
    const privateKey = randomBytes(32).toString('hex')
    const message = JSON.stringify(members())
    const body = {
      message,
      signature: signMessage({ message, privateKey }),
      walletAddress: addressOf(privateKey, 'devnet'),
    }
    await answered(await service.call('/api-keys', json(body)), 201)
  })

  it.each([
    ['in lower case', (address: string) => address.toLowerCase(), 'invalid_address'],
    [
      'with an alias of a digit',
      (address: string) => address.replaceAll('0', 'O').replaceAll('1', 'L'),
      'invalid_address',
    ],
    ['with a space', (address: string) => `${address} `, 'invalid_address'],
    ['cut short', (address: string) => address.slice(0, -1), 'invalid_address'],
    ['of a contract', (address: string) => `${address}.token`, 'not_a_wallet'],
    ['that is empty', () => '', 'invalid_address'],
    ['of mainnet', () => addressOf(`${'7'.repeat(64)}01`, 'mainnet'), 'wrong_network'],
  ])('is refused from an address %s', async (_, change, reason) => {
    let walletAddress = change(wallet.address)
    while (walletAddress === wallet.address) {
      wallet = newWallet(service)
      walletAddress = change(wallet.address)
    }
    const { details } = await refused(
      await send(JSON.stringify(members()), { walletAddress }),
      'signatureInvalid',
    )
    expect(details).toEqual({ reason })
  })
})

describe('A service that wants its domain signed', () => {
  it('refuses messages without it, tells it to the caller, and names it in /info', async () => {
    const service = await startService('Postgres', {
      env: { SIGNED_DOMAIN: 'dex.example', REQUIRE_SIGNED_DOMAIN: 'true' },
    })
    const wallet = newWallet(service)
    const list = (members: object) =>
      service.call('/api-keys', {
        headers: wallet.signHeaders({ action: 'list_api_keys', ...members }),
      })
    await answered(await list({ domain: 'dex.example' }))
    const { details } = await refused(await list({}), 'signatureInvalid')
    expect(details).toMatchObject({ reason: 'missing_domain', expected: 'dex.example' })
    for (const members of [{ domain: 'dex.example.evil.example' }, { domain: 'DEX.example' }]) {
      const { details } = await refused(await list(members), 'signatureInvalid')
      expect(details).toEqual({ reason: 'wrong_domain', expected: 'dex.example' })
    }
    expect(await answered(await service.call('/info'))).toMatchObject({
      signedDomain: 'dex.example',
    })
    await service.close()
  })
})
