import { hash, randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { openMac } from '../../src/crypto/mac.ts'
import { walletShard } from '../../src/db/shard.ts'
import { type KnownKeys, openKnownKeys } from '../../src/gate/known-keys.ts'
import { RIGHT_NAMES, readRights, rightsText } from '../../src/keys/rights.ts'
import type { KeyHash } from '../../src/keys/secret.ts'

const mac = openMac([{ name: 'first', bytes: randomBytes(32) }] as never)
const NOW = Date.UTC(2031, 4, 6)
const SERVER = '2031-01-01T00:00:00Z'
const WALLET = 'ST1'
const hashOf = (n: number) => hash('sha256', String(n)) as KeyHash

/** A row as the statement returns it, with its MAC unless another one is given. */
function row(n: number, { server = SERVER, seal = undefined as string | undefined | null } = {}) {
  const given: Partial<Record<string, string>> = { id: `key_${n}`, walletAddress: WALLET }
  const rights = RIGHT_NAMES.map((name) => given[name] ?? null)
  const stored = seal === undefined ? mac(rightsText(readRights(rights))) : seal
  return JSON.stringify([rights, stored, `70${n}`, server])
}

function twice(known: KnownKeys, n: number, as = n) {
  for (const _ of [1, 2]) known.read(hashOf(n), row(as), NOW)
}

describe('what is known of keys', () => {
  it('is what the last version says, of a key that was read before', () => {
    const known = openKnownKeys(mac)
    known.read(hashOf(1), row(1), NOW)
    expect(known.find(hashOf(1), NOW)).toBeUndefined()
    known.read(hashOf(1), row(1), NOW)
    expect(known.find(hashOf(1), NOW)).toMatchObject({
      rights: { id: 'key_1' },
      xmin: '701',
    })
    known.read(hashOf(1), row(2), NOW)
    expect(known.find(hashOf(1), NOW)).toMatchObject({ rights: { id: 'key_2' }, xmin: '702' })
  })

  it.each([
    ['another MAC', '00'],
    ['no MAC', null],
  ])('is nothing of a row with %s, and nothing more of the version before', (_, seal) => {
    const known = openKnownKeys(mac)
    twice(known, 1)
    const read = known.read(hashOf(1), row(1, { seal }), NOW)
    expect(read).toEqual({ keyId: 'key_1', shard: walletShard(WALLET), key: undefined })
    expect(known.find(hashOf(1), NOW)).toBeUndefined()
  })

  it('is forgotten after a minute, and where a clock runs back', () => {
    const known = openKnownKeys(mac)
    twice(known, 1)
    expect(known.find(hashOf(1), NOW + 60_000)).toBeDefined()
    expect(known.find(hashOf(1), NOW + 60_001)).toBeUndefined()
    expect(known.find(hashOf(1), NOW - 1)).toBeUndefined()
  })

  it('is forgotten with the server that it was read from', () => {
    const known = openKnownKeys(mac)
    expect(known.servedSince()).toBeUndefined()
    twice(known, 1)
    expect(known.servedSince()).toBe(SERVER)
    for (const _ of [1, 2]) known.read(hashOf(2), row(2, { server: '2031-02-01T00:00:00Z' }), NOW)
    expect(known.servedSince()).toBe('2031-02-01T00:00:00Z')
    expect(known.find(hashOf(1), NOW)).toBeUndefined()
    expect(known.find(hashOf(2), NOW)).toBeDefined()
  })

  it('is bounded, and of keys that are used the last to go', () => {
    const known = openKnownKeys(mac, 100)
    for (let n = 0; n < 100; n++) twice(known, n)
    for (let n = 100; n < 1_000; n++) {
      for (const used of [1, 50]) expect(known.find(hashOf(used), NOW)).toBeDefined()
      twice(known, n)
    }
    const left = Array.from({ length: 1_000 }, (_, n) => known.find(hashOf(n), NOW))
    expect(left.filter((key) => key !== undefined)).toHaveLength(100)
  })
})
