/** A statement of the driver: sent once it is awaited; `values()` asks for arrays instead of objects. */
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
  /** Makes a client; `onLost` is to be called when its connection is gone. */
  connect: (onLost: () => void) => Connection
  /** Longest wait for a free connection. */
  turnTimeoutMs: number
  /** Longest wait for an answer: more than the server allows a statement. Whoever says nothing for so long is gone. */
  answerTimeoutMs: number
}

/** As much of the driver's interface as drizzle uses. */
export interface Pool {
  unsafe: Send
  begin<T>(work: (transaction: { unsafe: Send }) => Promise<T>): Promise<T>
  end(): Promise<void>
}

interface Lane {
  connection: Connection
  lost: boolean
}

interface Waiting {
  proceed: (lane: Lane) => void
  timer: ReturnType<typeof setTimeout>
}

/** The connection is gone, or none could be had. `isOutage` knows the codes. */
class ConnectionError extends Error {
  readonly code: 'CONNECTION_LOST' | 'CONNECTION_BUSY' | 'CONNECTION_ENDED'
  constructor(code: ConnectionError['code']) {
    super(code)
    this.code = code
  }
}

/**
 * Lends connections, to one statement or one transaction at a time, so that nobody waits behind another's slow one.
 *
 * postgres.js (3.4.9) has a pool of its own, which reconnects in place. A transaction whose connection died then goes on
 * outside of any transaction, or inside another's, and its ROLLBACK ends the process (issues 1208, 1216). So here a
 * connection that is lost is thrown away with its client, and what was under way on it is over.
 */
export function openPool({ max, connect, turnTimeoutMs, answerTimeoutMs }: PoolOptions): Pool {
  const lanes = new Set<Lane>()
  let free: Lane[] = []
  const waiting: Waiting[] = []
  let closing = false

  function open(): Lane {
    const lane: Lane = { lost: false, connection: connect(() => drop(lane)) }
    lanes.add(lane)
    return lane
  }

  function drop(lane: Lane): void {
    if (lane.lost) return
    lane.lost = true
    lanes.delete(lane)
    free = free.filter((other) => other !== lane)
    void lane.connection.end({ timeout: 0 })
    if (!closing && waiting.length > 0) serveNext(open())
  }

  function serveNext(lane: Lane): void {
    const next = waiting.shift()
    if (next === undefined) return void free.push(lane)
    clearTimeout(next.timer)
    next.proceed(lane)
  }

  async function take(): Promise<Lane> {
    if (closing) throw new ConnectionError('CONNECTION_ENDED')
    const lane = free.pop()
    if (lane !== undefined) return lane
    if (lanes.size < max) return open()
    return new Promise((proceed, reject) => {
      const timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(place), 1)
        reject(new ConnectionError('CONNECTION_BUSY'))
      }, turnTimeoutMs)
      const place: Waiting = { proceed, timer }
      waiting.push(place)
    })
  }

  function giveBack(lane: Lane): void {
    if (!lane.lost) serveNext(lane)
  }

  async function ask(lane: Lane, asArrays: boolean, ...statement: Parameters<Send>) {
    if (lane.lost) throw new ConnectionError('CONNECTION_LOST')
    const timer = setTimeout(() => drop(lane), answerTimeoutMs)
    try {
      const sent = lane.connection.unsafe(...statement)
      return await (asArrays ? sent.values() : sent)
    } catch (error) {
      if (!isWordOfServer(error)) drop(lane)
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  async function askOnce(asArrays: boolean, ...statement: Parameters<Send>) {
    const lane = await take()
    try {
      return await ask(lane, asArrays, ...statement)
    } finally {
      giveBack(lane)
    }
  }

  async function inTransaction<T>(lane: Lane, work: (send: Send) => Promise<T>): Promise<T> {
    let over = false
    try {
      await ask(lane, false, 'BEGIN')
      const result = await work((...statement) =>
        lazily((asArrays) => {
          if (over) throw new ConnectionError('CONNECTION_LOST')
          return ask(lane, asArrays, ...statement)
        }),
      )
      await ask(lane, false, 'COMMIT')
      return result
    } catch (error) {
      over = true
      // What a connection that cannot even roll back is in the middle of, nobody knows.
      if (!lane.lost) await ask(lane, false, 'ROLLBACK').catch(() => drop(lane))
      throw error
    }
  }

  return {
    unsafe: (...statement) => lazily((asArrays) => askOnce(asArrays, ...statement)),
    async begin(work) {
      const lane = await take()
      try {
        return await inTransaction(lane, (unsafe) => work({ unsafe }))
      } finally {
        giveBack(lane)
      }
    },
    async end() {
      closing = true
      await Promise.all([...lanes].map((lane) => lane.connection.end({ timeout: 5 })))
    },
  }
}

/** A statement is sent when it is awaited, or its values are asked for. */
function lazily(send: (asArrays: boolean) => Promise<unknown>): Statement {
  let answer: Promise<unknown> | undefined
  return {
    // biome-ignore lint/suspicious/noThenProperty: a statement of the driver is a thenable too.
    // biome-ignore lint/suspicious/noAssignInExpressions: sent once, however often it is awaited.
    then: (done, failed) => (answer ??= send(false)).then(done, failed),
    values: () => send(true),
  }
}

/** Whether the server refused a statement and goes on; everything else ends a connection. */
function isWordOfServer(error: unknown): boolean {
  return error instanceof Error && 'severity' in error && error.severity === 'ERROR'
}
