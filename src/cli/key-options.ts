import { InvalidArgumentError } from 'commander'
import { type KeyChange, type MaxAmountIn, type NewKey, SCOPES } from '../client/index.ts'
import { type CliCommand, commaList, wholeNumber } from './command.ts'

/** The terms of a key as options give them. */
export interface KeyOptions {
  name?: string
  permissions?: string[]
  expiresAt?: string
  ipAllowlist?: string[]
  rateLimit?: number
  tokens?: string[]
  recipients?: string[]
  maxAmountIn?: MaxAmountIn
  ownOrdersOnly?: true
  label?: string
  justification?: string
}

export function addKeyOptions(command: CliCommand): CliCommand {
  return command
    .option('--name <name>', 'a name that no other live key of the wallet has')
    .option('--permissions <list>', `${SCOPES.join(',')}, or some of them; "" for none`, scopes)
    .option('--expires-at <time>', 'ISO 8601, as 2027-01-31T00:00:00Z')
    .option('--ip-allowlist <list>', 'addresses and CIDR ranges, separated by commas', commaList)
    .option('--rate-limit <number>', 'requests a minute, 10 or more', wholeNumber(1, 1_000_000))
    .option(
      '--tokens <list>',
      'contract ids that its orders may trade, separated by commas',
      commaList,
    )
    .option('--recipients <list>', 'addresses that may receive, besides the owner', commaList)
    .option('--max-amount-in <json>', 'as {"TOKEN":{"perOrder":"5","perDay":"50"}}', amounts)
    .option('--own-orders-only', 'it may touch only orders made through it')
    .option('--label <text>', 'a text of your own')
    .option('--justification <text>', 'why it is needed')
}

/** The terms among the options of a command, and nothing else. */
export function readTerms({
  name,
  permissions,
  expiresAt,
  ipAllowlist,
  rateLimit,
  tokens,
  recipients,
  maxAmountIn,
  ownOrdersOnly,
  label,
  justification,
}: KeyOptions): Partial<NewKey> {
  const terms = {
    name,
    permissions,
    expiresAt,
    ipAllowlist,
    rateLimit,
    tokens,
    recipients,
    maxAmountIn,
    ownOrdersOnly,
    label,
    justification,
  }
  return Object.fromEntries(Object.entries(terms).filter(([, value]) => value !== undefined))
}

const LIFTABLE: Readonly<Record<string, keyof KeyChange>> = {
  'expires-at': 'expiresAt',
  'ip-allowlist': 'ipAllowlist',
  'rate-limit': 'rateLimit',
  tokens: 'tokens',
  recipients: 'recipients',
  'max-amount-in': 'maxAmountIn',
  'own-orders-only': 'ownOrdersOnly',
  label: 'label',
  justification: 'justification',
}

/** Reads the names of limits that a key loses; the change of each is null. */
export function liftedTerms(value: string): KeyChange {
  const names = commaList(value)
  if (!names.every((name) => Object.hasOwn(LIFTABLE, name)))
    throw new InvalidArgumentError(`It names some of ${Object.keys(LIFTABLE).join(', ')}.`)
  return Object.fromEntries(names.map((name) => [LIFTABLE[name], null]))
}

function scopes(value: string): string[] {
  const names = commaList(value)
  if (names.every((name) => /^[a-z][a-z0-9_-]*$/.test(name))) return names
  throw new InvalidArgumentError(`It names some of ${SCOPES.join(', ')}.`)
}

function amounts(value: string): MaxAmountIn {
  try {
    return JSON.parse(value) as MaxAmountIn
  } catch {
    throw new InvalidArgumentError('It is JSON, as {"TOKEN":{"perOrder":"5","perDay":"50"}}.')
  }
}
