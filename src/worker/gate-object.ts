import { type Database, isOutage, messageOf } from '../db/database.ts'
import { RELEASE } from '../db/release.ts'
import type { DatabaseWatch } from '../db/watch.ts'
import type { GateDecision, GateRequest } from '../gate/decide.ts'
import { type Gate, isOverload } from '../gate/gate.ts'
import type { Log } from '../log.ts'
import { refuse } from '../result.ts'

/** The number of this interface, and of the release. An object of another one decides nothing. */
export const GATE_PROTOCOL = `3 of release ${RELEASE}`

/** What Workers call on a gate object, by the platform's RPC. */
export interface GateObjectCalls {
  /** Resolves to whether the object can decide: it has this protocol and reaches the database. Counts nothing. */
  probe(protocol: string): Promise<boolean>
  decide(protocol: string, request: GateRequest): Promise<GateReply>
}

/**
 * `uncounted`: no statement has counted the request, so that the Worker may decide by itself. `unknown`: a statement may have
 * counted it.
 */
export type GateReply =
  | { outcome: 'decided'; decision: GateDecision }
  | { outcome: 'uncounted'; why: 'overload' | 'other_release' | 'outage' }
  | { outcome: 'unknown'; isOutage: boolean }

/** What an object holds as long as it lives. */
export interface GateObjectWorld {
  db: Database
  gate: Gate
  watch: DatabaseWatch
  log: Log
}

/** An object decides nothing on an older reading of the database's release and clock. */
const MAX_READING_AGE_MS = 10_000

/**
 * A part of the gate, in a Durable Object. All requests of an object may use its sockets, so it gathers them as a Node process
 * does, with the same gate. Whether a key is admitted is decided by the statement and not by the object: while the platform moves
 * an object there may be two of the same name, and Workers that decide by themselves beside them.
 *
 * `open` verifies that the database was written with the configured keys; it runs again after a failure.
 */
export function openGateObject(
  ownNow: () => number,
  open: () => Promise<GateObjectWorld>,
): GateObjectCalls {
  let opening: Promise<GateObjectWorld> | undefined
  let reading: Promise<void> | undefined
  let readAt = Number.NEGATIVE_INFINITY

  function world(): Promise<GateObjectWorld> {
    opening ??= open().catch((error: unknown) => {
      opening = undefined
      throw error
    })
    return opening
  }

  /** Requests that arrive meanwhile share the reading. */
  function readDatabase({ db, watch }: GateObjectWorld): Promise<void> {
    const at = ownNow()
    reading ??= watch
      .read(db)
      .then(() => {
        readAt = at
      })
      .finally(() => {
        reading = undefined
      })
    return reading
  }

  async function currentWorld(): Promise<GateObjectWorld> {
    const opened = await world()
    if (Math.abs(ownNow() - readAt) >= MAX_READING_AGE_MS) await readDatabase(opened)
    return opened
  }

  return {
    async probe(protocol) {
      if (protocol !== GATE_PROTOCOL) return false
      await readDatabase(await world())
      return true
    },
    async decide(protocol, request) {
      if (protocol !== GATE_PROTOCOL) return { outcome: 'uncounted', why: 'other_release' }
      const opened = await currentWorld().catch(() => undefined)
      if (opened === undefined) return { outcome: 'uncounted', why: 'outage' }
      // The Worker is of the same release, and may not know it yet.
      if (opened.watch.isSuperseded())
        return { outcome: 'decided', decision: refuse('unavailable', { reason: 'release' }) }
      try {
        const decision = await opened.gate(request)
        return isOverload(decision)
          ? { outcome: 'uncounted', why: 'overload' }
          : { outcome: 'decided', decision }
      } catch (error) {
        opened.log('error', 'gate_object_failed', { fault: messageOf(error) })
        return { outcome: 'unknown', isOutage: isOutage(error) }
      }
    },
  }
}
