import * as z from 'zod'
import { type ArchiveRefusal, archive } from '../archive/archive.ts'
import { checkArchives } from '../archive/check.ts'
import { listArchives } from '../archive/lease.ts'
import { lookUpKeys } from '../keys/find.ts'
import type { KeyHash } from '../keys/secret.ts'
import { resumeByOperator, suspendByOperator } from '../keys/suspend.ts'
import { type AuditCheck, checkAudit } from '../provenance/check.ts'
import { ok, type Result, refuse } from '../result.ts'
import { MAX_SERVICE_RATE } from '../service-credentials/credential.ts'
import {
  createCredential,
  listCredentials,
  revokeCredential,
} from '../service-credentials/manage.ts'
import { deleteOperatorWebhook } from '../webhooks/change.ts'
import { createOperatorWebhook, type UrlReason } from '../webhooks/create.ts'
import { listWebhooks } from '../webhooks/find.ts'
import { replayOperatorWebhook } from '../webhooks/resend.ts'
import { OperatorWebhook } from '../webhooks/schemas.ts'
import { listOperators, resumeOperator, retireOperator } from './accounts.ts'
import { readAccountBalances } from './balances.ts'
import type { OperatorServices } from './services.ts'
import { readStatistics } from './statistics.ts'
import { findStuck } from './stuck.ts'
import { readTop } from './top.ts'
import { endTopUps, planTopUps, sendTopUp, type TopUpRefusal } from './treasury.ts'

/** Why an act was refused. */
export type ActRefusal =
  | 'keyNotFound'
  | 'invalidRequest'
  | 'chainUnavailable'
  | 'operatorNotFound'
  | UrlReason
  | 'webhookLimitReached'
  | 'webhookNotFound'
  | 'credentialNotFound'
  | TopUpRefusal
  | ArchiveRefusal

interface Act<Input, Output> {
  input: z.ZodType<Input>
  run(services: OperatorServices, input: Input): Promise<Result<Output, ActRefusal>>
}

function act<Input, Output>(
  input: z.ZodType<Input>,
  run: Act<Input, Output>['run'],
): Act<Input, Output> {
  return { input, run }
}

const text = z.string().max(1_000)
const Target = z.strictObject({
  target: z.union([z.strictObject({ keyId: text }), z.strictObject({ walletAddress: text })]),
  reason: text.refine((reason) => reason.trim() !== '', 'is needed'),
})
const NewServiceCredential = z.strictObject({
  secretHash: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .transform((hash) => hash as KeyHash),
  preview: text,
  name: z.string().trim().min(1).max(64),
  scopes: z
    .array(
      z
        .string()
        .regex(/^[a-z][a-z0-9_-]*$/)
        .max(32),
    )
    .min(1)
    .max(32),
  rateLimit: z.int().min(1).max(MAX_SERVICE_RATE),
})
const Nothing = z.strictObject({})
const OwnWebhook = z.strictObject({ webhookId: text })
const Account = z.strictObject({ address: text })
const microStx = z.int().min(0)
const goal = { treasury: text, belowInMicroStx: microStx, upToInMicroStx: microStx }
const run = z.string().regex(/^[0-9a-f]{16}$/)
/** Bytes of a transaction, in hex. */
const transaction = z.string().regex(/^([0-9a-f]{2}){1,2000}$/)

/**
 * Everything that an operator does to a running service or to its database. Both ways call these: the command line on a
 * database that it opens, and the service for what arrives on its operator's socket.
 */
export const ACTS = {
  keys: act(
    z.strictObject({
      preview: text.optional(),
      keyId: text.optional(),
      walletAddress: text.optional(),
      after: text.optional(),
    }),
    lookUpKeys,
  ),
  suspend: act(Target, (services, { target, reason }) =>
    suspendByOperator(services, target, reason, services.now()),
  ),
  resume: act(Target, (services, { target, reason }) =>
    resumeByOperator(services, target, reason, services.now()),
  ),
  checkAudit: act(
    z.strictObject({ heads: z.array(z.string()).optional() }),
    async (services, { heads }): Promise<Result<AuditCheck, ActRefusal>> =>
      ok(await checkAudit(services, { heads: heads && linesOf(heads) })),
  ),
  archive: act(
    // The folder is one of the machine that the service runs on.
    z.strictObject({ before: z.int().min(0), folder: text, usage: z.boolean().optional() }),
    (services, input) => archive(services, input),
  ),
  archives: act(Nothing, async ({ db }) => ok(await listArchives(db))),
  checkArchives: act(z.strictObject({ folder: text }), async (services, { folder }) =>
    ok(await checkArchives(services, folder)),
  ),
  statistics: act(Nothing, async (services) => ok(await readStatistics(services))),
  balances: act(
    z.strictObject({ tokens: z.array(text).max(100) }),
    async (services, { tokens }) => {
      const balances = await readAccountBalances(services, tokens)
      return balances === undefined ? refuse('chainUnavailable') : ok(balances)
    },
  ),
  stuck: act(
    z.strictObject({ olderThanSeconds: z.int().min(0).optional() }),
    async (services, { olderThanSeconds }) => ok(await findStuck(services, olderThanSeconds)),
  ),
  operators: act(Nothing, async (services) => ok(await listOperators(services))),
  retireOperator: act(Account, (services, { address }) => retireOperator(services, address)),
  resumeOperator: act(Account, (services, { address }) => resumeOperator(services, address)),
  planTopUps: act(z.strictObject({ ...goal, run: run.optional() }), planTopUps),
  sendTopUp: act(z.strictObject({ ...goal, run, transaction }), sendTopUp),
  endTopUps: act(z.strictObject({ treasury: text, run }), endTopUps),
  webhooks: act(Nothing, async ({ db, now }) => ok(await listWebhooks(db, null, now()))),
  addWebhook: act(OperatorWebhook, (services, given) =>
    createOperatorWebhook(services, given, services.now()),
  ),
  removeWebhook: act(OwnWebhook, async ({ db }, { webhookId }) =>
    (await deleteOperatorWebhook(db, webhookId)) ? ok({}) : refuse('webhookNotFound'),
  ),
  replayWebhook: act(OwnWebhook, async ({ db, now }, { webhookId }) => {
    const queued = await replayOperatorWebhook(db, webhookId, now())
    return queued === undefined ? refuse('webhookNotFound') : ok({ queued })
  }),
  createServiceCredential: act(NewServiceCredential, (services, given) =>
    createCredential(services, given, services.now()),
  ),
  serviceCredentials: act(Nothing, async (services) => ok(await listCredentials(services))),
  revokeServiceCredential: act(
    z.strictObject({ credentialId: text, reason: text }),
    (services, { credentialId, reason }) =>
      revokeCredential(services, credentialId, reason, services.now()),
  ),
  top: act(z.strictObject({ limit: z.int().min(1).max(1_000) }), async (services, { limit }) =>
    ok(await readTop(services, limit)),
  ),
} as const

export type ActName = keyof typeof ACTS
export type ActInput<Name extends ActName> = Parameters<(typeof ACTS)[Name]['run']>[1]
export type ActOutput<Name extends ActName> = Extract<
  Awaited<ReturnType<(typeof ACTS)[Name]['run']>>,
  { ok: true }
>['value']

/** Performs an act, on a database or through a service. */
export type Perform = <Name extends ActName>(
  name: Name,
  input: ActInput<Name>,
) => Promise<Result<ActOutput<Name>, ActRefusal>>

/** Performs acts in this process. Input that does not fit is refused: it may have come through a socket. */
export function performWith(services: OperatorServices): Perform {
  return async (name, input) => {
    const { input: schema, run } = ACTS[name] as unknown as Act<unknown, never>
    const read = schema.safeParse(input)
    if (!read.success) return refuse('invalidRequest', { problem: read.error.message })
    return run(services, read.data)
  }
}

async function* linesOf(lines: readonly string[]): AsyncGenerator<string> {
  yield* lines
}
