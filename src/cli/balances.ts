import { type Client, type DevnetInfo, isLoopback, type Order } from '../client/index.ts'
import { readResponseJson } from '../wire/response.ts'
import { clientWith, type ServiceContext, serviceUrl } from './connect.ts'
import { CommandError } from './errors.ts'

/** The amount that an address holds of a token. */
export type Holdings = (token: string) => bigint

const TIMEOUT_MS = 10_000
const MAX_BYTES = 2 ** 20

/** Reads what an address holds, from the devnet's own chain. */
export async function readBalances(
  context: ServiceContext,
  { stacksApiUrl }: DevnetInfo,
  address: string,
): Promise<Holdings> {
  const url = URL.parse(`/balances/${encodeURIComponent(address)}`, stacksApiUrl)
  if (url === null || !isBeside(url, serviceUrl(context)))
    throw unreachable('The service does not name a chain on its own host')
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    const get = context.terminal.fetch ?? fetch
    const response = await get(url.href, { signal, redirect: 'manual' })
    return holdingsIn(await readResponseJson(response, MAX_BYTES, signal))
  } catch (error) {
    throw unreachable(
      `The chain of the devnet does not return balances at ${url.href}: ${(error as Error).message}`,
    )
  }
}

/** Whether an address is on the host of the service. A hostile service would name one that only this machine can reach. */
function isBeside({ protocol, hostname }: URL, service: string): boolean {
  const own = URL.parse(service)?.hostname ?? ''
  const isHttp = protocol === 'http:' || protocol === 'https:'
  return isHttp && (hostname === own || (isLoopback(hostname) && isLoopback(own)))
}

function holdingsIn(answer: unknown): Holdings {
  const { tokens } = (answer ?? {}) as { tokens?: Record<string, unknown> }
  const amounts = Object.entries(tokens ?? {}).map(([token, amount]) => {
    if (!/^[0-9]{1,39}$/.test(String(amount))) throw new Error('an amount is no whole number')
    return [token, BigInt(String(amount))] as const
  })
  const held = new Map(amounts)
  return (token) => held.get(token) ?? 0n
}

function unreachable(message: string): CommandError {
  return new CommandError('CHAIN_UNREACHABLE', message)
}

/**
 * On a devnet, advises the faucet when the owner of an order holds less than the order spends. Undefined in every other case,
 * an unreachable chain among them.
 */
export async function adviseFaucet(
  context: ServiceContext,
  { owner, inputToken, amountIn }: Order,
): Promise<string | undefined> {
  if (!owner.startsWith('ST')) return undefined
  const client: Client = clientWith(context)
  try {
    const { devnet } = await client.info()
    if (devnet === undefined) return undefined
    const held = (await readBalances(context, devnet, owner))(inputToken)
    if (held >= BigInt(amountIn)) return undefined
    return `${owner} holds ${held} of the ${amountIn} that the order spends of ${inputToken}: latchkey faucet ${owner} gives it more`
  } catch {
    return undefined
  }
}
