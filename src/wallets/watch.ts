import type { Database } from '../db/database.ts'
import { walletShard } from '../db/shard.ts'
import { archivedBefore } from '../orders/archived.ts'
import type { OrderFeed } from '../orders/feed.ts'
import { ok, type Result, refuse } from '../result.ts'
import { type FeedPosition, parsePosition, type StartEvent } from './event.ts'
import type { WalletFeed, WalletSubscriber } from './feed.ts'
import type { FeedCredential } from './news.ts'

/** A stream goes on after an event for so long. */
const MAX_RESUMED_AGE_MS = 86_400_000
/** How far the times of two processes, or of an event and its commit, may be apart. */
const MAX_DIFFERENCE_MS = 60_000

interface WatchServices {
  db: Database
  /** Has the places of all streams of the process. */
  feed?: OrderFeed | undefined
  walletFeed?: WalletFeed | undefined
}

export interface WatchWalletRequest {
  walletAddress: string
  credential: FeedCredential
  /** The id of the last event that the caller has; undefined for none. */
  after: string | undefined
}

/** Subscribes, and returns how to leave, which must be done once. */
export type FollowWallet = (
  to: Pick<WalletSubscriber, 'next' | 'heartbeat' | 'close'>,
) => () => void

/** A stream that has its place: it is followed, or the place is released. */
export interface WatchedWallet {
  follow: FollowWallet
  release(): void
}

/** Takes a place for a stream of a wallet's events. */
export async function watchWallet(
  { db, feed, walletFeed }: WatchServices,
  { walletAddress, credential, after }: WatchWalletRequest,
  now: number,
): Promise<Result<WatchedWallet, 'eventsUnsupported' | 'tooManyStreams' | 'unavailable'>> {
  if (feed === undefined || walletFeed === undefined) return refuse('eventsUnsupported')
  const name = credential.kind === 'key' ? credential.keyId : credential.sessionId
  const place = feed.admit({ hasKey: true, names: [name, walletAddress] })
  if (!place.ok) return place
  const release = place.value
  try {
    const from = await resumption(db, after, now)
    return ok({
      release,
      follow(to) {
        const unsubscribe = walletFeed.subscribe({ ...to, ...from, walletAddress, credential })
        return () => {
          unsubscribe()
          release()
        }
      },
    })
  } catch (error) {
    release()
    throw error
  }
}

/** Where a stream goes on, or why it cannot: an event that left with an archive would be missed silently. */
async function resumption(
  db: Database,
  after: string | undefined,
  now: number,
): Promise<{ position: FeedPosition | undefined; missed?: StartEvent['missed'] }> {
  if (after === undefined || after === '') return { position: undefined }
  const position = parsePosition(after)
  if (position === undefined || position.at > now + MAX_DIFFERENCE_MS)
    return { position: undefined, missed: 'unknown' }
  if (now - position.at > MAX_RESUMED_AGE_MS) return { position: undefined, missed: 'tooOld' }
  const archived = await archivedBefore(db)
  const hasLeft = archived !== undefined && Date.parse(archived) > position.at - MAX_DIFFERENCE_MS
  return hasLeft ? { position: undefined, missed: 'tooOld' } : { position }
}

/** The credential of a presented key. */
export function keyCredential(
  {
    keyId,
    walletAddress,
    createdBy,
  }: { keyId: string; walletAddress: string; createdBy: string | undefined },
  hash: Extract<FeedCredential, { kind: 'key' }>['presented']['hash'],
): FeedCredential {
  const presented = { hash, shard: walletShard(walletAddress) }
  return { kind: 'key', keyId, presented, isConfined: createdBy !== undefined }
}
