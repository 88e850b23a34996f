import type { GateRequest } from '../gate/decide.ts'
import type { Gate } from '../gate/gate.ts'
import type { KeyHash } from '../keys/secret.ts'
import type { Log } from '../log.ts'
import { refuse } from '../result.ts'
import { GATE_PROTOCOL, type GateObjectCalls, type GateReply } from './gate-object.ts'

/** As much of a Durable Object namespace as is used. */
export interface GateNamespace {
  idFromName(name: string): unknown
  get(id: unknown): GateObjectCalls
}

/** Opens the gate of one request. `own` decides with the request's own database session. */
export type OpenShardedGate = (
  namespace: GateNamespace | undefined,
  own: Gate,
  outlive: (work: Promise<unknown>) => void,
) => Gate

interface Shard {
  name: string
  id: unknown
  /** Whether the object has answered, and has not been late or lost since. */
  isReachable: boolean
  /** Milliseconds since 1970; undefined before the first knock. */
  knockedAt: number | undefined
}

/** Longer than `lock_timeout`, after which an object decides the other keys of a statement that waits for a locked one. */
const LATE_MS = 3_000
/** Pause between two knocks at an object that does not answer. */
const KNOCK_PAUSE_MS = 5_000

/**
 * Divides requests among gate objects by the hash of their keys, so that the requests of one key meet in one object. An isolate
 * uses an object once it has answered a knock; until then, and after the object was late or lost, each request has the own
 * statement of its Worker. So an object that cannot be reached delays no request.
 *
 * A request that was handed to an object and came back without a decision is refused: it may have been counted, and a second
 * statement would count it twice. Only where the object itself replies that no statement has seen the request, the Worker decides.
 */
export function openShardedGate(shards: number, log: Log, now: () => number): OpenShardedGate {
  const all: Shard[] = Array.from({ length: shards }, (_, at) => ({
    name: `gate-${at}-of-${shards}`,
    id: undefined,
    isReachable: false,
    knockedAt: undefined,
  }))

  function objectOf(namespace: GateNamespace, shard: Shard): GateObjectCalls {
    shard.id ??= namespace.idFromName(shard.name)
    return namespace.get(shard.id)
  }

  function isKnockDue({ knockedAt }: Shard): boolean {
    const at = now()
    return knockedAt === undefined || at < knockedAt || at - knockedAt >= KNOCK_PAUSE_MS
  }

  async function knock(namespace: GateNamespace, shard: Shard): Promise<void> {
    shard.knockedAt = now()
    const answer = await inTime(objectOf(namespace, shard).knock(GATE_PROTOCOL))
    shard.isReachable = answer === true
    if (shard.isReachable) log('info', 'gate_object_reached', { object: shard.name })
    else log('warn', 'gate_object_away', { object: shard.name })
  }

  function leave(shard: Shard, why: 'late or lost' | 'outage'): void {
    shard.isReachable = false
    shard.knockedAt = now()
    log('warn', 'gate_object_left', { object: shard.name, why })
  }

  async function ask(
    namespace: GateNamespace,
    shard: Shard,
    request: GateRequest,
  ): Promise<GateReply | undefined> {
    const reply = await inTime(objectOf(namespace, shard).decide(GATE_PROTOCOL, request))
    if (reply === undefined) leave(shard, 'late or lost')
    else if (reply.outcome === 'unknown' && reply.isOutage) leave(shard, 'outage')
    return reply
  }

  return (namespace, own, outlive) => {
    if (namespace === undefined || shards === 0) return own
    return async function shardedGate(request) {
      const shard = all[shardOf(request.hash, shards)] as Shard
      if (!shard.isReachable) {
        if (isKnockDue(shard)) outlive(knock(namespace, shard))
        return own(request)
      }
      const reply = await ask(namespace, shard, request)
      if (reply?.outcome === 'decided') return reply.decision
      if (reply?.outcome === 'uncounted') return own(request)
      return refuse('unavailable', { reason: 'gate_object' })
    }
  }
}

/** By the first 32 bits of the hash, which are as good as random. */
function shardOf(hash: KeyHash, shards: number): number {
  return Number.parseInt(hash.slice(0, 8), 16) % shards
}

/** Undefined when an object is late, lost or throws. */
async function inTime<T>(answer: PromiseLike<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), LATE_MS)
  })
  try {
    return await Promise.race([answer, late])
  } catch {
    return undefined
  } finally {
    clearTimeout(timer)
  }
}
