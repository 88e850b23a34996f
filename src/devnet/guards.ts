import { type PostCondition, PostConditionMode, serializeCV } from '@stacks/transactions'
import type { ChainEvent } from './chain.ts'

export interface Guards {
  mode: PostConditionMode
  conditions: PostCondition[]
}

/** What a principal sent of one asset. Post-conditions do not cover minting. */
interface Sent {
  principal: string
  asset: string
  amount: bigint
  /** Of a non-fungible asset: its serialised ids. */
  ids: string[]
}

const COMPARE: Record<string, (sent: bigint, wanted: bigint) => boolean> = {
  eq: (sent, wanted) => sent === wanted,
  gt: (sent, wanted) => sent > wanted,
  gte: (sent, wanted) => sent >= wanted,
  lt: (sent, wanted) => sent < wanted,
  lte: (sent, wanted) => sent <= wanted,
}

/** Why the post-conditions fail, or undefined when they hold. Staking and PoX conditions are not checked. */
export function violation(
  { mode, conditions }: Guards,
  events: ChainEvent[],
  sender: string,
): string | undefined {
  const moved = movements(events)
  const covered = new Set<string>()

  for (const condition of conditions) {
    if (condition.type === 'staking-postcondition' || condition.type === 'pox-postcondition')
      continue
    const principal = condition.address === 'origin' ? sender : condition.address
    const asset = condition.type === 'stx-postcondition' ? 'STX' : condition.asset
    const sent = moved.find((one) => one.principal === principal && one.asset === asset)

    if (condition.type === 'nft-postcondition') {
      const id = serializeCV(condition.assetId)
      covered.add(key(principal, asset, id))
      const wasSent = sent?.ids.includes(id) ?? false
      if (condition.condition === 'sent' && !wasSent) return `${principal} kept ${asset}`
      if (condition.condition === 'not-sent' && wasSent) return `${principal} sent ${asset}`
      continue
    }
    covered.add(key(principal, asset))
    const amount = sent?.amount ?? 0n
    if (!COMPARE[condition.condition]?.(amount, BigInt(condition.amount))) {
      return `${principal} sent ${amount} ${asset}, not ${condition.condition} ${condition.amount}`
    }
  }

  if (mode === PostConditionMode.Allow) return
  for (const { principal, asset, ids } of moved) {
    if (mode === PostConditionMode.Originator && principal !== sender) continue
    const keys =
      ids.length > 0 ? ids.map((id) => key(principal, asset, id)) : [key(principal, asset)]
    if (!keys.every((one) => covered.has(one))) return `${principal} sent ${asset} unchecked`
  }
}

function movements(events: ChainEvent[]): Sent[] {
  const moved = new Map<string, Sent>()
  for (const { event, data } of events) {
    const [kind, what] = event.split('_')
    if (what !== 'transfer' && what !== 'burn') continue
    const principal = String(data.sender)
    const asset = kind === 'stx' ? 'STX' : String(data.asset_identifier)
    const entry = moved.get(key(principal, asset)) ?? { principal, asset, amount: 0n, ids: [] }
    if (kind === 'nft') entry.ids.push(String(data.raw_value).replace(/^0x/, ''))
    else entry.amount += BigInt(String(data.amount))
    moved.set(key(principal, asset), entry)
  }
  return [...moved.values()]
}

function key(...parts: string[]): string {
  return parts.join(' ')
}
