import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { nameSkeleton, textFault } from '../../src/keys/text.ts'
import { startService } from '../http/documented.ts'
import { answered, changesNothing, refused } from '../support/assertions.ts'
import { writeMacs } from '../support/remac.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

/** What is not seen, and the name that a refusal gives it. */
const UNSEEN: [string, string][] = [
  ['\u0007', 'control character U+0007'],
  ['\u0085', 'control character U+0085'],
  ['\u00ad', 'invisible character U+00AD'],
  ['\u034f', 'invisible character U+034F'],
  ['\u061c', 'invisible character U+061C'],
  ['\u115f', 'invisible character U+115F'],
  ['\u17b5', 'invisible character U+17B5'],
  ['\u180e', 'invisible character U+180E'],
  ['\u200b', 'invisible character U+200B'],
  ['\u200d', 'invisible character U+200D'],
  ['\u200f', 'invisible character U+200F'],
  ['\u2028', 'invisible character U+2028'],
  ['\u202e', 'invisible character U+202E'],
  ['\u2060', 'invisible character U+2060'],
  ['\u2800', 'invisible character U+2800'],
  ['\u3164', 'invisible character U+3164'],
  ['\ufe0f', 'invisible character U+FE0F'],
  ['\ufeff', 'invisible character U+FEFF'],
  ['\uffa0', 'invisible character U+FFA0'],
  ['\ufffc', 'invisible character U+FFFC'],
  ['\uffff', 'invisible character U+FFFF'],
  ['\ue000', 'invisible character U+E000'],
  ['\u{1d159}', 'invisible character U+1D159'],
  ['\u{e0041}', 'invisible character U+E0041'],
  ['\u{e01ef}', 'invisible character U+E01EF'],
]

describe('A text', () => {
  const fault = (text: string) => textFault(text, { maxCharacters: 64, isTrimmed: true })

  it.each(UNSEEN)('with %j is refused by name', (character, named) => {
    for (const text of [`treas${character}ury`, character])
      expect(fault(text)).toBe(`must not have the ${named}`)
  })

  it('with half of a surrogate pair is refused by name', () => {
    expect(fault('bot \ud83d')).toBe('must not have U+D83D, half of a surrogate pair')
    expect(fault('\udc00')).toBe('must not have U+DC00, half of a surrogate pair')
  })

  it('has one form', () => {
    expect(fault('cafe\u0301')).toMatch(/NFC/)
    expect(fault('\u212b')).toMatch(/NFC/)
    expect(fault('café Å')).toBeUndefined()
    expect(fault('\u0301')).toMatch(/seen/)
  })

  it.each([
    '👩‍🚀',
    '❤️',
    '❤️‍🔥',
    '🤷🏽‍♀️',
    '1️⃣',
    '🇨🇭',
    '機械人',
    'Größe n° 1 — “x”',
    'เครื่อง',
    'ключ',
  ])('may be %s', (text) => {
    expect(fault(text)).toBeUndefined()
  })
})

describe('Names that look the same', () => {
  it.each([
    ['treasury-bot', 'treasury-bot\u200b'],
    ['treasury-bot', 'treas\u200dury-bot'],
    ['treasury-bot', '\u{e0041}treasury-bot\u3164'],
    ['treasury bot', 'treasury\u00a0bot'],
    ['treasury bot', 'treasury  bot'],
    ['treasury bot', 'treasury\u2003bot'],
    ['bot', 'ｂｏｔ'],
    ['ﬁnance', 'finance'],
    ['❤', '❤️'],
    ['café', 'cafe\u0301'],
  ])('have one skeleton: %j and %j', (one, other) => {
    expect(nameSkeleton(one)).toBe(nameSkeleton(other))
  })

  it.each([
    ['bot', 'Bot'],
    ['bot 1', 'bot1'],
    ['bot-1', 'bot_1'],
    ['café', 'cafe'],
  ])('are not these: %j and %j', (one, other) => {
    expect(nameSkeleton(one)).not.toBe(nameSkeleton(other))
  })
})

describe.each(ENGINES)('Names of keys on %s', (engine) => {
  let service: Service
  let wallet: Wallet
  beforeAll(async () => {
    service = await startService(engine)
  })
  afterAll(() => service.close())

  const create = (keyName: string, more: object = {}) =>
    service.call(
      '/api-keys',
      json(wallet.sign({ action: 'create_api_key', keyName, permissions: [], ...more })),
    )
  const update = (keyId: string, members: object) =>
    service.call(`/api-keys/${keyId}`, {
      ...json(wallet.sign({ action: 'update_api_key', keyId, ...members })),
      method: 'PATCH',
    })

  it('are refused with the character that is not seen, in notes too', async () => {
    wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet)
    await changesNothing(service, async () => {
      for (const [path, response] of [
        ['keyName', await create('treas\u200dury-bot')],
        ['label', await create('treasury-bot', { label: '\u3164' })],
        ['justification', await update(keyId, { justification: 'a\u{e0041}' })],
        ['keyName', await update(keyId, { keyName: 'cafe\u0301' })],
      ] as const) {
        const { details } = await refused(response, 'invalidRequest')
        expect(details?.issues).toEqual([
          { path, message: expect.stringMatching(/U\+200D|U\+3164|U\+E0041|NFC/) },
        ])
      }
    })
  })

  it('collide where they look the same, whatever an earlier release took', async () => {
    wallet = newWallet(service)
    const { keyId, apiKey } = await createKey(service, wallet, { keyName: 'treasury bot' })
    const { keyId: otherId } = await createKey(service, wallet, { keyName: 'other' })
    await refused(await create('ｔreasury bot'), 'keyNameTaken')
    await refused(await create('treasury\u00a0bot'), 'keyNameTaken')
    await refused(await update(otherId, { keyName: 'treasury  bot' }), 'keyNameTaken')
    await answered(await update(keyId, { keyName: 'treasury\u00a0bot' }))
    const hidden = 'other\u200b'
    await rows(service.world.db, sql`UPDATE api_keys SET name = ${hidden} WHERE id = ${otherId}`)
    await refused(await create('other'), 'keyNameTaken')
    await answered(await service.call('/me', { headers: { 'X-API-Key': apiKey } }))
  })

  it('of an earlier release stay, and their keys can be changed', async () => {
    wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet, { keyName: 'x' })
    const { db, mac } = service.world
    await rows(db, sql`UPDATE api_keys SET name = ${'x\u200b'} WHERE id = ${keyId}`)
    await writeMacs(db, mac, sql`id = ${keyId}`)
    const { apiKey } = await answered<{ apiKey: { name: string; label: string } }>(
      await update(keyId, { label: 'noted' }),
    )
    expect(apiKey).toMatchObject({ name: 'x\u200b', label: 'noted' })
    await answered(await update(keyId, { keyName: 'x' }))
  })
})
