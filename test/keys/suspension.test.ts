import { describe, expect, it } from 'vitest'
import {
  resumed,
  SUSPENDING_RULES,
  type Suspender,
  type Suspension,
  suspended,
} from '../../src/keys/suspension.ts'

const ACTIVE: Suspension = { suspendedAt: null, suspendedBy: null }
/** Suspended by each of these, one after another, from the time 1 on. */
const after = (...suspenders: Suspender[]) =>
  suspenders.reduce((before, by, at) => suspended(before, by, at + 1), ACTIVE)
const by = (suspendedBy: string | null) => ({ suspendedAt: 1, suspendedBy })

describe('A suspension', () => {
  it.each<[Suspender[], string]>([
    [['owner'], 'owner'],
    [['operator'], 'operator'],
    [['heartbeat'], 'heartbeat'],
    [['owner', 'operator'], 'both'],
    [['operator', 'owner'], 'both'],
    [['heartbeat', 'operator'], 'both'],
    [['operator', 'heartbeat'], 'both'],
    [['heartbeat', 'owner'], 'owner'],
    [['owner', 'heartbeat'], 'owner'],
    [['newAddress', 'heartbeat'], 'newAddress'],
    [['owner', 'operator', 'heartbeat'], 'both'],
  ])('by %j is by %s, since the first of them', (suspenders, name) => {
    expect(after(...suspenders)).toEqual(by(name))
  })

  it.each([
    'owner',
    'both',
    ...SUSPENDING_RULES,
  ])('by %s: the operator lifts its own alone', (name) => {
    expect(resumed(by(name), 'operator')).toEqual(by(name === 'both' ? 'owner' : name))
  })

  it.each(['owner', ...SUSPENDING_RULES])('by %s: its owner lifts it', (name) => {
    expect(resumed(by(name), 'owner')).toEqual(ACTIVE)
  })

  it.each(['operator', 'both', null])('by %s: its owner cannot lift it', (name) => {
    expect(resumed(by(name), 'owner')).toBeUndefined()
  })

  it.each(['operator', null])('by %s: the operator lifts it', (name) => {
    expect(resumed(by(name), 'operator')).toEqual(ACTIVE)
  })
})
