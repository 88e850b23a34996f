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

/** Opens the gate of one request. `ownGate` decides with the request's own database session. */
export type OpenGateOverObjects = (
  namespace: GateNamespace | undefined,
  ownGate: Gate,
  outlive: (work: Promise<unknown>) => void,
) => Gate

/** One of the objects, as an isolate knows it. */
interface KnownObject {
  name: string
  id: unknown
  /** Whether the object has replied to a probe, and has decided what it was sent since. */
  isReachable: boolean
  /** Milliseconds since 1970; undefined before the first probe. */
  triedAt: number | undefined
}

/** Longer than `lock_timeout`, after which an object decides the other keys of a statement that waits for a locked one. */
const REPLY_TIMEOUT_MS = 3_000
/** Pause before an object that did not decide is probed again. */
const PROBE_PAUSE_MS = 5_000

/**
 * Divides requests among gate objects by the hash of their keys, so that the requests of one key meet in one object. An isolate
 * uses an object once it has replied to a probe; until then, and after the object was late or lost, each request has a statement
 * of its own Worker. So an object that cannot be reached delays no request.
 *
 * A request that was sent to an object and has no decision is refused: it may have been counted, and a second statement would
 * count it twice. Only where the object itself replies that no statement has counted the request, the Worker decides.
 */
export function openGateOverObjects(
  objects: number,
  log: Log,
  ownNow: () => number,
): OpenGateOverObjects {
  const all: KnownObject[] = Array.from({ length: objects }, (_, at) => ({
    name: `gate-${at}-of-${objects}`,
    id: undefined,
    isReachable: false,
    triedAt: undefined,
  }))

  function callsOf(namespace: GateNamespace, object: KnownObject): GateObjectCalls {
    object.id ??= namespace.idFromName(object.name)
    return namespace.get(object.id)
  }

  function isProbeDue({ triedAt }: KnownObject): boolean {
    return triedAt === undefined || Math.abs(ownNow() - triedAt) >= PROBE_PAUSE_MS
  }

  async function probe(namespace: GateNamespace, object: KnownObject): Promise<void> {
    object.triedAt = ownNow()
    object.isReachable = (await inTime(callsOf(namespace, object).probe(GATE_PROTOCOL))) === true
    if (object.isReachable) log('info', 'gate_object_reached', { object: object.name })
    else log('warn', 'gate_object_unreachable', { object: object.name, why: 'probe' })
  }

  function abandon(object: KnownObject, why: string): void {
    object.isReachable = false
    object.triedAt = ownNow()
    log('warn', 'gate_object_unreachable', { object: object.name, why })
  }

  async function send(
    namespace: GateNamespace,
    object: KnownObject,
    request: GateRequest,
  ): Promise<GateReply | undefined> {
    const reply = await inTime(callsOf(namespace, object).decide(GATE_PROTOCOL, request))
    const why = faultOf(reply)
    if (why !== undefined) abandon(object, why)
    return reply
  }

  return (namespace, ownGate, outlive) => {
    if (namespace === undefined || objects === 0) return ownGate
    return async function gateOverObjects(request) {
      const object = all[placeOf(request.hash, objects)] as KnownObject
      if (!object.isReachable) {
        if (isProbeDue(object)) outlive(probe(namespace, object))
        return ownGate(request)
      }
      const reply = await send(namespace, object, request)
      if (reply?.outcome === 'decided') return reply.decision
      if (reply?.outcome === 'uncounted') return ownGate(request)
      return refuse('unavailable', { reason: 'gate_object' })
    }
  }
}

/** Why later requests should not be sent to an object; undefined when they should. */
function faultOf(reply: GateReply | undefined): string | undefined {
  if (reply === undefined) return 'no_reply'
  if (reply.outcome === 'uncounted') return reply.why === 'overload' ? undefined : reply.why
  return reply.outcome === 'unknown' && reply.isOutage ? 'outage' : undefined
}

/** By the first 32 bits of the hash, which are as good as random. */
function placeOf(hash: KeyHash, objects: number): number {
  return Number.parseInt(hash.slice(0, 8), 16) % objects
}

/** Resolves to undefined when an object is late, lost or throws. */
async function inTime<T>(reply: PromiseLike<T>): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), REPLY_TIMEOUT_MS)
  })
  try {
    return await Promise.race([reply, late])
  } catch {
    return undefined
  } finally {
    clearTimeout(timer)
  }
}
