import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { type OwnPostgres, startOwnPostgres } from '../support/postgres.ts'
import { breakDatabase, type Outage, type Outages } from '../support/workloads/outages.ts'

const ROUNDS = 6
/** 20 outages, of every kind. `npm run soak` has more. */
const TWENTY: readonly Outage[] = [
  ...Array.from({ length: ROUNDS }, () => ['fast', 'immediate', 'kill'] as const).flat(),
  'freeze',
  'freeze',
]
const OUTAGES_MS = 300_000

let server: OwnPostgres
let tally: Outages
beforeAll(async () => {
  server = await startOwnPostgres()
  const chain = { devnetUrl: inject('devnetUrl') }
  tally = await breakDatabase({ server, chain, outages: TWENTY })
}, OUTAGES_MS)
afterAll(() => server.close())

it('while its database is away the service answers 503 and nothing else, and in 20 outages no 503 comes later than 2 s after its return', () => {
  expect(tally).toMatchObject({ wrongWhileDown: {}, unexpected: {}, lateRefusals: 0, died: [] })
  expect(tally.whileDown).toBeGreaterThan(0)
})

it('no request waits for longer than its waits for the database may take, also while every process of it stands still', () => {
  expect(tally.tooLong).toEqual([])
})

it('a request whose answer was lost with the database is counted as what became of it', () => {
  expect(tally.mismatches).toEqual([])
})

it('the service leaves no connection behind: it has no more than its pools may have', () => {
  expect(tally.connectionsBefore).toBeGreaterThan(0)
  expect(tally.connectionsAfter).toBeLessThanOrEqual(tally.connectionsAllowed)
})
