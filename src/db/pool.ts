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

/** What a connection is wanted for: one statement, or a transaction, which shares it with nobody. */
interface Wish {
  isAlone: boolean
  text: string
}

interface Lane {
  connection: Connection
  lost: boolean
  /** Statements that are under way, or one transaction. */
  load: number
  isAlone: boolean
  /** Texts that the server has prepared here. One that is new to it has the connection to itself. */
  known: Set<string>
  isLearning: boolean
  /** Runs while something was asked and nothing is heard. */
  silence: ReturnType<typeof setTimeout> | undefined
}

interface Waiting {
  wish: Wish
  proceed: (lane: Lane) => void
  timer: ReturnType<typeof setTimeout>
}

/** Statements that are sent ahead over one connection once all are in use: more keep it busier, and wait for each other. */
const MOST_AHEAD = 8

/** The connection is gone, or none could be had. `isOutage` knows the codes. */
class ConnectionError extends Error {
  readonly code: 'CONNECTION_LOST' | 'CONNECTION_BUSY' | 'CONNECTION_ENDED'
  constructor(code: ConnectionError['code']) {
    super(code)
    this.code = code
  }
}

/**
 * Lends connections: one to each statement while there are enough, and to a transaction always alone.
 *
 * postgres.js (3.4.9) has a pool of its own, which reconnects in place. A transaction whose connection died then goes on
 * outside of any transaction, or inside another's, and its ROLLBACK ends the process (issues 1208, 1216). So here a
 * connection that is lost is thrown away with its client, and what was under way on it is over.
 */
export function openPool({ max, connect, turnTimeoutMs, answerTimeoutMs }: PoolOptions): Pool {
  const lanes = new Set<Lane>()
  const waiting: Waiting[] = []
  let closing = false

  function open(): Lane {
    const connection = connect(() => drop(lane))
    const lane: Lane = {
      connection,
      lost: false,
      load: 0,
      isAlone: false,
      known: new Set(),
      isLearning: false,
      silence: undefined,
    }
    lanes.add(lane)
    return lane
  }

  function drop(lane: Lane): void {
    if (lane.lost) return
    lane.lost = true
    lanes.delete(lane)
    void lane.connection.end({ timeout: 0 })
    serve()
  }

  /** The connection with least to do that may take one more; undefined when all are busy. */
  function roomFor({ isAlone, text }: Wish): Lane | undefined {
    let least: Lane | undefined
    for (const lane of lanes) {
      if (lane.load === 0) return lane
      if (lane.isAlone || lane.isLearning || !lane.known.has(text)) continue
      if (least === undefined || lane.load < least.load) least = lane
    }
    if (lanes.size < max) return open()
    return isAlone || least === undefined || least.load >= MOST_AHEAD ? undefined : least
  }

  /** In order of arrival: who needs a connection alone, at the head, lets nobody pass, or would never find one. */
  function serve(): void {
    while (!closing && waiting.length > 0) {
      const { wish, proceed, timer } = waiting[0] as Waiting
      const lane = roomFor(wish)
      if (lane === undefined) return
      waiting.shift()
      clearTimeout(timer)
      proceed(lend(lane, wish))
    }
  }

  function lend(lane: Lane, { isAlone, text }: Wish): Lane {
    lane.load++
    lane.isAlone = isAlone
    lane.isLearning = !lane.known.has(text)
    return lane
  }

  async function take(wish: Wish): Promise<Lane> {
    if (closing) throw new ConnectionError('CONNECTION_ENDED')
    const lane = waiting.length === 0 ? roomFor(wish) : undefined
    if (lane !== undefined) return lend(lane, wish)
    return new Promise((proceed, reject) => {
      const timer = setTimeout(() => {
        waiting.splice(waiting.indexOf(place), 1)
        reject(new ConnectionError('CONNECTION_BUSY'))
        serve()
      }, turnTimeoutMs)
      const place: Waiting = { wish, proceed, timer }
      waiting.push(place)
    })
  }

  function giveBack(lane: Lane): void {
    lane.load--
    lane.isAlone = false
    lane.isLearning = false
    serve()
  }

  async function ask(lane: Lane, asArrays: boolean, ...statement: Parameters<Send>) {
    if (lane.lost) throw new ConnectionError('CONNECTION_LOST')
    lane.silence ??= setTimeout(() => drop(lane), answerTimeoutMs)
    try {
      const sent = lane.connection.unsafe(...statement)
      const answer = await (asArrays ? sent.values() : sent)
      lane.known.add(statement[0])
      return answer
    } catch (error) {
      if (!isWordOfServer(error)) drop(lane)
      throw error
    } finally {
      hear(lane)
    }
  }

  /** Whoever is next on the connection has its time from now on. */
  function hear(lane: Lane): void {
    clearTimeout(lane.silence)
    const isOver = lane.lost || lane.isAlone || lane.load <= 1
    lane.silence = isOver ? undefined : setTimeout(() => drop(lane), answerTimeoutMs)
  }

  async function askOnce(asArrays: boolean, ...statement: Parameters<Send>) {
    const lane = await take({ isAlone: false, text: statement[0] })
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
      over = true
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
      const lane = await take({ isAlone: true, text: '' })
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
