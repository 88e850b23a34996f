import { z } from 'zod'
import { DEVNET_OPERATOR_PRIVATE_KEY, ROUTER } from './devnet/facts.ts'
import { NETWORKS } from './stacks/network.ts'

const text = z.string().trim().min(1)
const url = z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// address' })
const list = z
  .string()
  .transform((value) => value.split(',').map((part) => part.trim()))
  .transform((parts) => parts.filter((part) => part !== ''))
const whole = (min: number, max: number) =>
  z.coerce.number().int().min(min, `must be ${min} or more`).max(max, `must be ${max} or less`)
const flag = z.enum(['true', 'false']).transform((value) => value === 'true')
const privateKey = z
  .string()
  .regex(/^(0x)?[0-9a-fA-F]{64}(01)?$/, 'must be 64 or 66 hexadecimal digits')
const encryptionKey = z
  .base64('must be base64')
  .refine((value) => value.length === 44 && value.endsWith('='), 'must be 32 bytes in base64')
const cidr = z
  .union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()])
  .catch((context) => context.value as string)
  .refine(
    (value) => z.union([z.cidrv4(), z.cidrv6(), z.ipv4(), z.ipv6()]).safeParse(value).success,
    {
      error: 'must be IP addresses or CIDR ranges, separated by commas',
    },
  )

const Environment = z.object({
  PORT: whole(0, 65_535).default(8787),
  HOST: text.default('127.0.0.1'),
  DATABASE_URL: z
    .string()
    .regex(/^(pglite:.+|postgres(ql)?:\/\/.+)$/, 'must be pglite:<folder> or postgres://..')
    .default('pglite:.latchkey'),
  STACKS_NETWORK: z.enum(NETWORKS).default('devnet'),
  STACKS_API_URL: url.optional(),
  OPERATOR_PRIVATE_KEY: privateKey.optional(),
  ROUTER_CONTRACT: text.optional(),
  QUOTE_URL: url.optional(),
  ENCRYPTION_KEY: encryptionKey.optional(),
  SIGNATURE_MAX_AGE_SECONDS: whole(1, 86_400).default(300),
  SIGNED_DOMAIN: text.optional(),
  REQUIRE_SIGNED_DOMAIN: flag.default(false),
  RATE_LIMIT_PER_MINUTE: whole(1, 1_000_000).default(100),
  RATE_LIMIT_PER_HOUR: whole(1, 10_000_000).default(1_000),
  RATE_LIMIT_PER_DAY: whole(1, 100_000_000).default(10_000),
  IP_RATE_LIMIT_PER_MINUTE: whole(1, 1_000_000).default(300),
  MAX_ACTIVE_KEYS_PER_WALLET: whole(1, 10_000).default(10),
  KEY_PREFIX: z
    .string()
    .regex(/^[a-z0-9_]{1,32}$/, 'must be 1-32 characters of a-z 0-9 _')
    .default('ck_live_'),
  TRUSTED_PROXIES: list.pipe(z.array(cidr)).default([]),
  ALLOWED_ORIGINS: list.default(['*']),
  LOG_LEVEL: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
})

type Read = z.output<typeof Environment>

/** A validated configuration. On devnet the chain's address and the encryption key may still be open: the entry makes them. */
export type Config = Read & { OPERATOR_PRIVATE_KEY: string; ROUTER_CONTRACT: string }

/** What only a devnet can do without, because it makes its own. */
const NEEDED_OFF_DEVNET = [
  'STACKS_API_URL',
  'OPERATOR_PRIVATE_KEY',
  'ROUTER_CONTRACT',
  'QUOTE_URL',
  'ENCRYPTION_KEY',
] as const

/**
 * Reads the environment. Throws one error that names every fault, and no value: some of them are secrets.
 */
export function readConfig(environment: Record<string, string | undefined>): Config {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  )
  const read = Environment.safeParse(given)
  const faults = read.success
    ? faultsAcross(read.data)
    : read.error.issues.map((issue) => `${String(issue.path[0])}: ${issue.message}`)
  if (!read.success || faults.length > 0)
    throw new Error(
      `The configuration has faults:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    )
  return {
    ...read.data,
    OPERATOR_PRIVATE_KEY: read.data.OPERATOR_PRIVATE_KEY ?? DEVNET_OPERATOR_PRIVATE_KEY,
    ROUTER_CONTRACT: read.data.ROUTER_CONTRACT ?? ROUTER,
  }
}

function faultsAcross(config: Read): string[] {
  const faults: string[] = []
  if (config.REQUIRE_SIGNED_DOMAIN && config.SIGNED_DOMAIN === undefined)
    faults.push('SIGNED_DOMAIN: is needed when REQUIRE_SIGNED_DOMAIN is true')
  if (config.STACKS_NETWORK === 'devnet') return faults
  for (const name of NEEDED_OFF_DEVNET)
    if (config[name] === undefined) faults.push(`${name}: is needed on ${config.STACKS_NETWORK}`)
  if (config.OPERATOR_PRIVATE_KEY === DEVNET_OPERATOR_PRIVATE_KEY)
    faults.push(`OPERATOR_PRIVATE_KEY: is the devnet's, which everybody knows`)
  return faults
}
