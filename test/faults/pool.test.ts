import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { isOutage } from '../../src/db/database.ts'
import { type Connection, openPool, type Pool } from '../../src/db/pool.ts'
import { freshDatabase } from '../support/service.ts'

const MAX = 3

describe('the pool of connections to Postgres', () => {
  let databaseUrl: string
  let admin: postgres.Sql
  let opened = 0
  const pools: Pool[] = []
  beforeAll(async () => {
    databaseUrl = await freshDatabase('Postgres')
    admin = postgres(databaseUrl, { max: 1, onnotice: () => {} })
    await admin`CREATE TABLE notes (note text)`
  })
  afterAll(async () => {
    await Promise.all([...pools, admin].map((pool) => pool.end()))
  })

  function pool(timeouts = {}): Pool {
    opened = 0
    const made = openPool({
      max: MAX,
      acquireTimeoutMs: 5_000,
      silenceTimeoutMs: 5_000,
      ...timeouts,
      connect(onclose) {
        opened++
        const options = { max: 1, fetch_types: false, onclose, onnotice: () => {} }
        return postgres(databaseUrl, options) as unknown as Connection
      },
    })
    pools.push(made)
    return made
  }
  const faultOf = async (work: PromiseLike<unknown>) =>
    Promise.resolve(work).then(
      () => undefined,
      (error: unknown) => ({ outage: isOutage(error) }),
    )
  const kill = async (pid: unknown) => {
    await admin`SELECT pg_terminate_backend(${pid as number})`
    const gone = async (): Promise<void> => {
      const left = await admin`SELECT FROM pg_stat_activity WHERE pid = ${pid as number}`
      if (left.length > 0) await gone()
    }
    await gone()
  }
  const notes = async () => (await admin`SELECT note FROM notes`).map(({ note }) => note)
  const pidOf = async ({ unsafe }: Pick<Pool, 'unsafe'>) =>
    ((await unsafe('SELECT pg_backend_pid() AS pid')) as { pid: number }[])[0]?.pid

  it('answers any number of statements over its few connections', async () => {
    const { unsafe } = pool()
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, place) => unsafe('SELECT $1::int AS n', [place])),
    )
    expect(answers.map((rows) => (rows as { n: number }[])[0]?.n)).toEqual([...Array(50).keys()])
    expect(await unsafe('SELECT 1 AS one, 2 AS two').values()).toEqual([[1, 2]])
    expect(opened).toBe(MAX)
  })

  it('keeps nobody waiting behind a slow statement', async () => {
    const { unsafe } = pool()
    let slowIsDone = false
    const slow = Promise.resolve(unsafe('SELECT pg_sleep(2)')).then(() => {
      slowIsDone = true
    })
    for (let time = 0; time < 50; time++) await unsafe('SELECT 1')
    expect(slowIsDone).toBe(false)
    await slow
  })

  it('gives up a server that says nothing, and asks over another connection', async () => {
    const { unsafe } = pool({ silenceTimeoutMs: 200 })
    const before = await pidOf({ unsafe })
    const began = performance.now()
    expect(await faultOf(unsafe('SELECT pg_sleep(2)'))).toEqual({ outage: true })
    expect(performance.now() - began).toBeLessThan(1_500)
    expect(await pidOf({ unsafe })).not.toBe(before)
  })

  it('lets nobody wait for ever for a connection', async () => {
    const { unsafe } = pool({ acquireTimeoutMs: 200 })
    const slow = Array.from({ length: MAX }, () => unsafe('SELECT pg_sleep(1)'))
    const all = Promise.all(slow.map(faultOf))
    expect(await faultOf(unsafe('SELECT 1'))).toEqual({ outage: true })
    expect(await all).toEqual(Array(MAX).fill(undefined))
    expect(await faultOf(unsafe('SELECT 1'))).toBeUndefined()
  })

  it('goes on with a connection whose statement was refused, not with one that was lost', async () => {
    const { unsafe } = pool()
    const pid = await pidOf({ unsafe })
    expect(await faultOf(unsafe('SELECT 1 / 0'))).toEqual({ outage: false })
    expect(await pidOf({ unsafe })).toBe(pid)
    await kill(pid)
    await faultOf(unsafe('SELECT 1'))
    expect(await pidOf({ unsafe })).not.toBe(pid)
  })

  it('commits a transaction whole, or nothing of it', async () => {
    const { begin } = pool()
    let late = async (): Promise<unknown> => undefined
    await begin(async ({ unsafe }) => {
      await unsafe(`INSERT INTO notes VALUES ('kept'), ('kept too')`)
      late = async () => unsafe(`INSERT INTO notes VALUES ('late')`)
    })
    expect(await faultOf(late())).toEqual({ outage: true })
    const failed = begin(async ({ unsafe }) => {
      await unsafe(`INSERT INTO notes VALUES ('dropped')`)
      throw new Error('no')
    })
    await expect(failed).rejects.toThrow('no')
    expect(await notes()).toEqual(['kept', 'kept too'])
  })

  it('lets nobody else into a transaction, even when every connection is in one', async () => {
    const { begin, unsafe } = pool()
    const insert = (note: string) => unsafe('INSERT INTO notes VALUES ($1)', [note])
    await Promise.all(Array.from({ length: MAX }, () => insert('before')))
    const end = Promise.withResolvers<never>()
    const transactions = Array.from({ length: MAX }, () =>
      begin(async (transaction) => {
        await transaction.unsafe('SELECT 1')
        await end.promise
      }),
    )
    const failures = Promise.all(transactions.map(faultOf))
    const meanwhile = Promise.all(Array.from({ length: MAX }, () => insert('meanwhile')))
    // Whatever was sent astray has arrived by then.
    for (let time = 0; time < 20; time++) await admin`SELECT 1`
    end.reject(new Error('no'))
    expect(await failures).toEqual(Array(MAX).fill({ outage: false }))
    await meanwhile
    expect((await notes()).filter((note) => note === 'meanwhile')).toHaveLength(MAX)
    await admin`DELETE FROM notes WHERE note IN ('before', 'meanwhile')`
  })

  it('sends statements ahead once all connections are in use, and answers each its own', async () => {
    const { unsafe } = pool()
    const double = async (n: number) =>
      ((await unsafe('SELECT $1::int * 2 AS n', [n])) as { n: number }[])[0]?.n
    for (let time = 0; time < 3; time++)
      expect(await Promise.all([...Array(200).keys()].map(double))).toEqual(
        [...Array(200).keys()].map((n) => 2 * n),
      )
    const mixed = await Promise.all(
      [...Array(100).keys()].map((n) =>
        n % 10 === 0 ? faultOf(unsafe('SELECT 1 / $1::int', [0])) : double(n),
      ),
    )
    expect(mixed).toEqual(
      [...Array(100).keys()].map((n) => (n % 10 === 0 ? { outage: false } : 2 * n)),
    )
    expect(opened).toBe(MAX)
  })

  it('lets no statement of a transaction go on over another connection, or after its end', async () => {
    const { begin, unsafe } = pool()
    let late = async (): Promise<unknown> => undefined
    const lost = begin(async (transaction) => {
      await transaction.unsafe(`INSERT INTO notes VALUES ('lost')`)
      await kill(await pidOf(transaction))
      await Promise.all(Array.from({ length: 20 }, () => faultOf(unsafe('SELECT 1'))))
      late = async () => transaction.unsafe(`INSERT INTO notes VALUES ('astray')`)
      await late()
    })
    expect(await faultOf(lost)).toEqual({ outage: true })
    expect(await faultOf(late())).toEqual({ outage: true })
    await Promise.all(Array.from({ length: 20 }, () => unsafe('SELECT 1')))
    expect(await notes()).toEqual(['kept', 'kept too'])
  })
})
