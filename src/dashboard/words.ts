import type { KeyTerms, TermName } from '../client/terms.ts'
import { formatDate, formatList } from './format.ts'
import { say, sayIfKnown } from './language.ts'
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
  if (term === 'tokens') return formatList((value as string[]).map(tokenName), 'conjunction')
  if (Array.isArray(value))
    return value.length === 0 ? say('sentence.nothing') : formatList(value, 'conjunction')
  if (term === 'publicKey') return (value as NonNullable<KeyTerms['publicKey']>).key
  return value === true ? say('yes') : String(value)
}
