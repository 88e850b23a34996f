import { describe, expect, it } from 'vitest'
import {
  COMMITTED_ROUTER,
  DEVNET_OPERATOR_PRIVATE_KEY,
  INPUT_TOKEN,
  INTENT_VERIFIER,
  OUTPUT_TOKEN,
  ROUTER,
} from '../src/devnet/constants.ts'
import { readConfig } from '../src/env.ts'
import { findDoubts } from '../src/env-warnings.ts'

const SECRET_KEY = `${'5ec2e7'.repeat(10)}abcd01`
const SECRET_BASE64 = Buffer.alloc(32, 'secret').toString('base64')
const mainnet = {
  STACKS_NETWORK: 'mainnet',
  STACKS_API_URL: 'https://api.example',
  OPERATOR_PRIVATE_KEY: SECRET_KEY,
  ROUTER_CONTRACT: 'SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7.router',
  INTENT_VERIFIER_CONTRACT: 'SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7.verifier',
  QUOTE_URL: 'https://quote.example/q',
  SIGNED_DOMAIN: 'dex.example',
  ENCRYPTION_KEY: SECRET_BASE64,
}

describe('The configuration', () => {
  it('has a default for everything on devnet', () => {
    expect(readConfig({})).toEqual({
      WEBHOOKS: 'on',
      MAX_WEBHOOKS_PER_WALLET: 5,
      WEBHOOK_TIMEOUT_MS: 10_000,
      NOTICE_RETENTION_DAYS: 30,
      LEAK_REPORTS: 'off',
      GITHUB_KEYS_URL: 'https://api.github.com/meta/public_keys/secret_scanning',
      PORT: 8787,
      PUBLIC_HOSTS: [],
      HOST: '127.0.0.1',
      KEEP_ALIVE_SECONDS: 65,
      DATABASE_URL: 'pglite:.latchkey',
      MAX_REPLICA_LAG_SECONDS: 10,
      STACKS_NETWORK: 'devnet',
      GATE_OBJECTS: 4,
      OPERATOR_PRIVATE_KEYS: [DEVNET_OPERATOR_PRIVATE_KEY],
      ROUTERS: [
        { contract: ROUTER, commits: false },
        { contract: COMMITTED_ROUTER, commits: true },
      ],
      INTENT_VERIFIER_CONTRACT: INTENT_VERIFIER,
      SLIPPAGE_BPS: 100,
      ENFORCE_TARGET_PRICE: true,
      CONFIRMATIONS: 1,
      STUCK_AFTER_SECONDS: 600,
      GIVE_UP_AFTER_SECONDS: 3_600,
      MAX_FEE_IN_MICRO_STX: 100_000,
      LOW_BALANCE_IN_MICRO_STX: 5_000_000,
      BALANCE_REQUESTS_PER_MINUTE: 60,
      TREASURY_MAX_PER_RUN_IN_MICRO_STX: 1_000_000_000,
      TREASURY_MAX_PER_DAY_IN_MICRO_STX: 5_000_000_000,
      MAX_SETTLING_PER_WALLET: 10,
      MAX_FAILED_PER_WALLET_AND_DAY: 20,
      MAX_BURNS_PER_WALLET_AND_DAY: 40,
      MAX_REQUESTED_BURNS_PER_DAY: 500,
      NODE_TIMEOUT_MS: 10_000,
      RECONCILE_INTERVAL_MS: 2_000,
      SIGNATURE_MAX_AGE_SECONDS: 300,
      REQUIRE_SIGNED_DOMAIN: false,
      RATE_LIMIT_PER_MINUTE: 100,
      RATE_LIMIT_PER_HOUR: 1_000,
      RATE_LIMIT_PER_DAY: 10_000,
      IP_RATE_LIMIT_PER_MINUTE: 300,
      MAX_ACTIVE_KEYS_PER_WALLET: 10,
      MAX_KEYS_PER_WALLET: 10_000,
      KEY_PREFIX: 'ck_live_',
      EXTRA_SCOPES: [],
      ACCOUNT_TOKENS: [INPUT_TOKEN, OUTPUT_TOKEN],
      TRUSTED_PROXIES: [],
      ALLOWED_ORIGINS: ['*'],
      ALLOWED_HEADERS: ['*'],
      LOG_LEVEL: 'info',
      ACCESS_LOG: 'none',
      METRICS_HOST: '127.0.0.1',
    })
  })

  it('takes an empty variable for an absent one', () => {
    expect(readConfig({ PORT: '', STACKS_API_URL: '' })).toEqual(readConfig({}))
  })

  it('reads what is given', () => {
    expect(
      readConfig({
        ...mainnet,
        PORT: '80',
        TRUSTED_PROXIES: '10.0.0.0/8, ::1,192.0.2.1',
        ALLOWED_ORIGINS: 'https://a.example, https://b.example',
        REQUIRE_SIGNED_DOMAIN: 'true',
        SIGNED_DOMAIN: 'dex.example',
      }),
    ).toMatchObject({
      STACKS_NETWORK: 'mainnet',
      STACKS_API_URL: mainnet.STACKS_API_URL,
      OPERATOR_PRIVATE_KEYS: [SECRET_KEY],
      PORT: 80,
      TRUSTED_PROXIES: ['10.0.0.0/8', '::1', '192.0.2.1'],
      ALLOWED_ORIGINS: ['https://a.example', 'https://b.example'],
      REQUIRE_SIGNED_DOMAIN: true,
    })
  })

  it.each([
    'STACKS_API_URL',
    'QUOTE_URL',
  ])('keeps the address of %s whole, or refuses it', (name) => {
    for (const address of [
      'https://api.example',
      'https://api.example/key/',
      'https://api.example/?apikey=K&b=%20',
    ])
      expect(readConfig({ ...mainnet, [name]: address })).toMatchObject({ [name]: address })
    for (const address of [
      'https://user:hunter2@api.example',
      'https://hunter2@api.example',
      'https://api.example/#hunter2',
    ]) {
      const read = () => readConfig({ ...mainnet, [name]: address })
      expect(read).toThrow(/must have neither user:password@.*nor a #fragment/)
      expect(read).not.toThrow(/hunter2/)
    }
  })

  it('takes a replica of a Postgres only', () => {
    const replica = 'postgres://reader@b.example/db'
    expect(() => readConfig({ READ_DATABASE_URL: replica })).toThrow(
      'READ_DATABASE_URL: needs a DATABASE_URL of Postgres, whose standby it is',
    )
    const primary = { DATABASE_URL: 'postgresql://latchkey@a.example/db' }
    expect(() => readConfig({ ...primary, READ_DATABASE_URL: 'pglite:copy' })).toThrow(
      'READ_DATABASE_URL: must be postgres://.., a standby',
    )
    expect(readConfig({ ...primary, READ_DATABASE_URL: replica })).toMatchObject({
      READ_DATABASE_URL: replica,
      MAX_REPLICA_LAG_SECONDS: 10,
    })
  })

  it.each(['a b', 'a\nb', 'é'])('refuses a STACKS_API_KEY that no header can carry: %j', (key) => {
    expect(() => readConfig({ STACKS_API_KEY: key })).toThrow(
      /STACKS_API_KEY: must be printable ASCII/,
    )
  })

  it.each(['a b', 'a:', 'é'])('refuses ALLOWED_HEADERS that no header is called: %j', (name) => {
    expect(() => readConfig({ ALLOWED_HEADERS: `traceparent, ${name}` })).toThrow(
      /ALLOWED_HEADERS: must be \* or names of headers/,
    )
  })

  it('names all its faults in one message, and none of its values', () => {
    const faulty = {
      PORT: '65536-port',
      HOST: ' ',
      DATABASE_URL: 'mysql://user:pa55word@host/db',
      STACKS_NETWORK: 'mocknet-net',
      STACKS_API_URL: 'ftp://user:pa55word@host',
      OPERATOR_PRIVATE_KEY: `${SECRET_KEY}zz`,
      ROUTER_CONTRACT: 'no-contract-id',
      QUOTE_URL: 'quote-url',
      ENCRYPTION_KEY: SECRET_BASE64.slice(4),
      SIGNATURE_MAX_AGE_SECONDS: '0.5',
      REQUIRE_SIGNED_DOMAIN: 'yes-please',
      RATE_LIMIT_PER_MINUTE: '-77',
      RATE_LIMIT_PER_HOUR: 'NaN-hours',
      RATE_LIMIT_PER_DAY: '1e99',
      IP_RATE_LIMIT_PER_MINUTE: '00x',
      MAX_ACTIVE_KEYS_PER_WALLET: '0',
      KEY_PREFIX: 'CK-LIVE-UPPER',
      EXTRA_SCOPES: 'execute=All of it',
      TRUSTED_PROXIES: '10.0.0.0/99, all-of-them',
      LOG_LEVEL: 'loudest',
    }
    const message = `${faultOf(faulty)}\n${faultOf({ ...faulty, STACKS_NETWORK: undefined })}`
    for (const [name, value] of Object.entries(faulty)) {
      expect(message, name).toContain(`${name}: `)
      if (value.trim().length > 4) expect(message, name).not.toContain(value)
    }
    expect(message).not.toMatch(/pa55word|5ec2e7/)
    expect(message.split('\n').length - 1).toBeGreaterThanOrEqual(Object.keys(faulty).length)
  })

  it('lets a wallet make as many keys as it may have alive', () => {
    const limits = { MAX_KEYS_PER_WALLET: '20', MAX_ACTIVE_KEYS_PER_WALLET: '21' }
    expect(faultOf(limits)).toContain('MAX_KEYS_PER_WALLET: must be at least')
    expect(faultOf({ MAX_KEYS_PER_WALLET: '9' })).toContain('MAX_KEYS_PER_WALLET: must be at least')
  })

  it('lets no key look like a session', () => {
    expect(faultOf({ KEY_PREFIX: 'cs_live_' })).toContain('KEY_PREFIX: ')
  })

  it.each([
    'STACKS_API_URL',
    'OPERATOR_PRIVATE_KEY',
    'ROUTER_CONTRACT',
    'INTENT_VERIFIER_CONTRACT',
    'QUOTE_URL',
    'ENCRYPTION_KEY',
    'SIGNED_DOMAIN',
  ])('needs %s off devnet, and says so beside every other fault', (name) => {
    const message = faultOf({ ...mainnet, [name]: undefined, PORT: 'x' })
    expect(message).toContain(`${name}: is needed on mainnet`)
    expect(message).toContain('PORT: ')
  })

  it('requires the domain of every message off devnet, and cannot be told otherwise', () => {
    expect(readConfig(mainnet).REQUIRE_SIGNED_DOMAIN).toBe(true)
    expect(faultOf({ ...mainnet, REQUIRE_SIGNED_DOMAIN: 'false' })).toContain(
      'REQUIRE_SIGNED_DOMAIN: is always true on mainnet',
    )
    expect(faultOf({ REQUIRE_SIGNED_DOMAIN: 'true' })).toContain('SIGNED_DOMAIN: is needed')
    expect(readConfig({ SIGNED_DOMAIN: 'dex.example' }).REQUIRE_SIGNED_DOMAIN).toBe(false)
  })

  it.each([
    DEVNET_OPERATOR_PRIVATE_KEY,
    DEVNET_OPERATOR_PRIVATE_KEY.toUpperCase(),
    `0x${DEVNET_OPERATOR_PRIVATE_KEY}`,
    DEVNET_OPERATOR_PRIVATE_KEY.slice(0, 64),
  ])("refuses the devnet's operator off devnet, however it is written", (key) => {
    const message = faultOf({ ...mainnet, OPERATOR_PRIVATE_KEY: key })
    expect(message).toContain('OPERATOR_PRIVATE_KEY: ')
    expect(message).not.toContain(key)
  })

  it('takes several operator keys in the place of one, each once, none of them the devnet’s', () => {
    const { OPERATOR_PRIVATE_KEY: _, ...rest } = mainnet
    const other = `${'5ec2e8'.repeat(10)}abcd01`
    const several = (OPERATOR_PRIVATE_KEYS: string) => ({ ...rest, OPERATOR_PRIVATE_KEYS })
    expect(readConfig(several(`${SECRET_KEY}, ${other}`)).OPERATOR_PRIVATE_KEYS).toEqual([
      SECRET_KEY,
      other,
    ])
    for (const keys of [
      ',',
      'key',
      `${SECRET_KEY},0x${SECRET_KEY}`,
      `${other},${DEVNET_OPERATOR_PRIVATE_KEY}`,
    ])
      expect(faultOf(several(keys))).toContain('OPERATOR_PRIVATE_KEYS: ')
    expect(faultOf({ ...mainnet, OPERATOR_PRIVATE_KEYS: other })).toContain('set one of them')
  })

  it.each([
    ['31 bytes', Buffer.alloc(31, 1).toString('base64')],
    ['33 bytes', Buffer.alloc(33, 1).toString('base64')],
    ['base64url', Buffer.alloc(32, 255).toString('base64url')],
    ['hexadecimal', 'ab'.repeat(32)],
    ['two keys', `${SECRET_BASE64} ${SECRET_BASE64}`],
    ['one key twice', `a:${SECRET_BASE64},b:${SECRET_BASE64}`],
  ])('refuses an encryption key of %s', (_, key) => {
    expect(faultOf({ ENCRYPTION_KEY: key })).toContain('ENCRYPTION_KEY: must be 32 bytes in base64')
  })

  it.each([
    '0'.repeat(64),
    `${'f'.repeat(64)}01`,
    `0x${'0'.repeat(64)}01`,
  ])('refuses an operator key that is no key of the curve', (key) => {
    expect(faultOf({ OPERATOR_PRIVATE_KEY: key })).toContain('OPERATOR_PRIVATE_KEY: ')
  })

  it.each([
    '',
    'x',
    'router',
    'SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7',
    ROUTER,
    `${mainnet.ROUTER_CONTRACT}.x`,
  ])('refuses the router %j on mainnet', (router) => {
    expect(faultOf({ ...mainnet, ROUTER_CONTRACT: router })).toContain('ROUTER_CONTRACT: ')
  })

  it.each(['1e3', '0x10', '1.0', ' ', '+5', '-0', '1_000', '٣'])('refuses the port %j', (port) => {
    expect(faultOf({ PORT: port })).toContain('PORT: must be a whole number')
  })

  it.each([
    'dex.example',
    'https://dex.example/',
    'https://dex.example/app',
    'https://*.example',
    'null',
  ])('refuses %s as an origin: no browser sends it', (origin) => {
    expect(faultOf({ ALLOWED_ORIGINS: `https://a.example,${origin}` })).toContain(
      'ALLOWED_ORIGINS: ',
    )
  })
})

function faultOf(environment: Record<string, string | undefined>): string {
  try {
    readConfig(environment)
  } catch (error) {
    return (error as Error).message
  }
  return expect.unreachable('the configuration has no fault')
}

describe('Settings that are probably not meant', () => {
  const doubtsOf = (env: Record<string, string>) => findDoubts(env, readConfig(env))

  it('are none of the defaults, of a usual environment, or of a usual mainnet', () => {
    const usual = { PATH: '/bin', HOME: '/root', HOSTNAME: 'a', API_KEY: 'x', URL: 'y', PORTS: '1' }
    const others = { DATABASE: 'x', LATCHKEY_PORT: 'tcp://1', PGHOST: 'h', npm_config_port: '1' }
    expect(doubtsOf({ ...usual, ...others })).toEqual([])
    const database = { DATABASE_URL: 'postgres://a:b@c/d' }
    expect(doubtsOf({ ...mainnet, ...database })).toEqual([])
  })

  it.each([
    ['RATE_LIMIT_PER_MINUT', 'RATE_LIMIT_PER_MINUTE'],
    ['RATE_LIMIT_MINUTE', 'RATE_LIMIT_PER_MINUTE'],
    ['rate_limit_per_hour', 'RATE_LIMIT_PER_HOUR'],
    ['TRUSTED_PROXY', 'TRUSTED_PROXIES'],
    ['TRUSTED-PROXIES', 'TRUSTED_PROXIES'],
    ['ENCRYPTION_KEYS', 'ENCRYPTION_KEY'],
    ['ENCRYPTON_KEY', 'ENCRYPTION_KEY'],
    ['OPERATOR_KEY', 'OPERATOR_PRIVATE_KEY'],
    ['ALLOWED_ORIGIN', 'ALLOWED_ORIGINS'],
    ['port', 'PORT'],
  ])('are names that nothing reads: %s', (name, meant) => {
    expect(doubtsOf({ [name]: 'hunter2' })).toEqual([`${name}: is not read; ${meant} is`])
  })

  it.each([
    [{ RATE_LIMIT_PER_MINUTE: '1000', RATE_LIMIT_PER_HOUR: '10' }, 'RATE_LIMIT_PER_MINUTE'],
    [{ RATE_LIMIT_PER_DAY: '500' }, 'RATE_LIMIT_PER_HOUR'],
    [{ STUCK_AFTER_SECONDS: '4000' }, 'STUCK_AFTER_SECONDS'],
    [{ TRUSTED_PROXIES: '10.0.0.0/8,0.0.0.0/0' }, 'TRUSTED_PROXIES'],
    [{ TRUSTED_PROXIES: '::/0' }, 'TRUSTED_PROXIES'],
    [{ ALLOWED_ORIGINS: '*,https://dex.example' }, 'ALLOWED_ORIGINS'],
    [{ EXPLORER_URL: 'https://explorer.example/tx' }, 'EXPLORER_URL'],
    [{ ACCESS_LOG: 'all', LOG_LEVEL: 'warn' }, 'ACCESS_LOG'],
    [{ METRICS_HOST: '0.0.0.0' }, 'METRICS_HOST'],
    [{ NODE_TLS_REJECT_UNAUTHORIZED: '0' }, 'NODE_TLS_REJECT_UNAUTHORIZED'],
    [{ ...mainnet }, 'DATABASE_URL'],
    [
      { ...mainnet, DATABASE_URL: 'postgres://a:b@c/d', STACKS_API_URL: 'http://api.example' },
      'STACKS_API_URL',
    ],
  ])('contradict each other: %j', (env: Record<string, string>, name) => {
    expect(doubtsOf(env)).toEqual([expect.stringMatching(`^${name}: `)])
  })

  it.each([
    ['http://quote.example/q', false],
    ['http://8.8.8.8/q', false],
    ['http://[2001:db8::1]/q', false],
    ['https://quote.example/q', true],
    ['http://127.0.0.1:9/q', true],
    ['http://localhost/q', true],
    ['http://quotes:8080/q', true],
    ['http://quotes.dex.svc/q', true],
    ['http://quotes.dex.svc.cluster.local/q', true],
    ['http://10.1.2.3/q', true],
    ['http://[fd00::1]/q', true],
  ])('are refused where they decide about money: a quote of mainnet from %s, %s', (url, isTaken) => {
    const read = () => readConfig({ ...mainnet, QUOTE_URL: url })
    if (isTaken) expect(read().QUOTE_URL).toBe(url)
    else expect(read).toThrow('QUOTE_URL: must be https://')
  })
})
