/** A statement of the driver: sent once it is awaited; `values()` resolves to arrays instead of objects. */
export interface Statement extends PromiseLike<unknown> {
  values(): PromiseLike<unknown>
}

export type Send = (text: string, parameters?: unknown[], options?: object) => Statement

/** A client of the driver that has one connection. */
export interface Connection {
  unsafe: Send
  end(options: { timeout: number }): Promise<void>
}

export interface PoolOptions {
  /** Connections, at most. */
  max: number
  /** Makes a client; it calls `onLost` when its connection is gone. */
  connect: (onLost: () => void) => Connection
  /** Longest wait for a free connection. */
  acquireTimeoutMs: number
  /** A connection that is silent for this long while a statement is under way is considered dead. */
  silenceTimeoutMs: number
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
  /** Statements that were sent and have no result yet; also several of one transaction. */
  unanswered: number
  /** Runs while a statement is under way and the server is silent. */
  silenceTimer: ReturnType<typeof setTimeout> | undefined
}

interface Waiting {
  demand: Demand
  resolve: (connection: PooledConnection) => void
  timer: ReturnType<typeof setTimeout>
}

/** Statements pipelined on one connection once all are in use. More would keep it busier and delay each other. */
const MAX_PIPELINED = 8

/** The connection is gone, or none is free. `isOutage` knows the codes. */
class ConnectionError extends Error {
  readonly code: 'CONNECTION_LOST' | 'CONNECTION_BUSY' | 'CONNECTION_ENDED'
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
export function openPool({ max, connect, acquireTimeoutMs, silenceTimeoutMs }: PoolOptions): Pool {
  const connections = new Set<PooledConnection>()
  const waiting: Waiting[] = []
  let isClosing = false

  function open(): PooledConnection {
    const pooled: PooledConnection = {
      connection: connect(() => discard(pooled)),
      isLost: false,
      inFlight: 0,
      isExclusive: false,
      prepared: new Set(),
      isPreparing: false,
      unanswered: 0,
      silenceTimer: undefined,
    }
    connections.add(pooled)
    return pooled
  }

  function discard(pooled: PooledConnection): void {
    if (pooled.isLost) return
    pooled.isLost = true
    connections.delete(pooled)
    void pooled.connection.end({ timeout: 0 })
    serveWaiting()
  }

  /** The least busy connection that can take one more statement; undefined when there is none. */
  function available({ isExclusive, text }: Demand): PooledConnection | undefined {
    let least: PooledConnection | undefined
    for (const pooled of connections) {
      if (pooled.inFlight === 0) return pooled
      if (pooled.isExclusive || pooled.isPreparing || !pooled.prepared.has(text)) continue
      if (least === undefined || pooled.inFlight < least.inFlight) least = pooled
    }
    if (connections.size < max) return open()
    return isExclusive || least === undefined || least.inFlight >= MAX_PIPELINED ? undefined : least
  }

  /** FIFO: an exclusive demand at the head blocks later ones, which prevents its starvation. */
  function serveWaiting(): void {
    while (!isClosing && waiting.length > 0) {
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
    if (isClosing) throw new ConnectionError('CONNECTION_ENDED')
    const pooled = waiting.length === 0 ? available(demand) : undefined
    if (pooled !== undefined) return reserve(pooled, demand)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(place), 1)
        reject(new ConnectionError('CONNECTION_BUSY'))
        serveWaiting()
      }, acquireTimeoutMs)
      const place: Waiting = { demand, resolve, timer }
      waiting.push(place)
    })
  }

  function release(pooled: PooledConnection): void {
    pooled.inFlight--
    pooled.isExclusive = false
    pooled.isPreparing = false
    serveWaiting()
  }

  async function query(
    pooled: PooledConnection,
    asArrays: boolean,
    ...statement: Parameters<Send>
  ): Promise<unknown> {
    if (pooled.isLost) throw new ConnectionError('CONNECTION_LOST')
    pooled.unanswered++
    pooled.silenceTimer ??= setTimeout(() => discard(pooled), silenceTimeoutMs)
    try {
      const sent = pooled.connection.unsafe(...statement)
      const result = await (asArrays ? sent.values() : sent)
      pooled.prepared.add(statement[0])
      return result
    } catch (error) {
      if (!isStatementError(error)) discard(pooled)
      throw error
    } finally {
      pooled.unanswered--
      restartSilenceTimer(pooled)
    }
  }

  /** The next statement on the connection gets the whole timeout. */
  function restartSilenceTimer(pooled: PooledConnection): void {
    clearTimeout(pooled.silenceTimer)
    const isIdle = pooled.isLost || pooled.unanswered === 0
    pooled.silenceTimer = isIdle ? undefined : setTimeout(() => discard(pooled), silenceTimeoutMs)
  }

  async function queryOnce(asArrays: boolean, ...statement: Parameters<Send>): Promise<unknown> {
    const pooled = await acquire({ isExclusive: false, text: statement[0] })
    try {
      return await query(pooled, asArrays, ...statement)
    } finally {
      release(pooled)
    }
  }

  async function inTransaction<T>(
    pooled: PooledConnection,
    work: (send: Send) => Promise<T>,
  ): Promise<T> {
    let isOver = false
    try {
      await query(pooled, false, 'BEGIN')
      const result = await work((...statement) =>
        lazily((asArrays) => {
          if (isOver) throw new ConnectionError('CONNECTION_LOST')
          return query(pooled, asArrays, ...statement)
        }),
      )
      isOver = true
      await query(pooled, false, 'COMMIT')
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
      const pooled = await acquire({ isExclusive: true, text: '' })
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
    // biome-ignore lint/suspicious/noThenProperty: a statement of the driver is a thenable too.
    // biome-ignore lint/suspicious/noAssignInExpressions: sent once, however often it is awaited.
    then: (done, failed) => (result ??= send(false)).then(done, failed),
    values: () => send(true),
  }
}

/** Whether the server rejected one statement and the session continues; any other error ends the connection. */
function isStatementError(error: unknown): boolean {
  return error instanceof Error && 'severity' in error && error.severity === 'ERROR'
}
