import { recordSuccess } from '../gate/counters.ts'
import type { Admission } from '../gate/decide.ts'
import type { Me } from '../keys/key.ts'
import type { KeyServices } from '../keys/services.ts'
import { presentLimits } from '../keys/terms.ts'
import { spentToday } from '../orders/allowance.ts'
import { caip10 } from '../stacks/address.ts'

/** What a key may do and how much of it is left, for its bearer. Counts the request as a success of the key. */
export async function describeSelf(
  { db, config }: Pick<KeyServices, 'db' | 'config'>,
  { rights, keyId, walletAddress, windows, endsAt }: Admission,
  now: number,
): Promise<Me> {
  const daily = Object.entries(rights.maxAmountIn ?? {}).filter(
    ([, { perDay }]) => perDay !== undefined,
  )
  const spent =
    daily.length > 0
      ? await spentToday(db, { keyId, walletAddress }, now)
      : new Map<string, bigint>()
  await recordSuccess(db, { keyId, walletAddress })
  return {
    status: 'success',
    owner: walletAddress,
    ownerCaip10: caip10(walletAddress, config.STACKS_NETWORK),
    keyId,
    name: rights.name,
    permissions: rights.permissions,
    limits: presentLimits(rights),
    ...(rights.heartbeat !== null && { heartbeat: rights.heartbeat }),
    spentToday: Object.fromEntries(daily.map(([token]) => [token, String(spent.get(token) ?? 0n)])),
    rateLimit: rights.rateLimit ?? config.RATE_LIMIT_PER_MINUTE,
    windows,
    ...(endsAt !== undefined && { expiresAt: new Date(endsAt).toISOString() }),
    createdAt: new Date(rights.createdAt).toISOString(),
  }
}
