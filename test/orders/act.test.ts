import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import type { Order } from '../../src/orders/order.ts'
import { ORDER_STATUSES } from '../../src/orders/order.ts'
import { signMessage } from '../../src/stacks/sign.ts'
import { startService } from '../http/documented.ts'
import { answered, changesNothing, refused } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'

const ACTS = [
  { verb: 'execute', method: 'POST', action: 'execute_order' },
  { verb: 'cancel', method: 'PATCH', action: 'cancel_order' },
] as const

describe.each(ENGINES)('Acting on an order on %s', (engine) => {
  let service: Service
  let wallet: Wallet
  let key: Record<string, string>
  beforeAll(async () => {
    service = await startService(engine, { env: { RATE_LIMIT_PER_MINUTE: '10000' } })
    wallet = newWallet(service)
    key = { 'X-API-Key': (await createKey(service, wallet)).apiKey }
  })
  afterAll(() => service.close())

  describe.each(ACTS)('$verb', ({ verb, method, action }) => {
    const byKey = (uuid: string) =>
      service.call(`/orders/${uuid}/${verb}`, { method, headers: key })
    const byMessage = (uuid: string, members: object = {}, by = wallet) =>
      service.call(`/orders/${uuid}/${verb}`, {
        ...json(by.sign({ action, uuid, ...members })),
        method,
      })

    it('does not find an order that is not there', async () => {
      for (const uuid of [randomUUID(), 'new', 'a'.repeat(36)]) {
        await refused(await byKey(uuid), 'orderNotFound')
        await refused(await byMessage(uuid), 'orderNotFound')
      }
    })

    it.each([
      ['of 37 characters', 'a'.repeat(37)],
      ['with NUL', '%00'],
      ['with a quote', '%22'],
      ['with braces', '%7B%7D'],
      ['with commas', 'a,b'],
      ['with a backslash', '%5C'],
      ['with half of an emoji', '%ED%A0%BD'],
      ['with a whole emoji', '%F0%9F%98%80'],
      ['with a slash', '%2F'],
      ['with a broken escape', '%ZZ'],
    ])('does not find an order by a uuid %s', async (_, uuid) => {
      await refused(await byKey(uuid), 'orderNotFound')
      await refused(await service.call(`/orders/${uuid}`), 'orderNotFound')
      const signed = { ...json(wallet.sign({ action, uuid: decoded(uuid) })), method }
      await refused(await service.call(`/orders/${uuid}/${verb}`, signed), 'invalidRequest')
    })

    it('refuses the bare uuid that older clients sign, and says what to sign', async () => {
      for (const uuid of [await createOrder(service, wallet), '123456']) {
        const signature = signMessage({ message: uuid, privateKey: wallet.privateKey })
        for (const body of [
          { message: uuid, signature, walletAddress: wallet.address },
          { signature, walletAddress: wallet.address },
        ])
          await changesNothing(service, async () => {
            const { details } = await refused(
              await service.call(`/orders/${uuid}/${verb}`, { ...json(body), method }),
              'invalidRequest',
            )
            expect(details?.expected).toEqual({ action, uuid, timestamp: service.clock.now })
          })
      }
    })

    it('refuses a message for another order, or for the other act', async () => {
      const uuid = await createOrder(service, wallet)
      const other = await createOrder(service, wallet)
      const otherAction = ACTS.find((act) => act.action !== action)?.action
      await changesNothing(service, async () => {
        await refused(await byMessage(uuid, { uuid: other }), 'invalidRequest')
        await refused(await byMessage(uuid, { uuid: uuid.toUpperCase() }), 'invalidRequest')
        await refused(await byMessage(uuid, { action: otherAction }), 'invalidRequest')
      })
    })

    it("refuses another wallet's order, by key and by message", async () => {
      const owner = newWallet(service)
      const uuid = await createOrder(service, owner)
      const byStrangersKey = await refused(await byKey(uuid), 'keyOfAnotherWallet')
      expect(byStrangersKey.details).toEqual({
        apiKeyWallet: wallet.address,
        orderOwner: owner.address,
        orderUuid: uuid,
      })
      await changesNothing(service, async () => {
        const { details } = await refused(await byMessage(uuid), 'orderOfAnotherWallet')
        expect(details).toEqual({ orderOwner: owner.address, orderUuid: uuid })
      })
    })

    it.each(
      ORDER_STATUSES.filter((status) => status !== 'open'),
    )('refuses an order that is %s', async (status) => {
      const uuid = await createOrder(
        service,
        wallet,
        status === 'expired' ? { validTo: new Date(service.clock.now + 1).toISOString() } : {},
      )
      if (status === 'expired') service.clock.now += 1
      else
        await rows(service.world.db, sql`UPDATE orders SET status = ${status} WHERE uuid = ${uuid}`)
      expect((await refused(await byKey(uuid), 'orderNotOpen')).details).toEqual({ status })
      await changesNothing(service, async () => {
        expect((await refused(await byMessage(uuid), 'orderNotOpen')).details).toEqual({ status })
      })
    })
  })

  it('refuses to execute before the time of an order, and cancels it all the same', async () => {
    const validFrom = new Date(service.clock.now + 1_000).toISOString()
    const uuid = await createOrder(service, wallet, { validFrom })
    const early = json(wallet.sign({ action: 'execute_order', uuid }))
    for (const init of [{ method: 'POST', headers: key }, early]) {
      const { details } = await refused(
        await service.call(`/orders/${uuid}/execute`, init),
        'orderNotYetValid',
      )
      expect(details).toEqual({ validFrom, serverTime: service.clock.now })
    }
    const { data } = await answered<{ data: Order }>(
      await service.call(`/orders/${uuid}/cancel`, { method: 'PATCH', headers: key }),
    )
    expect(data).toMatchObject({
      status: 'cancelled',
      cancelledAt: new Date(service.clock.now).toISOString(),
    })
  })

  it('ignores the body of a request with a key', async () => {
    for (const body of ['', '{}', 'not json', '{"a":1,"a":2}']) {
      const uuid = await createOrder(service, wallet)
      await answered(
        await service.call(`/orders/${uuid}/cancel`, { method: 'PATCH', headers: key, body }),
      )
    }
  })

  it('answers 502 when there is no way to swap, and leaves the order open', async () => {
    const outputToken = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.no-such-token'
    const uuid = await createOrder(service, wallet, { outputToken })
    const { details } = await refused(
      await service.call(`/orders/${uuid}/execute`, { method: 'POST', headers: key }),
      'executionFailed',
    )
    expect(details).toEqual({ reason: 'no_route' })
    const { data } = await answered<{ data: Order }>(await service.call(`/orders/${uuid}`))
    expect(data.status).toBe('open')
  })
})

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
