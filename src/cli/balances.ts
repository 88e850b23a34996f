import type { Client, DevnetInfo, Order } from '../client/index.ts'
import { clientWith, type ServiceContext } from './connect.ts'
import { CommandError } from './errors.ts'

/** The amount that an address holds of a token. */
export type Holdings = (token: string) => bigint

/** Reads what an address holds, from the devnet's own chain. */
export async function readBalances(
  { terminal }: ServiceContext,
  { stacksApiUrl }: DevnetInfo,
  address: string,
): Promise<Holdings> {
  const url = `${stacksApiUrl.replace(/\/$/, '')}/balances/${encodeURIComponent(address)}`
  try {
    const response = await (terminal.fetch ?? fetch)(url, {})
    const { tokens } = (await response.json()) as { tokens: Record<string, string> }
    return (token) => BigInt(tokens[token] ?? 0)
  } catch (error) {
    throw new CommandError(
      'CHAIN_UNREACHABLE',
      `The chain of the devnet does not return balances at ${url}: ${(error as Error).message}`,
    )
  }
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
