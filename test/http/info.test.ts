import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { INPUT_TOKEN, INTENT_VERIFIER, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import { answered, refused } from '../support/assertions.ts'
import { EVERYWHERE, type Service } from '../support/service.ts'
import { startService } from './documented.ts'

describe.each(EVERYWHERE)('What the service says of its surroundings, on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
  })
  afterAll(() => service.close())

  it('tells a caller its own address, in the form that a key can be bound to', async () => {
    for (const [ip, told] of [
      ['203.0.113.50', '203.0.113.50'],
      ['2001:DB8:0::1', '2001:db8::1'],
    ] as const) {
      const { callerAddress } = await answered<{ callerAddress: string }>(
        await service.call('/info', { ip }),
      )
      expect(callerAddress).toBe(told)
    }
  })

  it('has no explorer on a devnet', async () => {
    expect(await answered(await service.call('/info'))).not.toHaveProperty('explorerUrl')
  })

  it.each([
    [INPUT_TOKEN, 'KEY', 6],
    [OUTPUT_TOKEN, 'USD', 6],
    ['.stx', 'STX', 6],
  ])('tells symbol and decimals of %s', async (contractId, symbol, decimals) => {
    for (let time = 0; time < 2; time++)
      expect(await answered(await service.call(`/tokens/${contractId}`))).toEqual({
        status: 'success',
        contractId,
        symbol,
        decimals,
      })
  })

  it.each([
    ['a contract that is no token', INTENT_VERIFIER],
    ['a contract that is not there', `${INPUT_TOKEN}-not`],
    ['an address', INPUT_TOKEN.split('.')[0] ?? ''],
    ['another network', 'SP000000000000000000002Q6VF78.token'],
    ['a path', '..%2F..%2Finfo'],
    ['NUL', '%00'],
  ])('knows no token of %s', async (_, contractId) => {
    await refused(await service.call(`/tokens/${contractId}`), 'tokenNotFound')
  })
})
