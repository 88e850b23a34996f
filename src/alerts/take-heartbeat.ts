import { recordSuccess } from '../gate/counters.ts'
import type { Admission } from '../gate/decide.ts'
import type { HeartbeatTaken } from '../keys/key.ts'
import type { KeyServices } from '../keys/services.ts'

/** A sign of life of a key. The gate has counted the request, which is what puts the deadline off; this says until when. */
export async function takeHeartbeat(
  { db }: Pick<KeyServices, 'db'>,
  { keyId, walletAddress, rights }: Admission,
  now: number,
): Promise<HeartbeatTaken> {
  const { heartbeat } = rights
  await recordSuccess(db, { keyId, walletAddress })
  const deadline =
    heartbeat === null ? null : new Date(now + heartbeat.seconds * 1000).toISOString()
  return { status: 'success', keyId, heartbeat, deadline }
}
