import { recordSuccess } from '../gate/admit.ts'
import type { Admission } from '../gate/gate.ts'
import type { Me } from '../keys/key.ts'
import { presentLimits } from '../keys/rights.ts'
import type { KeyServices } from '../keys/services.ts'
import { spentToday } from '../orders/allowance.ts'
import { chainId } from '../stacks/network.ts'

/** Tells a key's holder what it may do and how much of it is left. */
export async function describeSelf(
  services: Pick<KeyServices, 'db' | 'config'>,
  pass: Admission,
  now: number,
): Promise<Me> {
  const { rights, keyId, walletAddress, windows, endsAt } = pass
  const hasDaily = Object.values(rights.maxAmountIn ?? {}).some(
    ({ perDay }) => perDay !== undefined,
  )
  const spent = hasDaily ? await spentToday(services.db, keyId, now) : new Map<string, bigint>()
  await recordSuccess(services.db, keyId)
  const daily = Object.entries(rights.maxAmountIn ?? {}).filter(
    ([, { perDay }]) => perDay !== undefined,
  )
  return {
    status: 'success',
    owner: walletAddress,
    ownerCaip10: `stacks:${chainId(services.config.STACKS_NETWORK)}:${walletAddress}`,
    keyId,
    name: rights.name,
    permissions: rights.permissions,
    limits: presentLimits(rights),
    spentToday: Object.fromEntries(daily.map(([token]) => [token, String(spent.get(token) ?? 0n)])),
    rateLimit: rights.rateLimit ?? services.config.RATE_LIMIT_PER_MINUTE,
    windows,
    ...(endsAt !== undefined && { expiresAt: new Date(endsAt).toISOString() }),
    createdAt: new Date(rights.createdAt).toISOString(),
  }
}
