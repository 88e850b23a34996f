import { type SQL, sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { appendAudit } from '../audit/append.ts'
import type { AuditHead, HeadMember } from '../audit/event.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { timestamptz, timestamptzOrNull } from '../db/time.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { ok, type Result, refuse } from '../result.ts'
import { isStacksAddress } from '../stacks/address.ts'
import { type ChangeReason, changeKeys, changeLiveKey, lockKeys } from './change.ts'
import { walletOf } from './find.ts'
import type { KeyServices } from './services.ts'
import { resumed, type Suspension, suspended } from './suspension.ts'
import { watchSilence } from './watches.ts'

/** Refuses a key everything until it is resumed. Idempotent: suspending a suspended key succeeds. */
export async function suspendKey(
  services: KeyServices,
  action: SignedAction<{ keyId: string } & HeadMember>,
  now: number,
): Promise<Result<AuditHead, ChangeReason>> {
  return changeLiveKey(services, action, action.members.keyId, now, async (_, { rights }) =>
    ok(suspensionColumns(suspended(rights, 'owner', now))),
  )
}

/** Lifts the suspension of the owner, or of one of the owner's rules; the operator's refuses it. Idempotent: resuming an active key succeeds. */
export async function resumeKey(
  services: KeyServices,
  action: SignedAction<{ keyId: string } & HeadMember>,
  now: number,
): Promise<Result<AuditHead, ChangeReason>> {
  return changeLiveKey(services, action, action.members.keyId, now, async (tx, { rights }) => {
    const left = resumed(rights, 'owner')
    if (left === undefined) return refuse('keyNotLive', { reason: 'suspended_by_operator' })
    if (rights.suspendedAt !== null) await watchSilence(tx, rights, now)
    return ok(suspensionColumns(left))
  })
}

/** What an operator suspends: a key, or a wallet with all its keys, which then gets no new ones either. */
export type SuspensionTarget = { keyId: string } | { walletAddress: string }

type OperatorServices = Pick<KeyServices, 'db' | 'mac' | 'keepHead'> & {
  config: Pick<KeyServices['config'], 'STACKS_NETWORK'>
}
type OperatorReason = 'keyNotFound' | 'invalidRequest'

/**
 * Suspends keys in the operator's name; the owner reads `reason` in the audit and cannot lift it. Returns the ids of the keys
 * that it changed.
 */
export function suspendByOperator(
  services: OperatorServices,
  target: SuspensionTarget,
  reason: string,
  now: number,
): Promise<Result<string[], OperatorReason>> {
  return setByOperator(services, SUSPENDING, target, reason, now)
}

/** Lifts what `suspendByOperator` did. A key that its owner suspended as well stays suspended. */
export function resumeByOperator(
  services: OperatorServices,
  target: SuspensionTarget,
  reason: string,
  now: number,
): Promise<Result<string[], OperatorReason>> {
  return setByOperator(services, RESUMING, target, reason, now)
}

/** What suspending and resuming differ in. */
interface Direction {
  keyEvent: string
  walletEvent: string
  /** The suspension that a key has afterwards; undefined when it stays as it is. */
  after(before: Suspension, now: number): Suspension | undefined
  /** The statement that lets a wallet have new keys, or not. */
  walletSql(walletAddress: string, reason: string, now: number): SQL
}

const SUSPENDING: Direction = {
  keyEvent: 'suspend_api_key',
  walletEvent: 'suspend_wallet',
  after: (before, now) => suspended(before, 'operator', now),
  walletSql: (walletAddress, reason, now) =>
    sql`INSERT INTO suspended_wallets (wallet_address, reason, suspended_at)
      VALUES (${walletAddress}, ${reason}, ${timestamptz(now)}) ON CONFLICT DO NOTHING`,
}

const RESUMING: Direction = {
  keyEvent: 'resume_api_key',
  walletEvent: 'resume_wallet',
  after: (before) => resumed(before, 'operator'),
  walletSql: (walletAddress) =>
    sql`DELETE FROM suspended_wallets WHERE wallet_address = ${walletAddress}`,
}

async function setByOperator(
  services: OperatorServices,
  direction: Direction,
  target: SuspensionTarget,
  reason: string,
  now: number,
): Promise<Result<string[], OperatorReason>> {
  const { STACKS_NETWORK: network } = services.config
  if ('walletAddress' in target && !isStacksAddress(target.walletAddress, network))
    return refuse('invalidRequest', { problem: `no wallet of ${network}` })
  const changed = await atomically<OperatorChange, OperatorReason>(services.db, async (tx) => {
    const isTargeted = 'keyId' in target ? sql`id = ${target.keyId}` : sql`revoked_at IS NULL`
    const walletAddress =
      'walletAddress' in target ? target.walletAddress : await walletOf(tx, isTargeted)
    if (walletAddress === undefined) return refuse('keyNotFound')
    await lockWallet(tx, walletAddress)
    const change = await setKeys(
      tx,
      services,
      direction,
      { walletAddress, isTargeted },
      reason,
      now,
    )
    if ('walletAddress' in target) {
      await rows(tx, direction.walletSql(walletAddress, reason, now))
      change.head = await appendAudit(tx, {
        event: direction.walletEvent,
        walletAddress,
        actor: 'operator',
        at: now,
        details: { reason },
      })
    }
    return ok(change)
  })
  if (!changed.ok) return changed
  const { walletAddress, keyIds, head } = changed.value
  if (head !== undefined) await services.keepHead(walletAddress, head)
  return ok(keyIds)
}

/** The keys that an operator's act changed, and the wallet's new head; no head when it changed nothing. */
interface OperatorChange {
  walletAddress: string
  keyIds: string[]
  head?: AuditHead
}

/** Changes each key on its own, so that the audit has an event for each. */
async function setKeys(
  tx: Database,
  services: OperatorServices,
  direction: Direction,
  { walletAddress, isTargeted }: { walletAddress: string; isTargeted: SQL },
  reason: string,
  now: number,
): Promise<OperatorChange> {
  const changed: OperatorChange = { walletAddress, keyIds: [] }
  for (const key of await lockKeys(tx, services, walletAddress, isTargeted)) {
    const { id: keyId, suspendedBy } = key.rights
    const after = direction.after(key.rights, now)
    if (after === undefined || after.suspendedBy === suspendedBy) continue
    if (after.suspendedAt === null) await watchSilence(tx, key.rights, now)
    changed.head = await changeKeys(tx, services, [key], suspensionColumns(after), {
      event: direction.keyEvent,
      walletAddress,
      keyId,
      actor: 'operator',
      at: now,
      details: { reason },
    })
    changed.keyIds.push(keyId)
  }
  return changed
}

/** The assignments that suspend a key, or resume it. */
export function suspensionColumns({ suspendedAt, suspendedBy }: Suspension): SQL {
  return sql`suspended_at = ${timestamptzOrNull(suspendedAt)}, suspended_by = ${suspendedBy}::text`
}
