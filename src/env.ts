import * as z from 'zod'
import { parseEncryptionKeys } from './crypto/keys.ts'
import { connectionStringProblem } from './db/connection-string.ts'
import {
  DEVNET_OPERATOR_PRIVATE_KEY,
  DEVNET_URL,
  INPUT_TOKEN,
  INTENT_VERIFIER,
  OUTPUT_TOKEN,
} from './devnet/constants.ts'
import { catalogue, type ScopeDescription } from './keys/scope.ts'
import { SERVICE_PREFIX } from './keys/secret.ts'
import { isContractId, isWalletAddress } from './stacks/address.ts'
import { isNetwork, NETWORKS } from './stacks/network.ts'
import { DEVNET_ROUTERS, parseRouter, type Router } from './stacks/router.ts'
import { parseIpRange } from './wire/ip.ts'
import { isPublicHttp } from './wire/url.ts'

/** Of secp256k1 (SEC 2, s2.4.1). Lower-case hex of one length sorts as the numbers do. */
const CURVE_ORDER = 'fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141'
const ZERO = '0'.repeat(64)

/** A message has room for all of them, beside the longest limits: see `MAX_MESSAGE_BYTES`. */
const MAX_EXTRA_SCOPES = 28

/** Each costs the chain a request for a wallet. */
const MAX_ACCOUNT_TOKENS = 20

/** More STX than there will be. */
const MAX_MICRO_STX = 2_000_000_000_000_000

const text = z.string().trim().min(1)
const url = z
  .url({ protocol: /^https?$/, error: 'must be an http:// or https:// address' })
  .refine(
    (address) => !hasUserinfoOrFragment(address),
    'must have neither user:password@, which no request can carry, nor a #fragment; a credential may be in its path or query',
  )
const headerValue = z
  .string()
  .trim()
  .regex(/^[\x21-\x7e]+$/, 'must be printable ASCII characters without spaces, for a header')
const list = z
  .string()
  .transform((value) => value.split(',').map((part) => part.trim()))
  .transform((parts) => parts.filter((part) => part !== ''))
const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^[0-9]+$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().min(min, `must be ${min} or more`).max(max, `must be ${max} or less`))
const flag = z.enum(['true', 'false']).transform((value) => value === 'true')
const privateKey = z
  .string()
  .regex(/^(0x)?[0-9a-fA-F]{64}(01)?$/, 'must be 64 or 66 hexadecimal digits')
  .refine(isOnCurve, 'must be a private key of secp256k1')
const encryptionKeys = z
  .string()
  .trim()
  .refine(
    (value) => parseEncryptionKeys(value) !== undefined,
    'must be 32 bytes in base64, or several as id:base64,id:base64, each once',
  )
const ipRange = z
  .string()
  .refine(
    (value) => parseIpRange(value) !== undefined,
    'must be IP addresses or CIDR ranges without bits beyond their prefix, separated by commas',
  )

/** The parser's sentence names a parameter and no value. */
const databaseUrl = z
  .string()
  .regex(/^(pglite:.+|postgres(ql)?:\/\/.+)$/, 'must be pglite:<folder> or postgres://..')
  .superRefine((value, { addIssue }) => {
    const problem = value.startsWith('pglite:') ? undefined : connectionStringProblem(value)
    if (problem !== undefined) addIssue({ code: 'custom', message: problem })
  })

/** `read=See balances and positions`. */
const scope = z
  .string()
  .regex(/^[a-z][a-z0-9_-]{0,31}=[^;]{1,200}$/, 'must be name=description, separated by semicolons')
  .transform((text) => {
    const at = text.indexOf('=')
    return { name: text.slice(0, at), description: text.slice(at + 1).trim() }
  })

/** `committed:` before a contract id says that the uuids of its intents commit to their orders' terms. */
const routers = list
  .pipe(z.array(text).min(1, 'must be contract ids, separated by commas'))
  .transform((all) => all.map(parseRouter))

/** Exactly as browsers write it: any other spelling would never match. */
const origin = z
  .string()
  .regex(
    /^(\*|[a-z][a-z0-9+.-]*:\/\/[^\sA-Z/?#@*]+)$/,
    'must be * or origins as https://dex.example, separated by commas',
  )

/** As an Authority of HTTP: without a scheme, and with a port where it is no default one. */
const publicHost = z
  .string()
  .regex(
    /^([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$/,
    'must be hosts as dex.example or dex.example:8443, in lower case, separated by commas',
  )

const headerName = z
  .string()
  .regex(/^(\*|[A-Za-z0-9!#$%&'*+.^_`|~-]+)$/, 'must be * or names of headers, separated by commas')

const Environment = z.object({
  PORT: whole(0, 65_535).default(8787),
  HOST: text.default('127.0.0.1'),
  KEEP_ALIVE_SECONDS: whole(1, 3_600).default(65),
  DATABASE_URL: databaseUrl.default('pglite:.latchkey'),
  READ_DATABASE_URL: databaseUrl
    .refine((value) => !value.startsWith('pglite:'), 'must be postgres://.., a standby')
    .optional(),
  MAX_REPLICA_LAG_SECONDS: whole(1, 3_600).default(10),
  STACKS_NETWORK: z.enum(NETWORKS).default('devnet'),
  STACKS_API_URL: url.optional(),
  OPERATOR_PRIVATE_KEY: privateKey.optional(),
  OPERATOR_PRIVATE_KEYS: list
    .pipe(
      z
        .array(privateKey)
        .min(1, 'must be private keys, separated by commas')
        .max(100, 'must be 100 keys or fewer')
        .refine((keys) => new Set(keys.map(secretOf)).size === keys.length, 'names a key twice'),
    )
    .optional(),
  ROUTER_CONTRACT: routers.optional(),
  INTENT_VERIFIER_CONTRACT: text.optional(),
  STACKS_API_KEY: headerValue.optional(),
  QUOTE_URL: url.optional(),
  EXPLORER_URL: url.optional(),
  LEAK_REPORTS: z.enum(['off', 'github']).default('off'),
  GITHUB_KEYS_URL: url.default('https://api.github.com/meta/public_keys/secret_scanning'),
  WEBHOOKS: z.enum(['on', 'off']).default('on'),
  MAX_WEBHOOKS_PER_WALLET: whole(0, 100).default(5),
  WEBHOOK_TIMEOUT_MS: whole(100, 30_000).default(10_000),
  NOTICE_RETENTION_DAYS: whole(3, 3_650).default(30),
  ENCRYPTION_KEY: encryptionKeys.optional(),
  SLIPPAGE_BPS: whole(0, 10_000).default(100),
  ENFORCE_TARGET_PRICE: flag.default(true),
  CONFIRMATIONS: whole(1, 1_000).default(1),
  STUCK_AFTER_SECONDS: whole(1, 86_400).default(600),
  GIVE_UP_AFTER_SECONDS: whole(1, 172_800).default(3_600),
  MAX_FEE_IN_MICRO_STX: whole(3_000, 1_000_000_000).default(100_000),
  LOW_BALANCE_IN_MICRO_STX: whole(0, MAX_MICRO_STX).default(5_000_000),
  BALANCE_REQUESTS_PER_MINUTE: whole(0, 6_000).default(60),
  TREASURY_ADDRESS: text.optional(),
  TREASURY_MAX_PER_RUN_IN_MICRO_STX: whole(0, MAX_MICRO_STX).default(1_000_000_000),
  TREASURY_MAX_PER_DAY_IN_MICRO_STX: whole(0, MAX_MICRO_STX).default(5_000_000_000),
  OPERATOR_KEYS_FILE: text.optional(),
  MAX_SETTLING_PER_WALLET: whole(1, 2_500).default(10),
  MAX_FAILED_PER_WALLET_AND_DAY: whole(1, 10_000).default(20),
  MAX_BURNS_PER_WALLET_AND_DAY: whole(1, 10_000).default(40),
  MAX_REQUESTED_BURNS_PER_DAY: whole(0, 100_000).default(500),
  UNSEALED_ORDERS_UNTIL: z.iso
    .datetime({ offset: true, error: 'must be ISO 8601 with a zone, as 2026-01-15T10:00:00Z' })
    .optional(),
  NODE_TIMEOUT_MS: whole(100, 60_000).default(10_000),
  RECONCILE_INTERVAL_MS: whole(0, 3_600_000).default(2_000),
  SIGNATURE_MAX_AGE_SECONDS: whole(1, 86_400).default(300),
  SIGNED_DOMAIN: text.optional(),
  REQUIRE_SIGNED_DOMAIN: flag.default(false),
  PUBLIC_HOSTS: list.pipe(z.array(publicHost)).default([]),
  RATE_LIMIT_PER_MINUTE: whole(1, 1_000_000).default(100),
  RATE_LIMIT_PER_HOUR: whole(1, 10_000_000).default(1_000),
  RATE_LIMIT_PER_DAY: whole(1, 100_000_000).default(10_000),
  IP_RATE_LIMIT_PER_MINUTE: whole(1, 1_000_000).default(300),
  GATE_OBJECTS: whole(0, 256).default(4),
  MAX_ACTIVE_KEYS_PER_WALLET: whole(1, 10_000).default(10),
  MAX_KEYS_PER_WALLET: whole(1, 100_000).default(10_000),
  KEY_PREFIX: z
    .string()
    .regex(/^[a-z0-9_]{1,32}$/, 'must be 1-32 characters of a-z 0-9 _')
    .refine((prefix) => !prefix.startsWith('cs_'), 'must not begin as sessions do, with cs_')
    .refine(
      (prefix) => !prefix.startsWith(SERVICE_PREFIX),
      `must not begin as service credentials do, with ${SERVICE_PREFIX}`,
    )
    .default('ck_live_'),
  EXTRA_SCOPES: z
    .string()
    .transform((value) => value.split(';').map((part) => part.trim()))
    .transform((parts) => parts.filter((part) => part !== ''))
    .pipe(z.array(scope))
    .refine(isCatalogue, 'must not name a scope twice, or one of create, execute, cancel and read')
    .refine(
      (extra) => extra.length <= MAX_EXTRA_SCOPES,
      `must be ${MAX_EXTRA_SCOPES} scopes or fewer`,
    )
    .default([]),
  ACCOUNT_TOKENS: list
    .pipe(z.array(text).max(MAX_ACCOUNT_TOKENS, `must be ${MAX_ACCOUNT_TOKENS} tokens or fewer`))
    .optional(),
  TRUSTED_PROXIES: list.pipe(z.array(ipRange)).default([]),
  ALLOWED_ORIGINS: list.pipe(z.array(origin)).default(['*']),
  ALLOWED_HEADERS: list.pipe(z.array(headerName)).default(['*']),
  AUDIT_HEADS_FILE: text.optional(),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  ACCESS_LOG: z.enum(['all', 'failures', 'none']).default('none'),
  METRICS_PORT: whole(0, 65_535).optional(),
  METRICS_HOST: text.default('127.0.0.1'),
  OPERATOR_SOCKET: text.optional(),
})

/** Every variable that the service reads. */
export const ENVIRONMENT_NAMES: readonly string[] = Object.keys(Environment.shape)

type Read = z.output<typeof Environment>

/** A validated configuration. On devnet the chain's address and the encryption key may still be open: the entry makes them. */
export type Config = Omit<Read, 'OPERATOR_PRIVATE_KEY' | 'ROUTER_CONTRACT' | 'ACCOUNT_TOKENS'> & {
  /** The tokens whose balances GET /account shows, beside STX. */
  ACCOUNT_TOKENS: readonly string[]
  /** One at least: those of OPERATOR_PRIVATE_KEYS, or the one of OPERATOR_PRIVATE_KEY. */
  OPERATOR_PRIVATE_KEYS: string[]
  /** Of ROUTER_CONTRACT, one at least. */
  ROUTERS: readonly Router[]
  INTENT_VERIFIER_CONTRACT: string
}

/** Variables that only a devnet can do without: it generates them, and its keys are worth nothing to a relaying site. */
const NEEDED_OFF_DEVNET = [
  'STACKS_API_URL',
  'ROUTER_CONTRACT',
  'INTENT_VERIFIER_CONTRACT',
  'QUOTE_URL',
  'ENCRYPTION_KEY',
  'SIGNED_DOMAIN',
] as const

/**
 * Reads the environment. Throws one error that names every fault, and no value: some of them are secrets.
 */
export function readConfig(environment: Record<string, string | undefined>): Config {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  )
  const read = Environment.safeParse(given)
  const faults = [
    ...(read.error?.issues ?? []).map((issue) => `${String(issue.path[0])}: ${issue.message}`),
    ...validateCombinations(given),
  ]
  if (!read.success || faults.length > 0)
    throw new Error(
      `The configuration has faults:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    )
  const {
    OPERATOR_PRIVATE_KEY = DEVNET_OPERATOR_PRIVATE_KEY,
    ROUTER_CONTRACT,
    ACCOUNT_TOKENS,
    ...rest
  } = read.data
  return {
    ...rest,
    OPERATOR_PRIVATE_KEYS: rest.OPERATOR_PRIVATE_KEYS ?? [OPERATOR_PRIVATE_KEY],
    ROUTERS: ROUTER_CONTRACT ?? DEVNET_ROUTERS,
    PUBLIC_HOSTS: publicHostsOf(rest),
    REQUIRE_SIGNED_DOMAIN: rest.REQUIRE_SIGNED_DOMAIN || rest.STACKS_NETWORK !== 'devnet',
    INTENT_VERIFIER_CONTRACT: rest.INTENT_VERIFIER_CONTRACT ?? INTENT_VERIFIER,
    ACCOUNT_TOKENS:
      ACCOUNT_TOKENS ?? (rest.STACKS_NETWORK === 'devnet' ? [INPUT_TOKEN, OUTPUT_TOKEN] : []),
  }
}

/** A domain that is signed for is the host of the service unless it is told otherwise. */
function publicHostsOf({ PUBLIC_HOSTS, SIGNED_DOMAIN }: Read): string[] {
  if (PUBLIC_HOSTS.length > 0 || SIGNED_DOMAIN === undefined) return PUBLIC_HOSTS
  return [SIGNED_DOMAIN.toLowerCase()]
}

const ChainAccess = Environment.pick({
  STACKS_NETWORK: true,
  STACKS_API_URL: true,
  STACKS_API_KEY: true,
  INTENT_VERIFIER_CONTRACT: true,
})

/** The variables by which the chain is reached: who deploys a router has no other secret of the service. */
export function readChainConfig(environment: Record<string, string | undefined>): {
  network: Config['STACKS_NETWORK']
  apiUrl: string
  apiKey: string | undefined
  verifier: string
} {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  )
  const read = ChainAccess.safeParse(given)
  if (!read.success)
    throw new Error(
      read.error.issues.map(({ path, message }) => `${String(path[0])}: ${message}`).join('\n'),
    )
  const { STACKS_NETWORK: network, STACKS_API_KEY: apiKey } = read.data
  const apiUrl = read.data.STACKS_API_URL ?? (network === 'devnet' ? DEVNET_URL : undefined)
  const verifier =
    read.data.INTENT_VERIFIER_CONTRACT ?? (network === 'devnet' ? INTENT_VERIFIER : undefined)
  if (apiUrl === undefined) throw new Error(`STACKS_API_URL: is needed on ${network}`)
  if (verifier === undefined) throw new Error(`INTENT_VERIFIER_CONTRACT: is needed on ${network}`)
  if (!isContractId(verifier, network))
    throw new Error(`INTENT_VERIFIER_CONTRACT: must be a contract id of ${network}`)
  return { network, apiUrl, apiKey, verifier }
}

/** Rules between variables, whether or not each is well formed. */
function validateCombinations(given: Record<string, string | undefined>): string[] {
  const faults: string[] = []
  if (given.OPERATOR_PRIVATE_KEY !== undefined && given.OPERATOR_PRIVATE_KEYS !== undefined)
    faults.push('OPERATOR_PRIVATE_KEYS: takes the place of OPERATOR_PRIVATE_KEY; set one of them')
  if (given.OPERATOR_KEYS_FILE !== undefined && given.OPERATOR_PRIVATE_KEYS === undefined)
    faults.push('OPERATOR_KEYS_FILE: is read on Node only; set OPERATOR_PRIVATE_KEYS')
  if (given.READ_DATABASE_URL !== undefined && !given.DATABASE_URL?.startsWith('postgres'))
    faults.push('READ_DATABASE_URL: needs a DATABASE_URL of Postgres, whose standby it is')
  const { MAX_ACTIVE_KEYS_PER_WALLET: live = '10', MAX_KEYS_PER_WALLET: made = '10000' } = given
  if (Number(made) < Number(live))
    faults.push('MAX_KEYS_PER_WALLET: must be at least MAX_ACTIVE_KEYS_PER_WALLET')
  const network = given.STACKS_NETWORK ?? 'devnet'
  if (!isNetwork(network)) return faults
  for (const name of ['ROUTER_CONTRACT', 'INTENT_VERIFIER_CONTRACT', 'ACCOUNT_TOKENS'] as const)
    for (const contract of given[name]?.split(',') ?? [])
      if (!isContractId(parseRouter(contract.trim()).contract, network))
        faults.push(`${name}: must be a contract id of ${network}`)
  if (given.TREASURY_ADDRESS !== undefined && !isWalletAddress(given.TREASURY_ADDRESS, network))
    faults.push(`TREASURY_ADDRESS: must be an address of ${network}`)
  if (network === 'devnet') {
    if (given.REQUIRE_SIGNED_DOMAIN === 'true' && given.SIGNED_DOMAIN === undefined)
      faults.push('SIGNED_DOMAIN: is needed when REQUIRE_SIGNED_DOMAIN is true')
    return faults
  }
  if (given.REQUIRE_SIGNED_DOMAIN === 'false')
    faults.push(
      `REQUIRE_SIGNED_DOMAIN: is always true on ${network}: a message without domain could be relayed by another site`,
    )
  if (network === 'mainnet' && isPublicHttp(given.QUOTE_URL ?? ''))
    faults.push(
      'QUOTE_URL: must be https://, or lead to a host of a private network: a quote decides what a swap pays at least',
    )
  for (const name of NEEDED_OFF_DEVNET)
    if (given[name] === undefined) faults.push(`${name}: is needed on ${network}`)
  if (given.OPERATOR_PRIVATE_KEY === undefined && given.OPERATOR_PRIVATE_KEYS === undefined)
    faults.push(`OPERATOR_PRIVATE_KEY: is needed on ${network}, or OPERATOR_PRIVATE_KEYS`)
  for (const name of ['OPERATOR_PRIVATE_KEY', 'OPERATOR_PRIVATE_KEYS'] as const)
    if (given[name]?.split(',').some(isDevnets))
      faults.push(`${name}: is the devnet's, which is published`)
  return faults
}

function hasUserinfoOrFragment(address: string): boolean {
  const { username, password, hash } = URL.parse(address) ?? {}
  return Boolean(username || password || hash)
}

function isDevnets(privateKey: string): boolean {
  return secretOf(privateKey.trim()) === secretOf(DEVNET_OPERATOR_PRIVATE_KEY)
}

function isOnCurve(privateKey: string): boolean {
  const secret = secretOf(privateKey)
  return !/^[0-9a-f]{64}$/.test(secret) || (secret > ZERO && secret < CURVE_ORDER)
}

/** The 64 significant digits of a private key, however it is written. */
function secretOf(privateKey: string): string {
  return privateKey.toLowerCase().replace(/^0x/, '').slice(0, 64)
}

function isCatalogue(extra: readonly ScopeDescription[]): boolean {
  const names = catalogue(extra).map(({ name }) => name)
  return new Set(names).size === names.length
}
