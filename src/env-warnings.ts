import { type Config, ENVIRONMENT_NAMES } from './env.ts'
import { isPublicHttp } from './wire/url.ts'

type Environment = Readonly<Record<string, string | undefined>>

/**
 * Settings that are accepted and probably not meant: names that look like a variable of the service, and values that contradict
 * each other. A sentence each, without values that may be secret.
 */
export function findDoubts(environment: Environment, config: Config): string[] {
  return [...misspelt(environment), ...DOUBTS.flatMap((find) => find(config, environment) ?? [])]
}

type Doubt = (config: Config, environment: Environment) => string | undefined

const DOUBTS: readonly Doubt[] = [
  ({ RATE_LIMIT_PER_MINUTE: minute, RATE_LIMIT_PER_HOUR: hour }) =>
    minute > hour
      ? `RATE_LIMIT_PER_MINUTE: ${minute} is never reached, because RATE_LIMIT_PER_HOUR is ${hour}`
      : undefined,
  ({ RATE_LIMIT_PER_HOUR: hour, RATE_LIMIT_PER_DAY: day }) =>
    hour > day
      ? `RATE_LIMIT_PER_HOUR: ${hour} is never reached, because RATE_LIMIT_PER_DAY is ${day}`
      : undefined,
  ({ STUCK_AFTER_SECONDS: stuck, GIVE_UP_AFTER_SECONDS: end }) =>
    stuck >= end
      ? `STUCK_AFTER_SECONDS: no fee is ever raised, because GIVE_UP_AFTER_SECONDS is ${end}`
      : undefined,
  ({ TRUSTED_PROXIES }) =>
    TRUSTED_PROXIES.some((range) => range.endsWith('/0'))
      ? 'TRUSTED_PROXIES: trusts every address, so that a client can claim any address'
      : undefined,
  ({ ALLOWED_ORIGINS }) =>
    ALLOWED_ORIGINS.includes('*') && ALLOWED_ORIGINS.length > 1
      ? 'ALLOWED_ORIGINS: * allows every origin, the others beside it change nothing'
      : undefined,
  ({ EXPLORER_URL }) =>
    EXPLORER_URL !== undefined && !EXPLORER_URL.includes('{txid}')
      ? 'EXPLORER_URL: has no {txid}, so that every link leads to the same page'
      : undefined,
  ({ ACCESS_LOG, LOG_LEVEL }) =>
    ACCESS_LOG !== 'none' && !['debug', 'info'].includes(LOG_LEVEL)
      ? `ACCESS_LOG: its lines have level info, and LOG_LEVEL is ${LOG_LEVEL}`
      : undefined,
  ({ METRICS_PORT }, { METRICS_HOST }) =>
    METRICS_PORT === undefined && METRICS_HOST
      ? 'METRICS_HOST: there are no metrics without METRICS_PORT'
      : undefined,
  ({ STACKS_API_URL = '', STACKS_NETWORK }) =>
    STACKS_NETWORK === 'mainnet' && isPublicHttp(STACKS_API_URL)
      ? 'STACKS_API_URL: what the chain says, and a STACKS_API_KEY, cross the internet without TLS'
      : undefined,
  ({ QUOTE_URL = '', STACKS_NETWORK }) =>
    STACKS_NETWORK === 'testnet' && isPublicHttp(QUOTE_URL)
      ? 'QUOTE_URL: quotes cross the internet without TLS; mainnet refuses it'
      : undefined,
  ({ DATABASE_URL, STACKS_NETWORK }) =>
    STACKS_NETWORK === 'mainnet' && DATABASE_URL.startsWith('pglite:')
      ? 'DATABASE_URL: PGlite is for trials; its time is this process, and its folder the only copy'
      : undefined,
  (_, { NODE_TLS_REJECT_UNAUTHORIZED }) =>
    NODE_TLS_REJECT_UNAUTHORIZED === '0'
      ? 'NODE_TLS_REJECT_UNAUTHORIZED: certificates of the chain, quotes and database are not verified'
      : undefined,
]

/** Names of other programs: their variables resemble each other, and not ours by mistake. */
const FOREIGN = /^(npm_|OTEL_|PG|NODE_|LATCHKEY_)/

function misspelt(environment: Environment): string[] {
  return Object.keys(environment).flatMap((name) => {
    if (ENVIRONMENT_NAMES.includes(name) || FOREIGN.test(name)) return []
    const meant = ENVIRONMENT_NAMES.find((known) => resembles(name, known))
    return meant === undefined ? [] : [`${name}: is not read; ${meant} is`]
  })
}

/** Shorter names differ from any word by a letter or two. */
const MIN_LENGTH = 8
/** From this length on, three letters are a plural or a slip, and no other word. */
const LONG = 12

function resembles(given: string, known: string): boolean {
  const name = given.toUpperCase().replaceAll('-', '_')
  if (name === known) return true
  if (Math.min(name.length, known.length) < MIN_LENGTH) return false
  return edits(name, known) <= (known.length >= LONG ? 3 : 2) || leavesOutWords(name, known)
}

/** `RATE_LIMIT_MINUTE` for `RATE_LIMIT_PER_MINUTE`: the same words from the first on, some of them missing. */
function leavesOutWords(name: string, known: string): boolean {
  const [words, all] = [name.split('_'), known.split('_')]
  if (words.length < 2 || words.length >= all.length || words[0] !== all[0]) return false
  return words.at(-1) === all.at(-1) && words.every((word) => all.includes(word))
}

/** Levenshtein's distance, a row at a time. */
function edits(one: string, other: string): number {
  let before = Array.from({ length: other.length + 1 }, (_, at) => at)
  for (let at = 1; at <= one.length; at++) {
    const row = [at]
    for (let to = 1; to <= other.length; to++) {
      const replaced = (before[to - 1] ?? 0) + (one[at - 1] === other[to - 1] ? 0 : 1)
      row.push(Math.min(replaced, (before[to] ?? 0) + 1, (row[to - 1] ?? 0) + 1))
    }
    before = row
  }
  return before[other.length] ?? 0
}
