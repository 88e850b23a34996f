import * as z from 'zod'
import { unusableReason } from '../db/database.ts'
import { INPUT_TOKEN, OUTPUT_TOKEN } from '../devnet/constants.ts'
import { readBody } from '../http/body.ts'
import { type AppContext, stateOf } from '../http/context.ts'
import { limitByAddress } from '../http/credentials/address.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { unwrap } from '../http/problem.ts'
import { respond } from '../http/respond.ts'
import { catalogue } from '../keys/scope.ts'
import { ok, refuse } from '../result.ts'
import { isContractId, isStacksAddress } from '../stacks/address.ts'
import { INTENT_DOMAIN } from '../stacks/intent.ts'
import { chainId, type Network } from '../stacks/network.ts'
import { VERSION } from '../version.ts'
import { originOf } from '../wire/url.ts'

const Limits = z.object({ perMinute: z.int(), perHour: z.int(), perDay: z.int() })

const InfoResponse = z
  .object({
    network: z.string(),
    chainId: z.int(),
    routerContract: z
      .string()
      .meta({ description: 'The router of orders that commit to nothing.' }),
    routers: z.array(z.object({ contract: z.string(), commits: z.boolean() })).meta({
      description:
        'Every router that an order may name, and whether its uuids commit to their terms.',
    }),
    operators: z.array(z.string()).meta({ description: 'The addresses that execute orders.' }),
    intentDomain: z.object({ name: z.string(), version: z.string(), 'chain-id': z.int() }),
    signedDomain: z.string().optional(),
    scopes: z.array(z.string()),
    keyPrefix: z.string().meta({ description: 'What every secret of a key begins with.' }),
    limits: z.object({
      key: Limits,
      ipPerMinute: z.int(),
      maxActiveKeysPerWallet: z.int(),
      signatureMaxAgeSeconds: z.int(),
    }),
    version: z.string(),
    callerAddress: z.string().meta({ description: 'The address that this request came from.' }),
    explorerUrl: z.string().optional().meta({
      description:
        'Where a transaction can be looked at: `{txid}` stands for its id. Not on devnet.',
    }),
    devnet: z
      .object({
        inputToken: z.string(),
        outputToken: z.string(),
        faucet: z.string(),
        stacksApiUrl: z.string(),
      })
      .optional(),
  })
  .meta({ id: 'Info' })

const ScopesResponse = z.object({
  status: z.literal('success'),
  scopes: z.array(z.object({ name: z.string(), description: z.string() })),
})
const FaucetBody = z.strictObject({ address: z.string() })
const FaucetResponse = z.object({
  status: z.literal('success'),
  address: z.string(),
  balances: z.record(z.string(), z.unknown()),
})
const TimeResponse = z.object({
  serverTime: z.int().meta({ description: 'Milliseconds since 1970.' }),
  iso: z.iso.datetime(),
})
const TokenParams = z.object({
  contractId: z.string().meta({ example: INPUT_TOKEN, description: 'Or .stx.' }),
})
const TokenResponse = z
  .object({
    status: z.literal('success'),
    contractId: z.string(),
    symbol: z.string(),
    decimals: z.int().meta({
      description: 'Amounts are in units of 10 to the power of minus this.',
    }),
  })
  .meta({ id: 'Token' })
const HealthResponse = z.object({ status: z.literal('ok') })
const ReadyResponse = z.object({
  status: z.literal('ready'),
  clock: z.object({ aheadMs: z.int(), differs: z.boolean() }).meta({
    description: "This process's own clock against Postgres', whose time the service uses.",
  }),
})

/** Endpoints about the service itself. */
export const serviceEndpoints: readonly Endpoint[] = [
  {
    method: 'get',
    path: '/info',
    operationId: 'getInfo',
    summary: 'What a client needs to sign messages and orders',
    credentials: ['none'],
    responses: { 200: { description: 'Network, contracts and limits', schema: InfoResponse } },
    refusals: [],
    handle(c) {
      limitByAddress(c)
      return respond(c, info(c))
    },
  },
  {
    method: 'get',
    path: '/scopes',
    operationId: 'listScopes',
    summary: 'What a key may be allowed',
    description:
      'create, execute, cancel and read are enforced by this service. The operator may define others: keys carry them, and GET /me shows them to the services that enforce them.',
    credentials: ['none'],
    responses: { 200: { description: 'The scopes', schema: ScopesResponse } },
    refusals: [],
    handle(c) {
      limitByAddress(c)
      return respond(c, {
        status: 'success',
        scopes: catalogue(stateOf(c).world.config.EXTRA_SCOPES),
      })
    },
  },
  {
    method: 'get',
    path: '/tokens/{contractId}',
    operationId: 'getToken',
    summary: "How a token's amounts are written",
    description: 'The symbol is what the contract says of itself: any contract may say any symbol.',
    credentials: ['none'],
    params: TokenParams,
    responses: { 200: { description: 'Symbol and decimals', schema: TokenResponse } },
    refusals: ['tokenNotFound', 'unavailable'],
    async handle(c) {
      limitByAddress(c)
      const contractId = c.req.param('contractId') ?? ''
      const facts = await tokenFacts(c, contractId)
      if (facts === undefined) return unwrap(refuse('unavailable', { reason: 'chain' }))
      if (facts === 'absent') return unwrap(refuse('tokenNotFound'))
      return respond(c, { status: 'success', contractId, ...facts })
    },
  },
  {
    method: 'get',
    path: '/time',
    operationId: 'getTime',
    summary: "The service's clock",
    credentials: ['none'],
    responses: { 200: { description: 'Now', schema: TimeResponse } },
    refusals: [],
    handle(c) {
      limitByAddress(c)
      return respond(c, { serverTime: stateOf(c).now, iso: new Date(stateOf(c).now).toISOString() })
    },
  },
  {
    method: 'get',
    path: '/health',
    operationId: 'getHealth',
    summary: 'Liveness',
    credentials: ['none'],
    responses: { 200: { description: 'The process is running', schema: HealthResponse } },
    refusals: [],
    handle(c) {
      limitByAddress(c)
      return health(c)
    },
  },
  {
    method: 'get',
    path: '/ready',
    operationId: 'getReady',
    summary: 'Readiness: database and chain are reachable',
    credentials: ['none'],
    responses: { 200: { description: 'Ready', schema: ReadyResponse } },
    refusals: ['unavailable'],
    handle(c) {
      limitByAddress(c)
      return ready(c)
    },
  },
  {
    method: 'post',
    path: '/devnet/faucet',
    operationId: 'useFaucet',
    summary: 'Devnet only: gives an address STX and input tokens',
    credentials: ['none'],
    body: { schema: FaucetBody },
    responses: {
      200: { description: 'The address holds something to try with', schema: FaucetResponse },
    },
    refusals: ['invalidRequest', 'bodyTooLarge', 'routeNotFound', 'unavailable'],
    async handle(c) {
      limitByAddress(c)
      const { config, chain } = stateOf(c).world
      if (config.STACKS_NETWORK !== 'devnet') return unwrap(refuse('routeNotFound'))
      const { address } = unwrap(await readBody(c, FaucetBody))
      if (!isStacksAddress(address, config.STACKS_NETWORK))
        return unwrap(
          refuse('invalidRequest', {
            issues: [{ path: 'address', message: 'must be a Stacks address of this network' }],
          }),
        )
      const balances = await chain.fund(address).catch(() => undefined)
      if (balances === undefined) return unwrap(refuse('unavailable', { reason: 'chain' }))
      return respond(c, { status: 'success', address, balances: balances as Record<string, never> })
    },
  },
]

const EXPLORERS: Readonly<Record<Network, string | undefined>> = {
  mainnet: 'https://explorer.hiro.so/txid/0x{txid}?chain=mainnet',
  testnet: 'https://explorer.hiro.so/txid/0x{txid}?chain=testnet',
  devnet: undefined,
}

/** Also mounted at /health for probes, which are not counted. */
export function health(c: AppContext): Response {
  return respond(c, { status: 'ok' })
}

/** Also mounted at /ready for probes, which are not counted: those of a second share one check. */
export async function ready(c: AppContext): Promise<Response> {
  const { db, chain, readiness, watch } = stateOf(c).world
  const result = await readiness(stateOf(c).now, async () => {
    const fault = await watch.read(db).catch((error: unknown) => error)
    const reason = unusableReason(fault)
    if (reason !== undefined) return refuse('unavailable', { reason })
    if (fault !== undefined) throw fault
    return (await chain.isReachable()) ? ok(undefined) : refuse('unavailable', { reason: 'chain' })
  })
  unwrap(result)
  return respond(c, {
    status: 'ready',
    clock: { aheadMs: watch.aheadMs(), differs: watch.differs() },
  })
}

async function tokenFacts(c: AppContext, contractId: string) {
  const { chain, config } = stateOf(c).world
  if (contractId === '.stx') return { symbol: 'STX', decimals: 6 }
  return isContractId(contractId, config.STACKS_NETWORK) ? chain.tokenFacts(contractId) : 'absent'
}

function info(c: AppContext): z.output<typeof InfoResponse> {
  const { config, operators } = stateOf(c).world
  const network = config.STACKS_NETWORK
  const explorerUrl = config.EXPLORER_URL ?? EXPLORERS[network]
  return {
    network,
    chainId: chainId(network),
    routerContract:
      (config.ROUTERS.find(({ commits }) => !commits) ?? config.ROUTERS[0])?.contract ?? '',
    routers: config.ROUTERS.map(({ contract, commits }) => ({ contract, commits })),
    operators: operators.active().map(({ address }) => address),
    intentDomain: { ...INTENT_DOMAIN, 'chain-id': chainId(network) },
    ...(config.SIGNED_DOMAIN !== undefined && { signedDomain: config.SIGNED_DOMAIN }),
    scopes: catalogue(config.EXTRA_SCOPES).map(({ name }) => name),
    keyPrefix: config.KEY_PREFIX,
    limits: {
      key: {
        perMinute: config.RATE_LIMIT_PER_MINUTE,
        perHour: config.RATE_LIMIT_PER_HOUR,
        perDay: config.RATE_LIMIT_PER_DAY,
      },
      ipPerMinute: config.IP_RATE_LIMIT_PER_MINUTE,
      maxActiveKeysPerWallet: config.MAX_ACTIVE_KEYS_PER_WALLET,
      signatureMaxAgeSeconds: config.SIGNATURE_MAX_AGE_SECONDS,
    },
    version: VERSION,
    callerAddress: stateOf(c).clientIp,
    ...(explorerUrl !== undefined && { explorerUrl }),
    ...(network === 'devnet' && {
      devnet: {
        inputToken: INPUT_TOKEN,
        outputToken: OUTPUT_TOKEN,
        faucet: '/api/v1/devnet/faucet',
        stacksApiUrl: originOf(config.STACKS_API_URL ?? ''),
      },
    }),
  }
}
