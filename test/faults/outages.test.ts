import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { type OwnPostgres, startOwnPostgres } from '../support/postgres.ts'
import { breakDatabase, type Outage, type Outages } from '../support/workloads/outages.ts'

/** `npm run soak` breaks it many times in every way. */
const SHORT: readonly Outage[] = ['fast', 'kill']

let server: OwnPostgres
let tally: Outages
beforeAll(async () => {
  server = await startOwnPostgres()
  const chain = { devnetUrl: inject('devnetUrl') }
  tally = await breakDatabase({ server, chain, outages: SHORT })
})
afterAll(() => server.close())

it('while its database is away the service answers 503 and nothing else, and is back in 2 s', () => {
  expect(tally).toMatchObject({ wrongWhileDown: {}, unexpected: {}, lateRefusals: 0, died: [] })
  expect(tally.whileDown).toBeGreaterThan(0)
})

it('nobody waits for longer than a few seconds', () => {
  expect(tally.slowestMs).toBeLessThan(5_000)
})

it('a request whose answer was lost with the database is counted as what became of it', () => {
  expect(tally.mismatches).toEqual([])
})

it('the service leaves no connection behind: it has no more than its pools may have', () => {
  expect(tally.connectionsBefore).toBeGreaterThan(0)
  expect(tally.connectionsAfter).toBeLessThanOrEqual(tally.connectionsAllowed)
})
