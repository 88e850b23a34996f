import { type Database, isOutage, messageOf } from '../db/database.ts'
import { pingDatabase } from '../db/ping.ts'
import type { GateDecision, GateRequest } from '../gate/decide.ts'
import type { Gate } from '../gate/gate.ts'
import type { Log } from '../log.ts'

/** The number of this interface. An object that runs another release may have another one, and then decides nothing. */
export const GATE_PROTOCOL = 1

/** What Workers call on a gate object, by the platform's RPC. */
export interface GateObjectCalls {
  /** Whether the object can decide: it has this protocol and reaches the database. Counts nothing. */
  knock(protocol: number): Promise<boolean>
  decide(protocol: number, request: GateRequest): Promise<GateReply>
}

/**
 * `uncounted`: the object is certain that no statement has seen the request, so that the Worker may decide by itself. `unknown`: a
 * statement may have counted it.
 */
export type GateReply =
  | { outcome: 'decided'; decision: GateDecision }
  | { outcome: 'uncounted' }
  | { outcome: 'unknown'; isOutage: boolean }

/** What an object holds as long as it lives. */
export interface GateObjectWorld {
  db: Database
  gate: Gate
  log: Log
}

/**
 * One shard of the gate, in a Durable Object. All requests of an object may use its sockets, so it gathers them as a Node process
 * does, with the same gate. It is not the truth about a key, only a way to the statement that is: while an object
 * moves there may be two of one shard, and Workers that decide by themselves beside them.
 *
 * `open` verifies that the database was written with the configured keys; it runs again after a failure.
 */
export function openGateObject(open: () => Promise<GateObjectWorld>): GateObjectCalls {
  let opening: Promise<GateObjectWorld> | undefined
  const world = (): Promise<GateObjectWorld> => {
    opening ??= open().catch((error: unknown) => {
      opening = undefined
      throw error
    })
    return opening
  }
  return {
    async knock(protocol) {
      if (protocol !== GATE_PROTOCOL) return false
      const { db } = await world()
      await pingDatabase(db)
      return true
    },
    async decide(protocol, request) {
      if (protocol !== GATE_PROTOCOL) return { outcome: 'uncounted' }
      const opened = await world().catch(() => undefined)
      if (opened === undefined) return { outcome: 'uncounted' }
      try {
        const decision = await opened.gate(request)
        return isOverload(decision) ? { outcome: 'uncounted' } : { outcome: 'decided', decision }
      } catch (error) {
        opened.log('error', 'gate_object_failed', { fault: messageOf(error) })
        return { outcome: 'unknown', isOutage: isOutage(error) }
      }
    },
  }
}

/** Too many requests wait in the object: it has not taken this one. */
function isOverload(decision: GateDecision): boolean {
  return (
    !decision.ok && decision.reason === 'unavailable' && decision.details?.reason === 'overload'
  )
}
