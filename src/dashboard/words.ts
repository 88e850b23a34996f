import type { Alerts, Heartbeat } from '../client/index.ts'
import type { KeyTerms, TermName } from '../client/terms.ts'
import { formatDate, formatList } from './format.ts'
import { say, sayIfKnown } from './language.ts'
import { ALERT_NAMES } from './rules.ts'
import { tokenAmount, tokenName } from './tokens.ts'

/** What a key may do, as one sentence. */
export function sentenceOf(terms: KeyTerms): string {
  const { name, permissions, tokens, ipAllowlist, expiresAt, maxAmountIn } = terms
  return say('sentence', {
    name: name === '' ? say('sentence.unnamed') : name,
    what: permissions.length === 0 ? say('sentence.nothing') : whatOf(permissions),
    amounts:
      maxAmountIn === null ? '' : say('sentence.amounts', { amounts: amountsOf(maxAmountIn) }),
    tokens:
      tokens === null
        ? ''
        : say('sentence.tokens', { tokens: formatList(tokens.map(tokenName), 'conjunction') }),
    own: terms.ownOrdersOnly ? say('sentence.own') : '',
    from:
      ipAllowlist === null
        ? say('sentence.anywhere')
        : say('sentence.from', { addresses: formatList(ipAllowlist, 'disjunction') }),
    until:
      expiresAt === null
        ? say('sentence.forever')
        : say('sentence.until', { date: formatDate(expiresAt) }),
  })
}

function whatOf(permissions: readonly string[]): string {
  const verbs = permissions.map((scope) => sayIfKnown(`may.${scope}`) ?? `“${scope}”`)
  return say('sentence.orders', { verbs: formatList(verbs, 'conjunction') })
}

export function amountsOf(amounts: NonNullable<KeyTerms['maxAmountIn']>): string {
  const each = Object.entries(amounts).flatMap(([token, { perOrder, perDay }]) => {
    const parts = [
      ...(perDay === undefined
        ? []
        : [say('amount.perDay', { amount: tokenAmount(token, perDay) })]),
      ...(perOrder === undefined
        ? []
        : [say('amount.perOrder', { amount: tokenAmount(token, perOrder) })]),
    ]
    return parts.length === 0 ? [say('amount.any', { token: tokenName(token) })] : parts
  })
  return formatList(each, 'conjunction')
}

/** A term's value for a person; a dash where it is not set. */
export function termText(term: TermName, value: unknown): string {
  if (value === null || value === undefined || value === false) return say(`none.${term}`)
  if (term === 'expiresAt') return formatDate(Number(value))
  if (term === 'maxAmountIn') return amountsOf(value as NonNullable<KeyTerms['maxAmountIn']>)
  if (term === 'heartbeat') return heartbeatText(value as Heartbeat)
  if (term === 'alerts') return alertsText(value as Alerts)
  if (term === 'tokens') return formatList((value as string[]).map(tokenName), 'conjunction')
  if (Array.isArray(value))
    return value.length === 0 ? say('sentence.nothing') : formatList(value, 'conjunction')
  if (term === 'publicKey') return (value as NonNullable<KeyTerms['publicKey']>).key
  return value === true ? say('yes') : String(value)
}

/** What a silence does. */
export function heartbeatText({ seconds, then }: Heartbeat): string {
  return say('heartbeat.text', { seconds, effect: say(`heartbeat.${then}`) })
}

/** Each alert of a key, and what follows it. */
export function alertTexts(alerts: Alerts): string[] {
  const { errorRate, requestsPerMinute, spendPerHour } = alerts
  const details: Partial<Record<keyof Alerts, string | undefined>> = {
    errorRate:
      errorRate &&
      say('alert.errorRate.text', { n: errorRate.requests, percent: errorRate.percent }),
    requestsPerMinute:
      requestsPerMinute && say('alert.requestsPerMinute.text', { n: requestsPerMinute.above }),
    spendPerHour:
      spendPerHour &&
      say('alert.spendPerHour.text', {
        amounts: formatList(
          Object.entries(spendPerHour.above).map(([token, amount]) => tokenAmount(token, amount)),
          'disjunction',
        ),
      }),
  }
  return ALERT_NAMES.flatMap((name) => {
    const { action } = alerts[name] ?? {}
    if (action === undefined) return []
    const what = details[name] ?? say(`alert.${name}`)
    return [say('alert.text', { what, action: say(`alert.${action}`) })]
  })
}

function alertsText(alerts: Alerts): string {
  return formatList(alertTexts(alerts), 'conjunction')
}
