import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { meetsTarget, minimumOutput } from '../../src/settlement/price.ts'

const quote = (amountOut: string, minimumReceived = '0') => ({
  amountOut,
  minimumReceived,
  hops: [],
})

describe('the least that a swap must yield', () => {
  it.each([
    ['1000000', '0', 100, '990000'],
    ['1000000', '0', 0, '1000000'],
    ['1000000', '0', 10_000, '0'],
    ['1000000', '995000', 100, '995000'],
    ['99', '0', 100, '99'],
    ['1', '0', 9_999, '1'],
  ])('of %s quoted, with a minimum of %s and %i basis points, is %s', (out, minimum, bps, least) => {
    expect(minimumOutput(quote(out, minimum), bps)).toBe(least)
  })

  it('is above the target of an order that waits for a price above it', () => {
    const target = { amountIn: '3', targetPrice: '1.5', direction: 'gt' as const }
    expect(minimumOutput(quote('6'), 5_000, target)).toBe('5')
    expect(minimumOutput(quote('6'), 5_000, { ...target, direction: 'lt' })).toBe('3')
  })
})

describe('the price of a swap', () => {
  const at = (targetPrice: string, direction: 'gt' | 'lt', amountIn = '1000000') => ({
    amountIn,
    targetPrice,
    direction,
  })

  it.each([
    ['500000', at('0.5', 'gt'), false],
    ['500001', at('0.5', 'gt'), true],
    ['500000', at('0.5', 'lt'), false],
    ['499999', at('0.5', 'lt'), true],
    ['1', at('0.000000000000000001', 'gt', '1000000000000000000'), false],
    ['2', at('0.000000000000000001', 'gt', '1000000000000000000'), true],
  ])('of %s out meets %o: %s', (amountOut, target, meets) => {
    expect(meetsTarget(target, amountOut)).toBe(meets)
  })

  it('is any where the order names none', () => {
    expect(meetsTarget({ amountIn: '1', targetPrice: null, direction: null }, '1')).toBe(true)
  })

  it('stays above the target on chain whenever the least is paid', () => {
    const amount = fc.bigInt({ min: 1n, max: 2n ** 127n })
    fc.assert(
      fc.property(
        amount,
        amount,
        fc.nat(10 ** 9),
        fc.nat(10 ** 9),
        fc.nat(10_000),
        (amountIn, amountOut, whole, places, bps) => {
          const target = at(`${whole}.${places}1`, 'gt', String(amountIn))
          const least = minimumOutput(quote(String(amountOut)), bps, target)
          expect(meetsTarget(target, least)).toBe(true)
        },
      ),
    )
  })
})
