import type { Mac } from '../crypto/mac.ts'
import { type Database, isDeadlock, isLockTimeout, isOutage } from '../db/database.ts'
import type { Distribution } from '../db/distribution.ts'
import type { KeyHash } from '../keys/secret.ts'
import type { Log } from '../log.ts'
import { refuse } from '../result.ts'
import {
  type JudgeOptions,
  type Limits,
  type PresentedKey,
  prepareGate,
  type Quota,
  type Verdict,
} from './admit.ts'
import {
  costOf,
  decide,
  type GateDecision,
  type GateRequest,
  type VerifiedVerdict,
} from './decide.ts'
import { type KnownKey, type KnownKeys, openKnownKeys } from './known-keys.ts'
import { openPace } from './pace.ts'
import { openShardLookUp, UNKNOWN_SHARD } from './shard-look-up.ts'

/** Decides whether a key may do this now, and counts the request against the key's windows. */
export type Gate = (request: GateRequest) => Promise<GateDecision>

export interface GateOptions {
  /** Authenticates a key's row. */
  mac: Mac
  log: Log
  /** Milliseconds since 1970. */
  now: () => number
  /** A time in place of Postgres', for tests. */
  fixedTime?: (() => number) | undefined
  /** What rows mean; by default a memory of the gate's own. */
  knownKeys?: KnownKeys
  /** Requests that may wait for a statement; later ones are refused at once. */
  maxWaiting?: number
  /** Statements under way at once, at most; the pace decides how many of them pay. */
  maxStatements?: number
  /** Resolves when pending input has been read, so that the next statement covers it. By default there is no pause. */
  gather?: () => Promise<void>
  /** Where shards are, if tables are distributed. On one Postgres a statement decides about keys of all of them. */
  distribution?: Distribution | undefined
  /** Whether also a request that comes alone waits for `gather`: where the database runs in this process. */
  gathersAlways?: boolean
}

interface WaitingRequest {
  request: GateRequest
  resolve: (decision: GateDecision) => void
  reject: (error: unknown) => void
}

/** The requests with one secret. One statement at a time decides some of them, in the order in which they came. */
interface KeyQueue {
  hash: KeyHash
  shard: number | undefined
  waiting: WaitingRequest[]
}

/** Keys that one statement may decide about: all of them, or where several servers keep rows, those of one group of shards. */
interface Lane {
  /** With requests that no statement is under way for. */
  ready: KeyQueue[]
}

/** Requests with one secret that one statement decides. */
interface Presented {
  hash: KeyHash
  shard: number
  requests: WaitingRequest[]
}

const OVERLOAD = 'overload'
const MAX_WAITING = 10_000
/** Keys that one statement decides about, at most. */
const MAX_BATCH = 1_000
const MAX_STATEMENTS = 4
/** The lane of secrets that name no shard: it is looked up first. */
const UNPLACED = 'unplaced'

/**
 * Opens the gate on a database. Requests that arrive while statements are under way are decided together by the next one,
 * so the cost of a request falls as the load rises. Every decision is read after its request arrived: nothing is cached
 * that could outlive a revocation.
 */
export function openGate(
  db: Database,
  limits: Limits,
  {
    mac,
    log,
    now,
    fixedTime,
    knownKeys = openKnownKeys(mac),
    maxWaiting = MAX_WAITING,
    maxStatements = MAX_STATEMENTS,
    gather,
    distribution: given,
    gathersAlways = false,
  }: GateOptions,
): Gate {
  const hasManyServers = given?.hasManyServers === true
  const distribution = hasManyServers ? given : given && { ...given, groupOf: () => 0 }
  const statements = prepareGate(db, limits, {
    fixedTime,
    isDistributed: distribution !== undefined,
    hasManyServers,
  })
  const findShards = openShardLookUp(db)
  const pace = openPace(maxStatements)
  const queues = new Map<KeyHash, KeyQueue>()
  const lanes = new Map<number | typeof UNPLACED, Lane>()
  /** Lanes with ready keys, in the order in which they are served. */
  const busyLanes: Lane[] = []
  /** Keys of all lanes with requests that no statement is under way for. */
  let ready = 0
  let waiting = 0
  let underWay = 0
  let keysUnderWay = 0
  let keysDecided = 0
  let isGathering = false

  function enqueue(one: WaitingRequest): void {
    waiting += 1
    const { hash, shard } = one.request
    const queue = queues.get(hash)
    if (queue !== undefined) {
      queue.waiting.push(one)
      return
    }
    const added = { hash, shard, waiting: [one] }
    queues.set(hash, added)
    makeReady(added)
  }

  function makeReady(queue: KeyQueue): void {
    const lane = laneOf(queue.shard)
    if (lane.ready.length === 0) busyLanes.push(lane)
    lane.ready.push(queue)
    ready += 1
  }

  function laneOf(shard: number | undefined): Lane {
    const name =
      distribution === undefined ? 0 : shard === undefined ? UNPLACED : distribution.groupOf(shard)
    let lane = lanes.get(name)
    if (lane === undefined) {
      lane = { ready: [] }
      lanes.set(name, lane)
    }
    return lane
  }

  function sendReady(): void {
    if (isGathering || ready === 0 || underWay >= pace.most()) return
    if (gather === undefined || (isAlone() && !gathersAlways)) sendNow()
    else void gatherAndSend(gather)
  }

  /** Under a load that gives each request a statement of its own, waiting would only delay it. */
  function isAlone(): boolean {
    return ready === 1 && keysUnderWay === 0 && keysDecided <= 1
  }

  /**
   * A statement costs as much as some 15 keys do. Requests that are in the process' sockets already join it: it waits until
   * its share is there, or until a turn of the event loop has brought none.
   */
  async function gatherAndSend(gather: () => Promise<void>): Promise<void> {
    isGathering = true
    let before: number
    do {
      before = ready
      await gather()
    } while (ready > before && ready < shareOf())
    isGathering = false
    sendNow()
  }

  function sendNow(): void {
    while (ready > 0 && underWay < pace.most()) {
      const lane = busyLanes.shift() as Lane
      // Lanes take turns. Of several, each leaves the database to the others meanwhile: it sends all that it has.
      const share = hasManyServers ? MAX_BATCH : shareOf()
      void send(lane, Math.min(lane.ready.length, share, MAX_BATCH))
    }
  }

  /**
   * A statement takes its share of the keys that wait, are under way or were just decided. The database then works on some shares
   * while this process works on another. Without it, batches of nearly all and nearly none alternate.
   */
  function shareOf(): number {
    const keys = ready + keysUnderWay + keysDecided
    return Math.ceil(keys / (pace.most() + 1))
  }

  async function send(lane: Lane, size: number): Promise<void> {
    const batch = lane.ready.slice(0, size)
    lane.ready = lane.ready.slice(size)
    if (lane.ready.length > 0) busyLanes.push(lane)
    ready -= size
    underWay += 1
    keysUnderWay += size
    let taken = 0
    const presented = batch.map((queue) => {
      const requests = queue.waiting
      taken += requests.length
      queue.waiting = []
      return { hash: queue.hash, shard: queue.shard ?? UNKNOWN_SHARD, requests }
    })
    waiting -= taken
    if (distribution !== undefined && presented[0]?.shard === UNKNOWN_SHARD)
      await placeAndDecide(presented, distribution)
    else await decideBatch(inLockOrder(presented))
    underWay -= 1
    keysUnderWay -= size
    keysDecided = size
    pace.decided(taken, now(), ready > 0)
    for (const queue of batch) {
      if (queue.waiting.length > 0) makeReady(queue)
      else queues.delete(queue.hash)
    }
    sendReady()
  }

  /** Finds the shards of keys whose secrets name none, and decides about each group of shards. */
  async function placeAndDecide(
    batch: readonly Presented[],
    { groupOf }: Distribution,
  ): Promise<void> {
    const found = await findShards(batch).catch((error: unknown) => {
      // Without its shard a key would be refused as an unknown one.
      rejectAll(batch, error)
      return []
    })
    const groups = Map.groupBy(found, ({ shard }) => groupOf(shard))
    await Promise.all([...groups.values()].map((group) => decideBatch(inLockOrder(group))))
  }

  async function decideBatch(batch: readonly Presented[]): Promise<void> {
    try {
      const rest = await admitBatch(batch)
      if (rest.length > 0) await judgeBatch(rest)
    } catch (error) {
      // Counters that are locked for too long must not delay the other keys.
      if (isLockTimeout(error)) await judgeBatch(batch, 'skip')
      else if (isDeadlock(error)) await judgeBatch(batch)
      else await failBatch(batch, error)
    }
  }

  /** Resolves the requests of keys that have room for all of theirs, and returns the others. */
  async function admitBatch(batch: readonly Presented[]): Promise<Presented[]> {
    const readAt = now()
    const rest: Presented[] = []
    const asked: Presented[] = []
    const keys: PresentedKey[] = []
    for (const one of batch) {
      const key = presentAll(one, readAt)
      if (key === undefined) rest.push(one)
      else {
        asked.push(one)
        keys.push(key)
      }
    }
    if (keys.length === 0) return rest
    const passed: boolean[] = []
    const admitted = await statements.admit(keys, knownKeys.servedSince())
    for (const { place, quota, row, orders } of admitted) {
      const one = asked[place] as Presented
      passed[place] = true
      const key = keys[place] as PresentedKey
      const { rights, shard = null } = (quota && key.known) ?? {}
      const keyId = rights?.id ?? null
      const verdict = verify(key, { keyId, shard, refusal: null, quota, row, orders }, readAt)
      let before = 0
      for (const { request, resolve } of one.requests) {
        resolve(decide(verdict, before, request, limits))
        before += costOf(request)
      }
    }
    for (const [place, one] of asked.entries()) if (passed[place] !== true) rest.push(one)
    return rest
  }

  /** Undefined where the addresses of the requests may differ in what they decide. */
  function presentAll({ hash, shard, requests }: Presented, at: number): PresentedKey | undefined {
    const known = knownOf(hash, at)
    const uuids = uuidsOf(requests)
    if (known?.rights.ipAllowlist === null)
      return { hash, shard, ip: undefined, requests: costOfAll(requests), uuids, known }
    const ip = requests[0]?.request.ip
    if (requests.some(({ request }) => request.ip !== ip)) return undefined
    return { hash, shard, ip, requests: costOfAll(requests), uuids, known }
  }

  /** Row versions are those of one server: where several keep rows, each row is read, and its MAC verified, for each statement. */
  function knownOf(hash: KeyHash, at: number): KnownKey | undefined {
    return hasManyServers ? undefined : knownKeys.find(hash, at)
  }

  /**
   * Judges requests of each cost by a statement of their own, the cheapest first: as many pass as have room, each whole. All of them wait at
   * the same time, so that any order of them is exact.
   */
  async function judgeBatch(batch: readonly Presented[], whenLocked?: 'skip'): Promise<void> {
    for (const [cost, those] of divideByCost(batch))
      await judgeTogether(those, { whenLocked, cost })
  }

  async function judgeTogether(batch: readonly Presented[], options: JudgeOptions): Promise<void> {
    const readAt = now()
    const groups = batch.flatMap(({ hash, shard, requests }) =>
      [...Map.groupBy(requests, ({ request }) => request.ip)].map(([ip, those]) => {
        const known = knownOf(hash, readAt)
        return { hash, shard, ip, requests: costOfAll(those), uuids: uuidsOf(those), known, those }
      }),
    )
    try {
      const verdicts = await statements.judge(groups, knownKeys.servedSince(), options)
      const passed = new Map<string, number>()
      const verified = new Map(
        groups.flatMap(({ those, ...key }, at) => {
          const verdict = verify(key, verdicts[at] as Verdict, readAt)
          return those.map((one) => [one, verdict] as const)
        }),
      )
      // Of the requests with one key, from whatever addresses, the first ones pass.
      for (const { requests } of batch)
        for (const one of requests) {
          const verdict = verified.get(one) as VerifiedVerdict
          const before = passed.get(verdict.keyId ?? '') ?? 0
          if (verdict.keyId !== null && verdict.quota !== undefined)
            passed.set(verdict.keyId, passedAfter(before, one.request, verdict.quota))
          one.resolve(decide(verdict, before, one.request, limits))
        }
    } catch (error) {
      if (isLockTimeout(error) && options.whenLocked === undefined)
        await judgeTogether(batch, { ...options, whenLocked: 'skip' })
      else await failBatch(batch, error)
    }
  }

  function verify({ hash, known }: PresentedKey, verdict: Verdict, at: number): VerifiedVerdict {
    const { keyId, shard, refusal, quota, row, orders } = verdict
    if (refusal === 'tampered') return tampered(keyId, shard)
    if (quota === undefined) return { keyId, shard, refusal, rights: undefined, quota, orders }
    const read = row === null ? undefined : knownKeys.read(hash, row, at)
    const key = read === undefined ? known : read.key
    if (key === undefined) return tampered(read?.keyId ?? keyId, read?.shard ?? shard)
    return { keyId: key.rights.id, shard: key.shard, refusal, rights: key.rights, quota, orders }
  }

  function tampered(keyId: string | null, shard: number | null): VerifiedVerdict {
    log('error', 'api_key_tampered', { keyId: keyId ?? '' })
    return { keyId, shard, refusal: 'tampered', rights: undefined, quota: undefined, orders: [] }
  }

  /** A request that the database cannot decide must not fail the others of its batch. */
  async function failBatch(batch: readonly Presented[], error: unknown): Promise<void> {
    if (isOutage(error) || batch.length === 1) rejectAll(batch, error)
    else for (const one of batch) await decideBatch([one])
  }

  return function gate(request) {
    if (waiting >= maxWaiting) return Promise.resolve(refuse('unavailable', { reason: OVERLOAD }))
    return new Promise<GateDecision>((resolve, reject) => {
      enqueue({ request, resolve, reject })
      sendReady()
    })
  }
}

/** Whether a decision is that too many requests wait: no statement has counted the request. */
export function isOverload(decision: GateDecision): boolean {
  return !decision.ok && decision.details?.reason === OVERLOAD
}

/** What has passed of a batch after a request, which passes if there is room for all that it costs. */
function passedAfter(before: number, request: GateRequest, { room }: Quota): number {
  const after = before + costOf(request)
  return after <= room ? after : before
}

function costOfAll(requests: readonly WaitingRequest[]): number {
  let cost = 0
  for (const { request } of requests) cost += costOf(request)
  return cost
}

/** The parts of a batch whose requests have one cost each, the lowest first. */
function divideByCost(batch: readonly Presented[]): (readonly [number, readonly Presented[]])[] {
  const costs = new Set(
    batch.flatMap(({ requests }) => requests.map(({ request }) => costOf(request))),
  )
  if (costs.size === 1) return [...costs].map((cost) => [cost, batch] as const)
  const ofCost = (cost: number) =>
    batch
      .map((one) => ({
        ...one,
        requests: one.requests.filter(({ request }) => costOf(request) === cost),
      }))
      .filter(({ requests }) => requests.length > 0)
  return [...costs].sort((one, other) => one - other).map((cost) => [cost, ofCost(cost)] as const)
}

/** Counters are locked in this order. */
function inLockOrder(batch: Presented[]): Presented[] {
  return batch.sort((one, other) => (one.hash < other.hash ? -1 : 1))
}

function rejectAll(batch: readonly Presented[], error: unknown): void {
  for (const { requests } of batch) for (const { reject } of requests) reject(error)
}

const NO_UUIDS: readonly string[] = []

function uuidsOf(requests: readonly WaitingRequest[]): readonly string[] {
  if (requests.length === 1 && requests[0]?.request.uuid === undefined) return NO_UUIDS
  if (requests.every(({ request }) => request.uuid === undefined)) return NO_UUIDS
  const uuids = requests.map(({ request }) => request.uuid).filter((uuid) => uuid !== undefined)
  return [...new Set(uuids)]
}
