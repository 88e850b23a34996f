import { expect, inject, it } from 'vitest'
import { freshDatabase } from '../support/service.ts'
import { killUnderLoad } from '../support/workloads/kills.ts'

/** `npm run soak` does it 100 times. */
const KILLS = 3

it('a process that is killed at any moment loses no count of what it answered, and invents none', {
  timeout: 300_000,
}, async () => {
  const tally = await killUnderLoad({
    databaseUrl: await freshDatabase('Postgres'),
    chain: { devnetUrl: inject('devnetUrl') },
    kills: KILLS,
  })
  expect(tally).toMatchObject({ kills: KILLS, unexpected: {}, mismatches: [], deadlocks: 0 })
  expect(tally.lost).toBeGreaterThan(0)
  expect(tally.requests).toBeGreaterThan(100 * KILLS)
})
