import { describe, expect, it } from 'vitest'
import type { Key } from '../../src/client/index.ts'
import {
  changeOf,
  dayAfter,
  differencesOf,
  draftOf,
  draftOfKey,
  type KeyDraft,
  newKeyOf,
  readDraft,
  risksOf,
  TEMPLATES,
} from '../../src/dashboard/draft.ts'
import { formatAmount, readAmount, writeAmount } from '../../src/dashboard/format.ts'
import { type AlertName, NO_RULES, type RulesDraft } from '../../src/dashboard/rules.ts'
import { de } from '../../src/dashboard/texts/de.ts'
import { deConnected } from '../../src/dashboard/texts/de-connected.ts'
import { en } from '../../src/dashboard/texts/en.ts'
import { enConnected } from '../../src/dashboard/texts/en-connected.ts'
import { INPUT_TOKEN, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'

const NOW = Date.UTC(2031, 4, 6, 12)
const POLICY = {
  network: 'devnet' as const,
  scopes: ['create', 'execute', 'cancel', 'read', 'withdraw_funds'],
  maxRateLimit: 100,
  now: NOW,
}
const NAMES = { maker: 'maker', executor: 'executor', canceller: 'canceller', blank: 'blank' }
const draft = (part: Partial<KeyDraft> = {}): KeyDraft => ({
  ...draftOf('maker', NAMES, NOW),
  ...part,
})
const decimalsOf = () => 6
const read = (part: Partial<KeyDraft>) => readDraft(draft(part), decimalsOf, POLICY)

describe('A draft of a key', () => {
  it.each(TEMPLATES)('of the template %s is one that the service accepts', (template) => {
    const { faults } = readDraft(draftOf(template, NAMES, NOW), decimalsOf, POLICY)
    expect([...faults]).toEqual([])
  })

  it.each([
    [{ name: '   ' }, 'name'],
    [{ permissions: ['create', 'own_the_world'] }, 'permissions'],
    [{ lastDay: '2031-05-05' }, 'expiresAt'],
    [{ lastDay: 'tomorrow' }, 'expiresAt'],
    [{ ipAllowlist: ['203.0.113.1/24'] }, 'ipAllowlist'],
    [{ ipAllowlist: Array.from({ length: 21 }, (_, at) => `203.0.113.${at}`) }, 'ipAllowlist'],
    [{ tokens: ['SP000000000000000000002Q6VF78.token'] }, 'tokens'],
    [{ recipients: ['nobody'] }, 'recipients'],
    [{ amounts: [{ token: INPUT_TOKEN, perOrder: '2', perDay: '1' }] }, 'maxAmountIn'],
    [{ amounts: [{ token: INPUT_TOKEN, perOrder: '0.0000001', perDay: '' }] }, 'maxAmountIn'],
    [{ amounts: [{ token: '', perOrder: '1', perDay: '' }] }, 'maxAmountIn'],
    [
      { tokens: [OUTPUT_TOKEN], amounts: [{ token: INPUT_TOKEN, perOrder: '1', perDay: '' }] },
      'maxAmountIn',
    ],
    [{ permissions: ['execute'], ownOrdersOnly: true }, 'ownOrdersOnly'],
    [{ maxOpenOrders: '0' }, 'maxOpenOrders'],
    [{ maxOpenOrders: '1.5' }, 'maxOpenOrders'],
    [{ rateLimit: '9' }, 'rateLimit'],
    [{ rateLimit: '101' }, 'rateLimit'],
    [{ label: 'x'.repeat(201) }, 'label'],
  ] as const)('with %j is told its fault before a wallet is: %s', (part, term) => {
    expect([...read(part as Partial<KeyDraft>).faults]).toEqual([term])
  })

  it('is signed as it was typed, in the smallest unit', () => {
    const { terms } = read({
      amounts: [{ token: INPUT_TOKEN, perOrder: '1.5', perDay: '20' }],
      ipAllowlist: ['203.0.113.50'],
    })
    expect(newKeyOf(terms)).toEqual({
      name: 'maker',
      permissions: ['create', 'execute', 'cancel'],
      expiresAt: new Date(`${dayAfter(90, NOW)}T23:59:59`),
      ipAllowlist: ['203.0.113.50'],
      maxAmountIn: { [INPUT_TOKEN]: { perOrder: '1500000', perDay: '20000000' } },
      ownOrdersOnly: true,
      maxOpenOrders: 20,
    })
  })

  describe('with what is watched', () => {
    const daily = { amounts: [{ token: INPUT_TOKEN, perOrder: '', perDay: '20' }] }
    const rules = (part: Partial<RulesDraft>) => ({ rules: { ...NO_RULES, ...part } })
    const on = (...names: AlertName[]) => ({
      actions: { ...NO_RULES.actions, ...Object.fromEntries(names.map((one) => [one, 'notify'])) },
    })

    it('is signed as it was typed', () => {
      const { terms, faults } = read({
        ...daily,
        ...rules({
          ...on('newAddress', 'errorRate', 'requestsPerMinute', 'spendPerHour', 'expiring'),
          onSilence: 'cancel',
          silence: '90',
          percent: '25',
          requests: '40',
          perMinute: '30',
          spend: { [INPUT_TOKEN]: '1.5', [OUTPUT_TOKEN]: '7' },
        }),
      })
      expect([...faults]).toEqual([])
      const action = 'notify'
      expect(newKeyOf(terms)).toMatchObject({
        heartbeat: { seconds: 90, then: 'cancel' },
        alerts: {
          newAddress: { action },
          errorRate: { percent: 25, requests: 40, action },
          requestsPerMinute: { above: 30, action },
          spendPerHour: { above: { [INPUT_TOKEN]: '1500000' }, action },
          expiring: { action },
        },
      })
    })

    it.each<[Partial<KeyDraft>, string]>([
      [rules({ onSilence: 'cancel', silence: '9' }), 'heartbeat'],
      [rules({ onSilence: 'cancel', silence: '' }), 'heartbeat'],
      [
        { ...rules({ onSilence: 'cancel' }), permissions: ['execute'], ownOrdersOnly: false },
        'heartbeat',
      ],
      [rules({ ...on('errorRate'), percent: '101' }), 'alerts'],
      [rules({ ...on('errorRate'), requests: '9' }), 'alerts'],
      [rules({ ...on('requestsPerMinute'), perMinute: 'many' }), 'alerts'],
      [{ ...daily, ...rules(on('spendPerHour')) }, 'alerts'],
      [{ ...daily, ...rules({ ...on('spendPerHour'), spend: { [INPUT_TOKEN]: '20' } }) }, 'alerts'],
      [{ ...rules(on('expiring')), lastDay: '' }, 'alerts'],
    ])('%# is told its fault before a wallet is: %j', (part, term) => {
      expect([...read(part).faults]).toEqual([term])
    })

    it('is shown as it was signed, and changes nothing untouched', () => {
      const key = {
        name: 'maker',
        permissions: ['create'],
        rateLimit: 100,
        maxAmountIn: { [INPUT_TOKEN]: { perDay: '20000000' } },
        heartbeat: { then: 'suspend', seconds: 30 },
        alerts: {
          spendPerHour: { action: 'suspend', above: { [INPUT_TOKEN]: '1500000' } },
          newNetwork: { action: 'notify' },
        },
      } as unknown as Key
      const original = draftOfKey(key, decimalsOf)
      const before = readDraft(original, decimalsOf, POLICY)
      expect(before.terms).toMatchObject({ heartbeat: key.heartbeat, alerts: key.alerts })
      const after = readDraft(
        { ...original, rules: { ...original.rules, onSilence: '' } },
        decimalsOf,
        POLICY,
      )
      expect(changeOf(differencesOf(before, after))).toEqual({ heartbeat: null })
    })
  })

  it('of a key that is not touched changes nothing, and of one that is only that', () => {
    const key = {
      name: 'maker',
      permissions: ['create'],
      rateLimit: 100,
      expiresAt: '2031-08-01T10:00:00.000Z',
      ipAllowlist: ['203.0.113.0/24'],
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '1000000' } },
    } as unknown as Key
    const original = draftOfKey(key, decimalsOf)
    const before = readDraft(original, decimalsOf, POLICY)
    expect(differencesOf(before, readDraft(original, decimalsOf, POLICY))).toEqual([])
    const after = readDraft({ ...original, ipAllowlist: [], name: 'other' }, decimalsOf, POLICY)
    expect(changeOf(differencesOf(before, after))).toEqual({ name: 'other', ipAllowlist: null })
  })
})

describe('The risk of a key', () => {
  const bounded = {
    ipAllowlist: ['203.0.113.50'],
    amounts: [{ token: INPUT_TOKEN, perOrder: '', perDay: '1' }],
  }
  it.each([
    [bounded, 'low', []],
    [{ ...bounded, ipAllowlist: [] }, 'medium', ['address']],
    [{ ...bounded, lastDay: '' }, 'medium', ['expiry']],
    [{}, 'high', ['address', 'amount', 'tokens']],
    [{ ...bounded, permissions: ['withdraw_funds'] }, 'high', ['scope']],
    [{ permissions: [] }, 'low', []],
  ] as const)('with %j is %s', (part, level, risks) => {
    expect(risksOf(read(part as Partial<KeyDraft>).terms, NOW)).toEqual({
      level,
      risks: [...risks],
    })
  })
})

describe('Amounts', () => {
  it.each([
    ['1', 6, '1000000'],
    ['0.000001', 6, '1'],
    ['12,5', 6, '12500000'],
    ["1'000", 0, '1000'],
    ['340282366920938463463374607431768211455', 0, '340282366920938463463374607431768211455'],
  ])('%s with %d places is %s', (text, decimals, smallest) => {
    expect(readAmount(text, decimals)).toBe(smallest)
    expect(readAmount(writeAmount(smallest, decimals), decimals)).toBe(smallest)
  })

  it.each([
    '',
    '0',
    '-1',
    '1e3',
    '0.0000001',
    '1.2.3',
    '340282366920938463463374607431768211456',
  ])('%j is none', (text) => {
    expect(readAmount(text, text.includes('3402') ? 0 : 6)).toBeUndefined()
  })

  it('are written exactly, whatever their size', () => {
    expect(formatAmount('340282366920938463463374607431768211455', 6)).toBe(
      '340,282,366,920,938,463,463,374,607,431,768.211455',
    )
    expect(formatAmount('1', 6)).toBe('0.000001')
    expect(formatAmount('20000000', 6)).toBe('20')
  })
})

describe('German', () => {
  it('has the values and the forms of every English text', () => {
    const english: Record<string, string> = { ...en, ...enConnected }
    const german: Record<string, string> = { ...de, ...deConnected }
    const values = (text = '') => [...new Set(text.match(/\{\w+\}/g))].sort()
    for (const [name, text] of Object.entries(english)) {
      expect([name, values(german[name])]).toEqual([name, values(text)])
      expect(german[name]?.trim(), name).not.toBe('')
    }
    expect(Object.keys(german).sort()).toEqual(Object.keys(english).sort())
  })
})
