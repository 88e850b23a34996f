import type { Me } from '../keys/key.ts'
import { presentLimits } from '../keys/rights.ts'
import { chainId } from '../stacks/network.ts'
import type { World } from '../world.ts'
import type { Pass } from './gate.ts'
import { spentToday } from './reserve.ts'
import { succeed } from './spend.ts'

/** Tells a key's holder what it may do and how much of it is left. */
export async function describeSelf(world: World, pass: Pass, now: number): Promise<Me> {
  const { rights, keyId, walletAddress, windows, endsAt } = pass
  const hasDaily = Object.values(rights.maxAmountIn ?? {}).some(
    ({ perDay }) => perDay !== undefined,
  )
  const spent = hasDaily ? await spentToday(world.db, keyId, now) : new Map<string, bigint>()
  await succeed(world.db, keyId)
  const daily = Object.entries(rights.maxAmountIn ?? {}).filter(
    ([, { perDay }]) => perDay !== undefined,
  )
  return {
    status: 'success',
    owner: walletAddress,
    ownerCaip10: `stacks:${chainId(world.config.STACKS_NETWORK)}:${walletAddress}`,
    keyId,
    name: rights.name,
    permissions: rights.permissions,
    limits: presentLimits(rights),
    spentToday: Object.fromEntries(daily.map(([token]) => [token, String(spent.get(token) ?? 0n)])),
    rateLimit: rights.rateLimit ?? world.config.RATE_LIMIT_PER_MINUTE,
    windows,
    ...(endsAt !== undefined && { expiresAt: new Date(endsAt).toISOString() }),
    createdAt: new Date(rights.createdAt).toISOString(),
  }
}
