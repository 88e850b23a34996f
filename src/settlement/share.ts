import { sql } from 'drizzle-orm'
import { rows } from '../db/database.ts'
import { releaseLeases, takeLeases } from '../db/lease.ts'
import { later } from '../db/time.ts'
import type { SettlementServices } from './services.ts'

/*
 * How processes share the work of the reconciler. Each holds a lease on its own name, by which the others count it, and leases on the
 * operators whose transactions it follows. Who should have which follows from the names alone, so that processes need not agree on more
 * than these; a lease is taken only where no other process has it.
 */

/** Work of a pass that concerns no operator. One process does each. */
export const DUTIES = ['expire', 'burn', 'balances'] as const
export type Duty = (typeof DUTIES)[number]

/** What one process does in a pass. */
export interface Share {
  /** Addresses. */
  operators: ReadonlySet<string>
  duties: ReadonlySet<string>
}

/** A process that reconciles. */
export interface Member {
  holder: string
  /** The operators that it can sign for. */
  operators: readonly string[]
}

const MEMBER = 'reconciler:'
const OPERATOR = 'operator:'
const DUTY = 'duty:'

/** How many intervals of the reconciler a process keeps its share after it was last seen. Others take it over then. */
const LEASE_INTERVALS = 8
const MIN_LEASE_MS = 2_000
/** A share is extended when less of it is left than this part. */
const EXTEND_BELOW = 2 / 3

/**
 * The names that a member should have: every `count`-th operator of those that it shares, so that shares differ by one at most. Operators
 * are shared by the members that can sign for them; where none can, by all, who follow without replacing. Duties follow the operators.
 */
export function fairShare(
  operators: readonly string[],
  members: readonly Member[],
  holder: string,
): string[] {
  const sorted = members.toSorted((a, b) => (a.holder < b.holder ? -1 : 1))
  const turns = new Map<string, number>()
  const isMine = (able: readonly Member[]) => {
    const group = able.map((one) => one.holder).join()
    const turn = turns.get(group) ?? 0
    turns.set(group, turn + 1)
    return able[turn % able.length]?.holder === holder
  }
  const signers = new Map(sorted.map((one) => [one, new Set(one.operators)]))
  const ableTo = (operator: string) => {
    const able = sorted.filter((one) => signers.get(one)?.has(operator))
    return able.length === 0 ? sorted : able
  }
  return [
    ...operators
      .toSorted()
      .filter((one) => isMine(ableTo(one)))
      .map((one) => `${OPERATOR}${one}`),
    ...DUTIES.filter(() => isMine(sorted)).map((one) => `${DUTY}${one}`),
  ]
}

interface Lease {
  name: string
  holder: string
  isLive: boolean
  /** Whether it need not be extended now. */
  isFresh: boolean
  operators: string
}

type ShareServices = Pick<
  SettlementServices,
  'config' | 'db' | 'databaseTime' | 'operators' | 'holder'
>

/** Brings the leases of this process to its fair share, as far as others have released theirs, and resolves to what it has. */
export async function takeShare(services: ShareServices): Promise<Share> {
  const { holder, operators } = services
  const own = operators.all.map(({ address }) => address)
  const before = await readLeases(services)
  if (!before.some((one) => one.name === `${MEMBER}${holder}` && one.isFresh))
    await announce(services, own)
  const members = membersOf(before, { holder, operators: own })
  const known = await rows<{ address: string }>(services.db, sql`SELECT address FROM operators`)
  const all = new Set([
    ...known.map(({ address }) => address),
    ...members.flatMap((m) => m.operators),
  ])
  const fair = new Set(fairShare([...all], members, holder))
  const mine = before.filter((one) => one.holder === holder && !one.name.startsWith(MEMBER))
  await releaseLeases(
    services,
    mine.map(({ name }) => name).filter((name) => !fair.has(name)),
    holder,
  )
  const kept = mine.filter(({ name, isFresh }) => isFresh && fair.has(name)).map(({ name }) => name)
  const taken = await takeLeases(
    services,
    [...fair].filter((name) => !kept.includes(name)),
    holder,
    leaseMs(services),
  )
  return shareOf([...kept, ...taken])
}

/** Ends the leases of a process that stops, so that others need not wait for their end. */
export async function releaseShare({
  db,
  holder,
}: Pick<ShareServices, 'db' | 'holder'>): Promise<void> {
  await rows(db, sql`DELETE FROM leases WHERE holder = ${holder}`)
}

function leaseMs({ config }: Pick<ShareServices, 'config'>): number {
  return Math.max(MIN_LEASE_MS, config.RECONCILE_INTERVAL_MS * LEASE_INTERVALS)
}

async function readLeases(services: ShareServices): Promise<Lease[]> {
  const at = services.databaseTime()
  const extendBelowMs = leaseMs(services) * EXTEND_BELOW
  return rows<Lease>(
    services.db,
    sql`SELECT name, holder, until > ${at} AS "isLive", until > ${later(at, extendBelowMs)} AS "isFresh",
        coalesce(array_to_string(operators, ','), '') AS operators
      FROM leases`,
  )
}

/** Also forgets the processes that are long gone. */
async function announce(services: ShareServices, own: readonly string[]): Promise<void> {
  const { holder } = services
  const at = services.databaseTime()
  await rows(
    services.db,
    sql`WITH gone AS (
        DELETE FROM leases WHERE until < ${later(at, -FORGET_AFTER_MS)} AND name LIKE ${`${MEMBER}%`}
      )
      INSERT INTO leases (name, holder, until, operators)
      VALUES (${`${MEMBER}${holder}`}, ${holder}, ${later(at, leaseMs(services))}, ${`{${own.join(',')}}`}::text::text[])
      ON CONFLICT ON CONSTRAINT leases_pkey DO UPDATE SET until = excluded.until, operators = excluded.operators`,
  )
}

const FORGET_AFTER_MS = 3_600_000

function membersOf(leases: readonly Lease[], self: Member): Member[] {
  const others = leases.filter(
    ({ name, holder, isLive }) => isLive && name.startsWith(MEMBER) && holder !== self.holder,
  )
  return [
    self,
    ...others.map(({ holder, operators }) => ({
      holder,
      operators: operators.split(',').filter((one) => one !== ''),
    })),
  ]
}

function shareOf(names: readonly string[]): Share {
  const within = (prefix: string) =>
    new Set(names.flatMap((one) => (one.startsWith(prefix) ? [one.slice(prefix.length)] : [])))
  return { operators: within(OPERATOR), duties: within(DUTY) }
}
