import { throwFromDatabase } from './database.ts'

/** A statement of the driver: sent once it is awaited; `values()` resolves to arrays instead of objects. */
export interface Statement extends PromiseLike<unknown> {
  values(): PromiseLike<unknown>
}

export type Send = (text: string, parameters?: unknown[], options?: object) => Statement

/** A client of the driver that has one connection. */
export interface Connection {
  /** Resolves once the session may be used, and rejects where it must not be; absent: it may be at once. */
  opened?: Promise<void>
  unsafe: Send
  /** Why the session's results must not be used, as far as its server has told since; checked when they come. */
  problem?: () => Error | undefined
  end(options: { timeout: number }): Promise<void>
}

export interface PoolOptions {
  /** Connections, at most. */
  max: number
  /** Makes a client; it calls `onLost` when its connection is gone. */
  connect: (onLost: () => void) => Connection
  /** Undefined where a connection may be used now; else resolves once it is known which ones may be. */
  refresh?: () => Promise<void> | undefined
  /** What a server that was silent must respond to before statements are sent to it again. */
  probe?: string
  /** Longest wait for a free connection. */
  acquireTimeoutMs: number
  /** A connection that is silent for this long while a statement is under way is considered dead. */
  silenceTimeoutMs: number
  /** What begins a transaction. */
  begin?: string
  /**
   * Whether a pooler gives the session to another client after each transaction. Every statement is then a transaction of its
   * own, which `begin` gives its settings, and none is prepared.
   */
  isShared?: boolean
  /** A connection that is older takes no more statements. */
  maxLifetimeMs?: number
}

/** As much of the driver's interface as drizzle uses. */
export interface Pool {
  unsafe: Send
  begin<T>(work: (transaction: { unsafe: Send }) => Promise<T>): Promise<T>
  end(): Promise<void>
}

/** What a connection is acquired for: one statement, or a transaction, which needs it exclusively. */
interface Demand {
  isExclusive: boolean
  text: string
}

interface PooledConnection {
  connection: Connection
  isLost: boolean
  /** Statements under way; 1 for a transaction. */
  inFlight: number
  isExclusive: boolean
  /** Statements that the server has prepared on this connection. An unprepared one is not pipelined with others. */
  prepared: Set<string>
  isPreparing: boolean
  openedAt: number
  /** A time of its own for each connection: they are not replaced all at once. */
  endsAt: number
  /** It takes no more statements, and is closed once those under way have ended. */
  isRetired: boolean
  /** When the server owed the first answer of those under way. */
  silentSince: number
  /** Statements that were sent and have no result yet; also several of one transaction. */
  unanswered: number
  /** Runs while a statement is under way and the server is silent. */
  silenceTimer: ReturnType<typeof setTimeout> | undefined
}

interface Waiting {
  demand: Demand
  resolve: (connection: PooledConnection) => void
  reject: (error: ConnectionError) => void
  timer: ReturnType<typeof setTimeout>
}

/** Statements pipelined on one connection once all are in use. More would keep it busier and delay each other. */
const MAX_PIPELINED = 8

/** How long a statement waits for the probe of a server that stands still. */
const SILENT_WAIT_MS = 50
const MAX_LIFETIME_MS = 1_800_000
/** A connection that is younger is kept while the database is read-only: its successor would be so too. */
const MIN_AGE_MS = 1_000

/**
 * Refusals that the session itself may be the cause of: it belongs to a server that was demoted, or its prepared statements
 * to tables that were replaced. A new session may succeed.
 */
const SESSION_FAULTS = /^(25006|26000|42P05|0A000|42P01|3F000|XX)/
const READ_ONLY = '25006'

/** The connection is gone, or none is free. `isOutage` knows the codes. */
class ConnectionError extends Error {
  readonly code: 'CONNECTION_LOST' | 'CONNECTION_BUSY' | 'CONNECTION_ENDED' | 'CONNECTION_SILENT'
  constructor(code: ConnectionError['code']) {
    super(code)
    this.code = code
  }
}

/**
 * A connection pool: one connection per statement while there are enough, pipelining after that, and a connection of its
 * own for each transaction.
 *
 * The pool of postgres.js (3.4.9) reconnects in place. A transaction whose connection was lost then continues outside of
 * any transaction, or inside another one, and its ROLLBACK ends the process (issues 1208, 1216). Here a lost connection is
 * discarded together with its client, and every statement under way on it rejects.
 */
export function openPool({
  max,
  connect,
  refresh = () => undefined,
  probe: probeText = 'SELECT 1',
  acquireTimeoutMs,
  silenceTimeoutMs,
  begin = 'BEGIN',
  isShared = false,
  maxLifetimeMs = MAX_LIFETIME_MS,
}: PoolOptions): Pool {
  const connections = new Set<PooledConnection>()
  const waiting: Waiting[] = []
  let isClosing = false
  /** When the server last responded to anything. */
  let heardAt = 0
  /** Whether the server stands still: statements reject soon until a probe is answered. */
  let isSilent = false

  function open(): PooledConnection {
    const openedAt = performance.now()
    const pooled: PooledConnection = {
      connection: connect(() => discard(pooled)),
      isLost: false,
      inFlight: 0,
      isExclusive: false,
      prepared: new Set(),
      isPreparing: false,
      openedAt,
      endsAt: openedAt + maxLifetimeMs * (1 - Math.random() / 4),
      isRetired: false,
      silentSince: 0,
      unanswered: 0,
      silenceTimer: undefined,
    }
    pooled.connection.opened?.catch(() => {}) // Each of its statements rejects with it.
    connections.add(pooled)
    return pooled
  }

  function close(pooled: PooledConnection): void {
    pooled.isLost = true
    connections.delete(pooled)
    void pooled.connection.end({ timeout: 0 })
  }

  function discard(pooled: PooledConnection): void {
    if (pooled.isLost) return
    close(pooled)
    serveWaiting()
  }

  function retire(pooled: PooledConnection): void {
    pooled.isRetired = true
    if (pooled.inFlight === 0) discard(pooled)
  }

  /** A session on a server that was demoted stays read-only, and so do those that were opened with it. */
  function retireAll(): void {
    const newest = performance.now() - MIN_AGE_MS
    for (const pooled of [...connections]) if (pooled.openedAt < newest) retire(pooled)
  }

  /** The least busy connection that can take one more statement; undefined when there is none. */
  function available({ isExclusive, text }: Demand): PooledConnection | undefined {
    let least: PooledConnection | undefined
    const now = performance.now()
    for (const pooled of connections) {
      if (pooled.endsAt <= now) pooled.isRetired = true
      if (pooled.isRetired && pooled.inFlight === 0) close(pooled)
      if (pooled.isRetired) continue
      if (pooled.inFlight === 0) return pooled
      if (pooled.isExclusive || pooled.isPreparing || !pooled.prepared.has(text)) continue
      if (least === undefined || pooled.inFlight < least.inFlight) least = pooled
    }
    if (connections.size < max) return open()
    return isExclusive || least === undefined || least.inFlight >= MAX_PIPELINED ? undefined : least
  }

  /** FIFO: an exclusive demand at the head blocks later ones, which prevents its starvation. */
  function serveWaiting(): void {
    while (!isClosing && !isSilent && waiting.length > 0) {
      const { demand, resolve, timer } = waiting[0] as Waiting
      const pooled = available(demand)
      if (pooled === undefined) return
      waiting.shift()
      clearTimeout(timer)
      resolve(reserve(pooled, demand))
    }
  }

  function reserve(pooled: PooledConnection, { isExclusive, text }: Demand): PooledConnection {
    pooled.inFlight++
    pooled.isExclusive = isExclusive
    pooled.isPreparing = !pooled.prepared.has(text)
    return pooled
  }

  async function acquire(demand: Demand): Promise<PooledConnection> {
    const refreshed = refresh()
    if (refreshed !== undefined) await refreshed
    if (isClosing) throw new ConnectionError('CONNECTION_ENDED')
    const pooled = waiting.length === 0 && !isSilent ? available(demand) : undefined
    if (pooled !== undefined) return reserve(pooled, demand)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => {
          waiting.splice(waiting.indexOf(place), 1)
          reject(new ConnectionError(isSilent ? 'CONNECTION_SILENT' : 'CONNECTION_BUSY'))
          serveWaiting()
        },
        isSilent ? SILENT_WAIT_MS : acquireTimeoutMs,
      )
      const place: Waiting = { demand, resolve, reject, timer }
      waiting.push(place)
    })
  }

  function release(pooled: PooledConnection): void {
    pooled.inFlight--
    pooled.isExclusive = false
    pooled.isPreparing = false
    if (pooled.isRetired && pooled.inFlight === 0 && !pooled.isLost) close(pooled)
    serveWaiting()
  }

  async function query(
    pooled: PooledConnection,
    asArrays: boolean,
    ...statement: Parameters<Send>
  ): Promise<unknown> {
    if (pooled.isLost) throw new ConnectionError('CONNECTION_LOST')
    pooled.unanswered++
    if (pooled.silenceTimer === undefined) startSilenceTimer(pooled)
    try {
      if (pooled.connection.opened !== undefined) await pooled.connection.opened
      const sent = pooled.connection.unsafe(...statement)
      const result = await (asArrays ? sent.values() : sent)
      const problem = pooled.connection.problem?.()
      if (problem !== undefined) throw problem
      // Its server was found to be an old primary, or its commit to stand there alone, while the result was on its way.
      if (pooled.isLost) throw new ConnectionError('CONNECTION_LOST')
      heardAt = performance.now()
      pooled.prepared.add(statement[0])
      return takeRows(result)
    } catch (error) {
      handleFault(pooled, error)
      throw error
    } finally {
      pooled.unanswered--
      restartSilenceTimer(pooled)
    }
  }

  function handleFault(pooled: PooledConnection, error: unknown): void {
    const code = error instanceof Error && 'code' in error ? String(error.code) : ''
    if (!isStatementError(error)) {
      if (code === 'CONNECT_TIMEOUT') handleSilence(pooled)
      discard(pooled)
      return
    }
    heardAt = performance.now()
    if (SESSION_FAULTS.test(code)) retire(pooled)
    if (code === READ_ONLY) retireAll()
  }

  function startSilenceTimer(pooled: PooledConnection): void {
    pooled.silentSince = performance.now()
    pooled.silenceTimer = setTimeout(() => handleSilence(pooled), silenceTimeoutMs)
  }

  /** The next statement on the connection gets the whole timeout. */
  function restartSilenceTimer(pooled: PooledConnection): void {
    clearTimeout(pooled.silenceTimer)
    pooled.silenceTimer = undefined
    if (!pooled.isLost && pooled.unanswered > 0) startSilenceTimer(pooled)
  }

  /**
   * One connection is dead if the server has responded on another one meanwhile. Otherwise the server stands still: whatever
   * waits for it rejects, so that each request has its answer within one timeout, however many statements stand before it.
   */
  function handleSilence(pooled: PooledConnection): void {
    if (isSilent || heardAt > pooled.silentSince) {
      discard(pooled)
      return
    }
    isSilent = true
    for (const one of [...connections]) close(one)
    for (const { reject, timer } of waiting.splice(0)) {
      clearTimeout(timer)
      reject(new ConnectionError('CONNECTION_SILENT'))
    }
    void probe()
  }

  /** Connects again until the server responds in any way. A server that refuses connections is not silent. */
  async function probe(): Promise<void> {
    const demand = { isExclusive: true, text: '' }
    while (isSilent && !isClosing) {
      const pooled = reserve(open(), demand)
      const fault = await query(pooled, false, probeText).then(
        () => undefined,
        (error: unknown) => error,
      )
      isSilent = fault !== undefined && isTimeout(fault)
      release(pooled)
    }
  }

  async function queryOnce(asArrays: boolean, ...statement: Parameters<Send>): Promise<unknown> {
    const pooled = await acquire({ isExclusive: isShared, text: statement[0] })
    try {
      return isShared
        ? await queryInTransaction(pooled, asArrays, ...statement)
        : await query(pooled, asArrays, ...statement)
    } finally {
      release(pooled)
    }
  }

  /** The three texts are sent without waiting for each other. After an error COMMIT rolls back. */
  async function queryInTransaction(
    pooled: PooledConnection,
    asArrays: boolean,
    ...statement: Parameters<Send>
  ): Promise<unknown> {
    const [began, result, ended] = await Promise.allSettled([
      query(pooled, false, begin),
      query(pooled, asArrays, ...statement),
      query(pooled, false, 'COMMIT'),
    ])
    for (const one of [began, result, ended]) if (one.status === 'rejected') throw one.reason
    return (result as PromiseFulfilledResult<unknown>).value
  }

  async function inTransaction<T>(
    pooled: PooledConnection,
    work: (send: Send) => Promise<T>,
  ): Promise<T> {
    let isOver = false
    try {
      await query(pooled, false, begin).catch(throwFromDatabase)
      const result = await work((...statement) =>
        lazily(async (asArrays) => {
          if (isOver) throw new ConnectionError('CONNECTION_LOST')
          return query(pooled, asArrays, ...statement)
        }),
      )
      isOver = true
      await query(pooled, false, 'COMMIT').catch(throwFromDatabase)
      return result
    } catch (error) {
      isOver = true
      // The state of a connection that cannot roll back is unknown.
      if (!pooled.isLost) await query(pooled, false, 'ROLLBACK').catch(() => discard(pooled))
      throw error
    }
  }

  return {
    unsafe: (...statement) => lazily((asArrays) => queryOnce(asArrays, ...statement)),
    async begin(work) {
      const pooled = await acquire({ isExclusive: true, text: '' }).catch(throwFromDatabase)
      try {
        return await inTransaction(pooled, (unsafe) => work({ unsafe }))
      } finally {
        release(pooled)
      }
    },
    async end() {
      isClosing = true
      await Promise.all([...connections].map(({ connection }) => connection.end({ timeout: 5 })))
    },
  }
}

/** A statement that is sent when it is awaited, or when its values are requested. */
function lazily(send: (asArrays: boolean) => Promise<unknown>): Statement {
  let result: Promise<unknown> | undefined
  return {
    // A statement of the driver is a thenable too.
    // biome-ignore lint/suspicious/noAssignInExpressions: sent once, however often it is awaited.
    then: (done, failed) => (result ??= send(false).catch(throwFromDatabase)).then(done, failed),
    values: () => send(true).catch(throwFromDatabase),
  }
}

/**
 * The rows of a result, which is emptied. V8 keeps the driver's promises until a full collection, because each has functions among its
 * properties: with their rows they would fill the old generation, at a load of the gate by 12 KB a statement.
 */
function takeRows(result: unknown): unknown {
  if (!Array.isArray(result)) return result
  const rows: unknown[] = []
  // The driver's class of results makes `splice` ten times slower.
  for (const row of result) rows.push(row)
  result.length = 0
  return rows
}

/** Whether the server rejected one statement and the session continues; any other error ends the connection. */
function isStatementError(error: unknown): boolean {
  return error instanceof Error && 'severity' in error && error.severity === 'ERROR'
}

/** Whether a probe had no answer. A connection that was closed for its silence rejects so too. */
function isTimeout(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return /^(CONNECT_TIMEOUT|CONNECTION_DESTROYED|CONNECTION_LOST|ETIMEDOUT)$/.test(code)
}
