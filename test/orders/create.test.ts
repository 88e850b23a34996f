import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FAR_TOKEN, INPUT_TOKEN, OUTPUT_TOKEN, ROUTER } from '../../src/devnet/constants.ts'
import type { NewOrder, Order } from '../../src/orders/order.ts'
import { orderHash } from '../../src/orders/validate.ts'
import { addressOf, signIntent, signMessage } from '../../src/stacks/sign.ts'
import { startService } from '../http/documented.ts'
import { toHighS } from '../stacks/wallets.ts'
import { answered, asksNothing, changesNothing, refused, stored } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

const MAX_U128 = 340282366920938463463374607431768211455n
const MULTISIG = 'SN2QE43MMXFDMAT3TPRGQ38BQ50VSRMBRQ6B16W5J'

describe.each(ENGINES)('Creating an order on %s', (engine) => {
  let service: Service
  let wallet: Wallet
  beforeAll(async () => {
    service = await startService(engine)
    wallet = newWallet(service)
  })
  afterAll(() => service.close())

  const send = (order: object, headers: Record<string, string> = {}) =>
    service.call('/orders/new', json(order, headers))
  /** A valid order with members changed after it was signed. */
  const changed = (members: object) => send({ ...wallet.order(), ...members })
  const condition = { targetPrice: '1.5', direction: 'gt', conditionToken: OUTPUT_TOKEN } as const

  it('answers what was sent, less the signature', async () => {
    const order = wallet.order({
      ...condition,
      baseAsset: INPUT_TOKEN,
      recipient: wallet.address,
      validFrom: '2026-01-15T10:00:00Z',
      validTo: '2100-01-16T12:00:00+02:00',
    })
    const { signature, ...terms } = order
    const { data } = await answered<{ data: Order }>(await send(order), 201)
    expect(data).toEqual({
      ...terms,
      validFrom: '2026-01-15T10:00:00.000Z',
      validTo: '2100-01-16T10:00:00.000Z',
      status: 'open',
      createdAt: new Date(service.clock.now).toISOString(),
    })
    const kept = (await stored(service)).join('\n')
    expect(kept).toContain(order.uuid)
    expect(kept).not.toContain(signature.slice(0, 64))
    const shown = await answered<{ data: Order }>(await service.call(`/orders/${order.uuid}`))
    expect(shown.data).toEqual(data)
  })

  it.each([
    ['1'],
    ['9'.repeat(38)],
    [String(MAX_U128)],
  ])('takes an amount of %s', async (amountIn) => {
    const { data } = await answered<{ data: Order }>(await send(wallet.order({ amountIn })), 201)
    expect(data.amountIn).toBe(amountIn)
  })

  it.each([
    '0',
    '-1',
    '+1',
    '00',
    '01',
    '1e3',
    '1.0',
    '1.5',
    '0x10',
    '1_000',
    '1,000',
    ' 1',
    '1 ',
    '',
    '１',
    String(MAX_U128 + 1n),
    '9'.repeat(39),
    '9'.repeat(40),
    '1'.repeat(5_000),
    'NaN',
    'Infinity',
    '1n',
    1,
    1e21,
    null,
    true,
    ['1'],
    {},
  ])('refuses an amount of %j', async (amountIn) => {
    await asksNothing(service, async () => {
      const { details } = await refused(await changed({ amountIn }), 'invalidRequest')
      expect(details?.issues).toMatchObject([{ path: 'amountIn' }])
    })
  })

  it.each([
    '',
    'a'.repeat(37),
    'a b',
    'a.b',
    'a/b',
    'ä',
    'a\u0000',
    '$a',
    "a'",
    '..',
    '٣',
    1,
    null,
  ])('refuses the uuid %j', async (uuid) => {
    await asksNothing(service, async () => {
      const { details } = await refused(await changed({ uuid }), 'invalidRequest')
      expect(details?.issues).toMatchObject([{ path: 'uuid' }])
    })
  })

  it.each([
    'a',
    'A',
    '-',
    '_',
    '0',
    'null',
    'NULL',
    '__proto__',
    'new',
    'x'.repeat(36),
  ])('takes the uuid %s, and finds it again', async (uuid) => {
    const { apiKey } = await createKey(service, newWallet(service))
    await answered(await send(wallet.order({ uuid })), 201)
    const { data } = await answered<{ data: Order }>(await service.call(`/orders/${uuid}`))
    expect(data.uuid).toBe(uuid)
    const headers = { 'X-API-Key': apiKey }
    // A stranger's key finds it too, and is told whose it is.
    for (const [method, verb] of [
      ['POST', 'execute'],
      ['PATCH', 'cancel'],
    ] as const)
      await refused(
        await service.call(`/orders/${uuid}/${verb}`, { method, headers }),
        'keyOfAnotherWallet',
      )
  })

  it.each([
    [{ targetPrice: '1.5' }],
    [{ direction: 'gt' }],
    [{ conditionToken: '*' }],
    [{ targetPrice: '1.5', direction: 'gt' }],
    [{ targetPrice: '1.5', conditionToken: '*' }],
    [{ direction: 'lt', conditionToken: '*' }],
    [{ baseAsset: 'USD' }],
    [{ ...condition, direction: 'eq' }],
    [{ ...condition, direction: 'GT' }],
    [{ ...condition, direction: null }],
    [{ ...condition, conditionToken: 'price-oracle' }],
    [{ ...condition, conditionToken: '**' }],
    [{ ...condition, targetPrice: '0', direction: 'lt' }],
    [{ ...condition, targetPrice: '0.000', direction: 'lt' }],
    [{ ...condition, targetPrice: '-1' }],
    [{ ...condition, targetPrice: '1e3' }],
    [{ ...condition, targetPrice: '.5' }],
    [{ ...condition, targetPrice: '1.' }],
    [{ ...condition, targetPrice: '01' }],
    [{ ...condition, targetPrice: `1.${'1'.repeat(19)}` }],
    [{ ...condition, targetPrice: 1.5 }],
    [{ ...condition, baseAsset: 'U SD' }],
    [{ ...condition, baseAsset: '€' }],
    [{ ...condition, baseAsset: 'USD' }],
    [{ ...condition, conditionToken: '.stx' }],
    [{ ...condition, conditionToken: FAR_TOKEN }],
  ])('refuses the condition %j', async (members) => {
    await asksNothing(service, async () => refused(await changed(members), 'invalidRequest'))
  })

  it.each([
    [condition],
    [{ ...condition, conditionToken: '*' }],
    [{ ...condition, baseAsset: INPUT_TOKEN }],
    [{ ...condition, targetPrice: `0.${'0'.repeat(17)}1` }],
  ])('takes the condition %j', async (members) => {
    const { data } = await answered<{ data: Order }>(await send(wallet.order(members)), 201)
    expect(data).toMatchObject(members)
  })

  const later = '2099-06-01T00:00:00Z'
  it.each([
    [{ validFrom: later, validTo: '2099-05-31T23:59:59Z' }],
    [{ validFrom: later, validTo: later }],
    [{ validFrom: later, validTo: '2099-06-01T02:00:00+02:00' }],
    [{ validTo: '2099-06-01' }],
    [{ validTo: '2099-06-01T00:00:00' }],
    [{ validTo: '2099-02-29T00:00:00Z' }],
    [{ validTo: '2099-13-01T00:00:00Z' }],
    [{ validTo: '0000-01-01T00:00:00Z' }],
    [{ validTo: '0001-01-01T00:00:00+10:00' }],
    [{ validTo: '9999-12-31T23:59:59-10:00' }],
    [{ validTo: '+275760-09-13T00:00:00Z' }],
    [{ validFrom: 'now' }],
    [{ validFrom: 0 }],
    [{ validFrom: null }],
    [{ validFrom: '' }],
  ])('refuses the validity %j', async (members) => {
    await asksNothing(service, async () => refused(await changed(members), 'invalidRequest'))
  })

  it('takes an order whose time is over, as expired, and one whose time is to come', async () => {
    const over = wallet.order({
      validFrom: '2024-01-15T10:00:00Z',
      validTo: '2024-01-16T10:00:00Z',
    })
    const past = await answered<{ data: Order }>(await send(over), 201)
    expect(past.data.status).toBe('expired')
    const toCome = wallet.order({ validFrom: later })
    const future = await answered<{ data: Order }>(await send(toCome), 201)
    expect(future.data.status).toBe('open')
    await answered(await send(wallet.order({ validTo: '0001-01-01T00:00:00Z' })), 201)
    await answered(await send(wallet.order({ validTo: '9999-12-31T23:59:59Z' })), 201)
  })

  it.each([
    ['owner', MULTISIG],
    ['owner', 'SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7'],
    ['owner', INPUT_TOKEN],
    ['owner', ''],
    ['owner', 'x'.repeat(97)],
    ['owner', 'ST1ÄÖÜ'],
    ['inputToken', 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM'],
    ['inputToken', 'SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7.token'],
    ['inputToken', `${INPUT_TOKEN} `],
    ['inputToken', `${INPUT_TOKEN}.x`],
    ['inputToken', `${INPUT_TOKEN}\u0000`],
    ['inputToken', 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.größe'],
    ['inputToken', 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.1token'],
    ['inputToken', `ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.${'t'.repeat(41)}`],
    ['outputToken', 'stx'],
    ['outputToken', ''],
    ['outputToken', null],
    ['recipient', 'me'],
    ['recipient', 'SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7'],
    ['recipient', OUTPUT_TOKEN],
    ['recipient', null],
    ['outputToken', '.stx'],
  ])('refuses %s %j', async (field, value) => {
    await asksNothing(service, async () => {
      const { details } = await refused(await changed({ [field]: value }), 'invalidRequest')
      expect(details?.issues).toMatchObject([{ path: field }])
    })
  })

  it('refuses an order that pays with STX, which no intent can sign away', async () => {
    const { details } = await refused(await changed({ inputToken: '.stx' }), 'signatureInvalid')
    expect(details).toEqual({ reason: 'stx_cannot_be_signed', field: 'signature' })
  })

  it.each([
    'owner',
    'inputToken',
    'outputToken',
    'amountIn',
    'signature',
    'uuid',
  ])('refuses an order without %s', async (field) => {
    await asksNothing(service, async () => {
      const { details } = await refused(await changed({ [field]: undefined }), 'invalidRequest')
      expect(details?.issues).toMatchObject([{ path: field }])
    })
  })

  it.each([
    'status',
    'txid',
    'createdAt',
    'note',
    'constructor',
    'apiKey',
  ])('refuses the member %s, which it does not know', async (field) => {
    await asksNothing(service, async () =>
      refused(await changed({ [field]: 'x' }), 'invalidRequest'),
    )
  })

  it.each([
    [
      'another wallet',
      'another_wallet',
      (order: NewOrder) =>
        newWallet(service).order({ ...order, signature: undefined as never }).signature,
    ],
    [
      'another amount',
      'another_wallet',
      (order: NewOrder) => signed(order, { amountIn: '999999' }),
    ],
    ['another uuid', 'another_wallet', (order: NewOrder) => signed(order, { uuid: 'other' })],
    [
      'another token',
      'another_wallet',
      (order: NewOrder) => signed(order, { inputToken: OUTPUT_TOKEN }),
    ],
    [
      'another router',
      'another_wallet',
      (order: NewOrder) => signed(order, { router: `${ROUTER}-2` }),
    ],
    ['another network', 'another_wallet', (order: NewOrder) => mainnetSignature(order)],
    [
      'a message instead of an intent',
      'another_wallet',
      (order: NewOrder) => signMessage({ message: order.uuid, privateKey: wallet.privateKey }),
    ],
    ['nobody: high S', 'high_s', (order: NewOrder) => toHighS(order.signature)],
    ['nobody: zeros', 'out_of_range', () => '0'.repeat(130)],
  ])('refuses an order signed by or for %s', async (_, reason, signature) => {
    const order = plainlyRsv()
    await changesNothing(service, async () => {
      const { details } = await refused(
        await send({ ...order, signature: signature(order) }),
        'signatureInvalid',
      )
      expect(details).toEqual({ reason, field: 'signature' })
    })
  })
  /** The first byte of its r is no recovery id: the signature reads in one order only. */
  function plainlyRsv(): NewOrder {
    const order = wallet.order()
    return /^0[0-3]/.test(order.signature) ? plainlyRsv() : order
  }
  function signed(order: NewOrder, members: object): string {
    const terms = { ...order, router: ROUTER, ...members }
    return signIntent({ ...terms, network: 'devnet', privateKey: wallet.privateKey })
  }
  function mainnetSignature({ amountIn, uuid }: NewOrder): string {
    const address = 'SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7'
    const terms = { amountIn, uuid, inputToken: `${address}.t`, router: `${address}.r` }
    return signIntent({ ...terms, network: 'mainnet', privateKey: wallet.privateKey })
  }

  it.each([
    '',
    '0x',
    'a'.repeat(129),
    'a'.repeat(131),
    `${'a'.repeat(129)}g`,
    'a'.repeat(128),
    1,
    null,
  ])('refuses the signature %j, which is not 65 bytes', async (signature) => {
    await asksNothing(service, async () => refused(await changed({ signature }), 'invalidRequest'))
  })

  it('takes the signature in RSV or VRS, with or without 0x, in any case', async () => {
    for (const write of [
      (rsv: string) => `0x${rsv}`,
      (rsv: string) => rsv.toUpperCase(),
      (rsv: string) => rsv.slice(-2) + rsv.slice(0, -2),
    ]) {
      const order = wallet.order()
      await answered(await send({ ...order, signature: write(order.signature) }), 201)
    }
  })

  it('refuses an owner whose key is uncompressed: the chain would', async () => {
    const privateKey = wallet.privateKey.slice(0, 64)
    const owner = addressOf(privateKey, 'devnet')
    const { details } = await refused(await changed({ owner }), 'signatureInvalid')
    expect(details).toEqual({ reason: 'uncompressed_key', field: 'signature' })
  })

  describe('once more', () => {
    it('answers the stored order to the same order, however it is written', async () => {
      const order = wallet.order({ validTo: '2099-01-01T00:00:00Z' })
      const { data } = await answered<{ data: Order }>(await send(order), 201)
      service.clock.now += 1_000
      await changesNothing(service, async () => {
        for (const members of [
          {},
          { recipient: wallet.address },
          { validTo: '2099-01-01T01:00:00+01:00' },
          { signature: `0x${order.signature.toUpperCase()}` },
        ]) {
          const again = await answered<{ data: Order }>(await send({ ...order, ...members }))
          expect(again.data).toEqual(data)
        }
      })
    })

    it('answers with what became of it', async () => {
      const order = wallet.order()
      await answered(await send(order), 201)
      await service.call(`/orders/${order.uuid}/cancel`, {
        ...json(wallet.sign({ action: 'cancel_order', uuid: order.uuid })),
        method: 'PATCH',
      })
      const { data } = await answered<{ data: Order }>(await send(order))
      expect(data.status).toBe('cancelled')
    })

    it.each([
      ['another amount', {}, { amountIn: '2' }],
      ['another output', {}, { outputToken: FAR_TOKEN }],
      ['a condition', {}, condition],
      ['another price', condition, { ...condition, targetPrice: '1.50' }],
      ['a base asset', condition, { ...condition, baseAsset: INPUT_TOKEN }],
      ['an end', {}, { validTo: '2099-01-01T00:00:00Z' }],
      [
        'an end a millisecond later',
        { validTo: '2099-01-01T00:00:00Z' },
        { validTo: '2099-01-01T00:00:00.001Z' },
      ],
      ['no end', { validTo: '2099-01-01T00:00:00Z' }, {}],
    ])('refuses the same uuid with %s', async (_, first, second) => {
      const { uuid } = wallet.order()
      await answered(await send(wallet.order({ uuid, ...first })), 201)
      await changesNothing(service, async () =>
        refused(await send(wallet.order({ uuid, ...second })), 'orderConflict'),
      )
    })

    it("refuses another owner's uuid, and tells nothing of that order", async () => {
      const { uuid } = wallet.order()
      await answered(await send(wallet.order({ uuid })), 201)
      await changesNothing(service, async () => {
        const body = await refused(await send(newWallet(service).order({ uuid })), 'orderConflict')
        expect(body).not.toHaveProperty('details')
      })
    })

    it('tells uuids apart by case', async () => {
      await answered(await send(wallet.order({ uuid: 'Case-1' })), 201)
      await answered(await send(wallet.order({ uuid: 'case-1' })), 201)
    })
  })

  describe('for another recipient', () => {
    const forFriend = (members: Partial<NewOrder> = {}) =>
      wallet.order({ recipient: newWallet(service).address, ...members })
    const granted = (order: NewOrder, members: object = {}, by = wallet) => {
      const { message, signature } = by.sign({
        action: 'create_order',
        orderHash: orderHash(order),
        ...members,
      })
      return { ...order, message, messageSignature: signature }
    }

    it("refuses without the owner's word, with a key too, and says what to sign", async () => {
      const order = forFriend()
      const { apiKey } = await createKey(service, wallet)
      for (const headers of [{}, { 'X-API-Key': apiKey }] as Record<string, string>[]) {
        const { details } = await refused(await send(order, headers), 'recipientNotGranted')
        expect(details).toEqual({
          recipient: order.recipient,
          expected: {
            action: 'create_order',
            orderHash: orderHash(order),
            timestamp: service.clock.now,
          },
        })
      }
    })

    it('takes the order with a signed create_order, once', async () => {
      const order = granted(forFriend())
      const { data } = await answered<{ data: Order }>(await send(order), 201)
      expect(data.recipient).toBe(order.recipient)
      expect(data).not.toHaveProperty('message')
      const kept = (await stored(service)).filter((row) => row.includes(orderHash(order)))
      expect(kept).toHaveLength(1)
      expect(kept[0]).toMatch(/^signed_actions .*"create_order"/)
      // The same order again is answered; the message is not used again.
      await changesNothing(service, async () => answered(await send(order)))
    })

    it('takes a multi-signature wallet as recipient, which can hold though not sign', async () => {
      const recipient = MULTISIG
      await answered(await send(granted(forFriend({ recipient }))), 201)
    })

    it('hashes the canonical JSON of the order as it was sent', async () => {
      const order = forFriend({ ...condition, validTo: '2099-01-01T01:00:00+01:00' })
      const { signature: _, ...terms } = order
      const text = JSON.stringify(
        Object.fromEntries(Object.entries(terms).sort(([a], [b]) => (a < b ? -1 : 1))),
      )
      const digest = new Uint8Array(
        await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text)),
      )
      const hash = Buffer.from(digest).toString('hex')
      await answered(await send(granted(order, { orderHash: hash })), 201)
    })

    it.each([
      [
        'a hash of another order',
        (order: NewOrder) => granted(order, { orderHash: 'a'.repeat(64) }),
        'invalidRequest',
      ],
      [
        'the hash in upper case',
        (order: NewOrder) => granted(order, { orderHash: orderHash(order).toUpperCase() }),
        'invalidRequest',
      ],
      ['no hash', (order: NewOrder) => granted(order, { orderHash: undefined }), 'invalidRequest'],
      ['a message alone', (order: NewOrder) => ({ ...order, message: '{}' }), 'invalidRequest'],
      [
        'a signature alone',
        (order: NewOrder) => ({ ...order, messageSignature: order.signature }),
        'invalidRequest',
      ],
      [
        'a changed recipient',
        (order: NewOrder) => ({ ...granted(order), recipient: newWallet(service).address }),
        'invalidRequest',
      ],
      [
        'a changed output',
        (order: NewOrder) => ({ ...granted(order), outputToken: FAR_TOKEN }),
        'invalidRequest',
      ],
      [
        "another wallet's word",
        (order: NewOrder) => granted(order, {}, newWallet(service)),
        'signatureInvalid',
      ],
      [
        'a stale word',
        (order: NewOrder) => granted(order, { timestamp: service.clock.now - 300_001 }),
        'timestampExpired',
      ],
      [
        'a word to execute',
        (order: NewOrder) => granted(order, { action: 'execute_order' }),
        'invalidRequest',
      ],
    ] as const)('refuses %s', async (_, change, reason) => {
      await changesNothing(service, async () => refused(await send(change(forFriend())), reason))
    })

    it('refuses a false word for an order that needs none', async () => {
      await changesNothing(service, async () => {
        const order = wallet.order()
        await refused(
          await send({ ...order, message: '{}', messageSignature: order.signature }),
          'invalidRequest',
        )
        await refused(await send(granted(order, {}, newWallet(service))), 'signatureInvalid')
      })
    })
  })
})
