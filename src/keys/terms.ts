import { isContractId, isStacksAddress } from '../stacks/address.ts'
import type { Network } from '../stacks/network.ts'
import { parseIpRange } from '../wire/ip.ts'
import type { KeyTerms } from './rights.ts'

export interface TermsPolicy {
  network: Network
  /** Every scope that a key may carry here. */
  scopes: readonly string[]
  /** The most requests a minute that a grant may ask for: what a key has without asking. */
  maxRateLimit: number
  now: number
}

/** The fewest requests a minute that a grant may ask for. Less is a key that seems broken. */
export const MIN_RATE_LIMIT = 10

interface Issue {
  path: string
  message: string
}

/** Finds what is wrong with a key's terms as a whole: names of nothing, contradictions, times that have passed. */
export function validateTerms(terms: KeyTerms, policy: TermsPolicy): Issue[] {
  const { network } = policy
  const isToken = (text: string) => text === '.stx' || isContractId(text, network)
  const faults: (Issue | false)[] = [
    ...each('permissions', terms.permissions, (scope) => policy.scopes.includes(scope), {
      message: `must be one of ${policy.scopes.join(', ')}`,
    }),
    terms.expiresAt !== null &&
      !(terms.expiresAt > policy.now && terms.expiresAt < FAR_FUTURE) && {
        path: 'expiresAt',
        message: 'must be in the future',
      },
    terms.rateLimit !== null &&
      !(terms.rateLimit >= MIN_RATE_LIMIT && terms.rateLimit <= policy.maxRateLimit) && {
        path: 'rateLimit',
        message: `must be from ${MIN_RATE_LIMIT} to ${policy.maxRateLimit}`,
      },
    ...each('ipAllowlist', terms.ipAllowlist ?? [], (text) => parseIpRange(text) !== undefined, {
      message: 'must be an address, or a CIDR range without bits beyond its prefix',
    }),
    ...each('tokens', terms.tokens ?? [], isToken, {
      message: 'must be a contract id of this network, or .stx',
    }),
    ...each('recipients', terms.recipients ?? [], (text) => isStacksAddress(text, network), {
      message: 'must be a Stacks address of this network',
    }),
    ...amountFaults(terms, isToken),
    terms.ownOrdersOnly &&
      !terms.permissions.includes('create') && {
        path: 'ownOrdersOnly',
        message: 'contradicts permissions without create: there would be no order to touch',
      },
  ]
  return faults.filter((fault) => fault !== false)
}

/** Beyond the year 9999 ISO 8601 is written otherwise. */
const FAR_FUTURE = Date.UTC(10_000, 0)

function amountFaults(
  { maxAmountIn, tokens }: KeyTerms,
  isToken: (text: string) => boolean,
): Issue[] {
  return Object.entries(maxAmountIn ?? {}).flatMap(([token, { perOrder, perDay }]) => {
    const path = `maxAmountIn.${token}`
    if (!isToken(token))
      return [{ path, message: 'must be a contract id of this network, or .stx' }]
    if (tokens !== null && !tokens.includes(token))
      return [{ path, message: 'contradicts tokens, which do not have it' }]
    if (perOrder !== undefined && perDay !== undefined && BigInt(perOrder) > BigInt(perDay))
      return [{ path, message: 'has a perOrder that is more than its perDay' }]
    return []
  })
}

function each(
  path: string,
  list: readonly string[],
  fits: (text: string) => boolean,
  { message }: { message: string },
): Issue[] {
  return list.flatMap((text, at) => (fits(text) ? [] : [{ path: `${path}[${at}]`, message }]))
}
