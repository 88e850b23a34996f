import postgres, { type Sql } from 'postgres'
import type { PostgresTarget } from './connection-string.ts'
import { type Certificates, driverOptions, startupParameters } from './driver.ts'
import { readIdentity, ServerError, type ServerIdentity } from './identity.ts'

export type Host = PostgresTarget['hosts'][number]

/** What is found out about the servers of a connection string, for the log. */
export type ServerChange = 'primary_changed' | 'old_primary_refused' | 'other_cluster_refused'

/**
 * The servers of a connection string. One of them is the primary: the one that writes the highest timeline. What this process
 * has seen of a timeline is never forgotten, so that an old primary that comes back is not used.
 */
export interface Servers {
  /** The server that the next session is opened on. */
  current(): Host
  /** Judges the server of a new session; throws where it must not be used. */
  accept(identity: ServerIdentity): void
  /** A session could not be opened, or was lost: another server may be the primary now. */
  suspect(): void
  /** Undefined while the servers were asked as often as they should be; else resolves once they have been asked again. */
  refresh(): Promise<void> | undefined
  close(): Promise<void>
}

export interface ServersOptions {
  certificates: Certificates
  /** Sessions of older timelines, and on other servers than the current one, must be discarded now. */
  onMove: (timeline: number | undefined) => void
  onChange?: ((change: ServerChange, timeline: number | undefined) => void) | undefined
}

/** As the server shows its sessions. */
const SURVEY = 'latchkey survey'
const SURVEY_MS = 500
/** A process that has not asked for this long stood still itself, while another server may have been promoted. */
const LATE_MS = 1_200
const ANSWER_MS = 1_000
const FIRST_ANSWER_MS = 5_000

/** One server needs no survey: each new session is judged, and there is no other server to move to. */
export function openServers(
  target: PostgresTarget,
  { certificates, onMove, onChange = () => {} }: ServersOptions,
): Servers {
  const isAlone = target.hosts.length === 1
  const scouts = target.hosts.map((host) => openScout(target, host, certificates))
  let place = 0
  let system: string | undefined
  let timeline: number | undefined
  let surveying: Promise<void> | undefined
  let refreshing: Promise<void> | undefined
  let tickedAt = readClocks()
  let isClosed = false
  const timer = isAlone ? undefined : unref(setInterval(tick, SURVEY_MS))

  function accept(identity: ServerIdentity): void {
    if (identity.isStandby) throw refusal('CONNECTION_TO_STANDBY')
    if (system !== undefined && (identity.system ?? system) !== system) {
      onChange('other_cluster_refused', identity.timeline)
      throw refusal('CONNECTION_TO_OTHER_CLUSTER')
    }
    if (isOlder(identity.timeline, timeline)) {
      onChange('old_primary_refused', identity.timeline)
      throw refusal('CONNECTION_TO_OLD_PRIMARY')
    }
    system ??= identity.system
    if (isOlder(timeline, identity.timeline)) moveTo(place, identity.timeline)
    timeline ??= identity.timeline
  }

  function refusal(code: ServerError['code']): ServerError {
    suspect()
    return new ServerError(code)
  }

  function moveTo(next: number, to: number | undefined): void {
    place = next
    timeline = to ?? timeline
    onMove(timeline)
    onChange('primary_changed', timeline)
  }

  async function survey(): Promise<void> {
    const answers = await Promise.all(
      scouts.map(async (scout, at) => {
        const identity = await scout.ask()
        const isNewer = newestPrimary([identity], system, 0) === 0
        // Not once all have responded: the one that is lost does not.
        if (isNewer && isOlder(timeline, identity?.timeline)) moveTo(at, identity?.timeline)
        return identity
      }),
    )
    const newest = newestPrimary(answers, system, place)
    if (newest === undefined) return
    const next = answers[newest]?.timeline
    if (isOlder(next, timeline)) return
    if (newest !== place || isOlder(timeline, next)) moveTo(newest, next)
  }

  function surveyOnce(): Promise<void> {
    surveying ??= survey().finally(() => {
      surveying = undefined
    })
    return surveying
  }

  function tick(): void {
    void (refresh() ?? surveyOnce())
    tickedAt = readClocks()
  }

  /** A survey that is under way may have its answers from before the process stood still: another one follows it. */
  function refresh(): Promise<void> | undefined {
    if (isAlone || isClosed || (refreshing === undefined && !isLate(tickedAt))) return refreshing
    refreshing ??= (surveying ?? Promise.resolve()).then(surveyOnce).finally(() => {
      refreshing = undefined
    })
    tickedAt = readClocks()
    return refreshing
  }

  function suspect(): void {
    if (!isAlone && !isClosed) void surveyOnce()
  }

  return {
    current: () => target.hosts[place] as Host,
    accept,
    suspect,
    refresh,
    async close() {
      isClosed = true
      clearInterval(timer)
      await Promise.all(scouts.map((scout) => scout.close()))
    },
  }
}

/** Standbys of which any one may be read: the next one, where one is lost. */
export function openStandbys({ hosts }: PostgresTarget): Servers {
  let place = 0
  return {
    current: () => hosts[place] as Host,
    accept() {},
    suspect() {
      place = (place + 1) % hosts.length
    },
    refresh: () => undefined,
    async close() {},
  }
}

/**
 * Sorts the servers of a connection string, the primary first. The driver's own `target_session_attrs` is not used: where no
 * server can be written to it connects again without a pause and never rejects, and where the first one stands still it
 * rejects without having tried the second one.
 */
export async function primaryFirst(
  target: PostgresTarget,
  certificates: Certificates,
): Promise<PostgresTarget> {
  const { hosts } = target
  if (hosts.length === 1) return target
  const scouts = hosts.map((host) => openScout(target, host, certificates, FIRST_ANSWER_MS))
  try {
    const answers = await Promise.all(scouts.map((scout) => scout.ask()))
    const systems = answers.map((identity) => identity?.system).filter((one) => one !== undefined)
    if (new Set(systems).size > 1)
      throw new Error('its servers are of different clusters, and not a primary and its standbys')
    const primary = newestPrimary(answers, undefined, 0) ?? 0
    return {
      ...target,
      hosts: [hosts[primary] as Host, ...hosts.filter((_, place) => place !== primary)],
    }
  } finally {
    await Promise.all(scouts.map((scout) => scout.close()))
  }
}

/** The place of the primary that writes the highest timeline; of equal ones the preferred place. */
function newestPrimary(
  answers: readonly (ServerIdentity | undefined)[],
  system: string | undefined,
  preferred: number,
): number | undefined {
  let newest: number | undefined
  for (const [place, identity] of answers.entries()) {
    if (identity === undefined || identity.isStandby) continue
    if (system !== undefined && (identity.system ?? system) !== system) continue
    const isNewer = newest === undefined || isOlder(answers[newest]?.timeline, identity.timeline)
    const isAsNew = newest !== undefined && !isOlder(identity.timeline, answers[newest]?.timeline)
    if (isNewer || (isAsNew && place === preferred)) newest = place
  }
  return newest
}

interface Scout {
  /** What the server says of itself; undefined where it does not respond. */
  ask(): Promise<ServerIdentity | undefined>
  close(): Promise<void>
}

/** Keeps one session on a server as long as it responds. */
function openScout(
  target: PostgresTarget,
  host: Host,
  certificates: Certificates,
  answerMs = ANSWER_MS,
): Scout {
  let client: Sql | undefined
  const connect = () =>
    postgres({
      ...driverOptions(target, certificates, host),
      connect_timeout: answerMs / 1_000,
      max_lifetime: null,
      prepare: false,
      fetch_types: false,
      connection: { ...startupParameters(target, {}), application_name: SURVEY },
    })
  async function close(): Promise<void> {
    const closing = client
    client = undefined
    await closing?.end({ timeout: 0 })
  }
  return {
    async ask() {
      client ??= connect()
      const asked = client
      const late = Promise.withResolvers<undefined>()
      const timer = setTimeout(() => late.resolve(undefined), answerMs)
      const identity = await Promise.race([
        readIdentity((text) => asked.unsafe(text)).catch(() => undefined),
        late.promise,
      ])
      clearTimeout(timer)
      if (identity === undefined) await close()
      return identity
    },
    close,
  }
}

function isOlder(one: number | undefined, other: number | undefined): boolean {
  return one !== undefined && other !== undefined && one < other
}

interface Clocks {
  elapsed: number
  wall: number
}

/** Of a machine that was suspended, one of the two may have stood still. */
function readClocks(): Clocks {
  return { elapsed: performance.now(), wall: Date.now() }
}

function isLate(before: Clocks): boolean {
  const { elapsed, wall } = readClocks()
  return Math.max(elapsed - before.elapsed, Math.abs(wall - before.wall)) > LATE_MS
}

/** A process does not stay for it. */
function unref<Timer>(timer: Timer): Timer {
  ;(timer as { unref?: () => void }).unref?.()
  return timer
}
