import type { AuditHead } from '../audit/event.ts'
import { formIssues, MAX_GRACE_SECONDS } from '../keys/form.ts'
import type {
  CreatedKey,
  CreatedSigningKey,
  HeartbeatTaken,
  Key,
  Me,
  RotatedKey,
} from '../keys/key.ts'
import type { Permission } from '../keys/scope.ts'
import { hashSecret, type Secret } from '../keys/secret.ts'
import {
  KEY_TERMS,
  memberOf,
  NOTE_NAMES,
  type NoteTerms,
  TERM_NAMES,
  type TermName,
  termsAfter,
  validateTerms,
} from '../keys/terms.ts'
import type { KeyUsage, WalletUsage } from '../usage/usage.ts'
import { sendChange } from './audit-heads.ts'
import type { CallContext, Calls } from './call.ts'
import type { ServiceClock } from './clock.ts'
import { type LatchkeyError, latchkeyError, requireNoIssues, requireWhole } from './errors.ts'
import type { CreateKeyOptions, KeyFilter, Keys, NewKey, NewSigningKey } from './keys.ts'
import { createLostKeys, type LostKeys } from './lost-keys.ts'
import type { ActionMembers } from './message.ts'
import { collect, eachItem, pagedList } from './paging.ts'
import type { Call, Proof, Transport } from './transport.ts'
import type { Wallet } from './wallet.ts'

interface Message {
  message: string
  auditHead?: AuditHead
}

interface KeyPage {
  apiKeys: Key[]
  nextCursor?: string
}

interface ChangedKey {
  apiKey: Key
  auditHead?: AuditHead
}

interface Context {
  transport: Transport
  wallet: Wallet
  calls: Calls
  clock: ServiceClock
}

const MAX_CERTIFICATE_DAYS = 366
const MAX_PAGE = 100
const MAX_USAGE_DAYS = 90
const DAY_MS = 86_400_000

/** Creates the `keys` of a client. No request is sent before one of them is called. */
export function createKeys(context: Context): Keys {
  const lostKeys = createLostKeys(context)
  return {
    ...reads(context),
    ...grants(context, lostKeys),
    ...changes(context, lostKeys),
    ...revocations(context),
    ...ownKey(context),
  }
}

function reads({
  transport,
  wallet,
  calls,
}: Context): Pick<Keys, 'list' | 'listAll' | 'get' | 'usage' | 'usageOfAll'> {
  /** Sends a read, with the signed message in its headers. */
  const read = <T>(
    path: string,
    proof: Proof,
    context: CallContext,
    query: Record<string, string | number | undefined> = {},
  ) => {
    const how = { repeatable: true, isLong: true, context }
    return transport.send<T>({ method: 'GET', path, query, proof, ...how })
  }
  /** Reads the pages of a list, all with one proof. */
  function pages({ live, limit }: KeyFilter) {
    const proof = wallet.prove({ action: 'list_api_keys' })
    return async (cursor: string | undefined, context: CallContext) => {
      requireWhole('limit', limit, 1, MAX_PAGE)
      const query = { live: live === undefined ? undefined : String(live), limit, cursor }
      const page = await read<KeyPage>('/api-keys', proof, context, query)
      return { items: page.apiKeys, nextCursor: page.nextCursor }
    }
  }
  return {
    listAll: (options = {}) => pagedList<Key>(calls, options, pages(options)),
    list: (options = {}) =>
      calls.start(options, (context) => {
        const page = pages(options)
        return collect(eachItem<Key>((cursor) => page(cursor, context)))
      }),
    get: (keyId, options) =>
      calls.start(options, async (context) => {
        const proof = wallet.prove({ action: 'get_api_key', keyId })
        const { apiKey } = await read<{ apiKey: Key }>(keyPath(keyId), proof, context)
        return apiKey
      }),
    usage: (keyId, filter = {}, options) =>
      calls.start(options, async (context) => {
        requireWhole('days', filter.days, 1, MAX_USAGE_DAYS)
        const proof = wallet.prove({ action: 'get_api_key', keyId })
        return read<KeyUsage>(`${keyPath(keyId)}/usage`, proof, context, { ...filter })
      }),
    usageOfAll: (filter = {}, options) =>
      calls.start(options, async (context) => {
        requireWhole('days', filter.days, 1, MAX_USAGE_DAYS)
        const proof = wallet.prove({ action: 'list_api_keys' })
        return read<WalletUsage>('/usage', proof, context, { ...filter })
      }),
  }
}

function grants(
  { transport, wallet, calls }: Context,
  lostKeys: LostKeys,
): Pick<Keys, 'create' | 'recover' | 'discard'> {
  return {
    create: ((
      { name, permissions, expiresAt, ...limits }: NewKey & Partial<NewSigningKey>,
      { onSecret, ...options }: CreateKeyOptions = {},
    ) =>
      calls.start(options, async (context): Promise<CreatedKey | CreatedSigningKey> => {
        const terms = writeTerms({
          keyName: writeText(name),
          permissions,
          ...(expiresAt !== undefined && { expiresAt: writeTime(expiresAt) }),
          ...writeTexts(limits),
        })
        await requireTerms(wallet, terms, false, context)
        const repeatable = limits.publicKey !== undefined
        const secret = repeatable ? undefined : await wallet.newSecret(context.signal)
        const named = secret === undefined ? {} : { keyHash: hashSecret(secret) }
        const proof = wallet.prove({ action: 'create_api_key' as const, ...terms, ...named })
        if (secret === undefined)
          return sendChange<CreatedKey>(transport, wallet, {
            ...{ method: 'POST', path: '/api-keys', proof, context, repeatable },
          })
        await onSecret?.(secret)
        const lost = { secret, proof, path: '/api-keys' as const }
        context.onFailure = (error) => {
          if (context.isUncertain) lostKeys.keep(error, lost)
        }
        return lostKeys.send<CreatedKey>(lost, context)
      })) as Keys['create'],
    recover: (error, options) =>
      calls.start(options, (context) => lostKeys.recover(error, context)),
    discard: (error, options) =>
      calls.start(options, (context) => lostKeys.discard(error, context)),
  }
}

function changes(
  context: Context,
  lostKeys: LostKeys,
): Pick<Keys, 'update' | 'rotate' | 'suspend' | 'resume'> {
  const { wallet, calls } = context

  /** The key as it is now, after a change whose response was lost. A person is not asked to sign for it. */
  async function keyNow(keyId: string, refusal: LatchkeyError, of: CallContext) {
    const proof = wallet.prove({ action: 'get_api_key', keyId })
    if (refusal.code !== 'MESSAGE_REPLAYED' || proof.interactive) return undefined
    const path = keyPath(keyId)
    const how = { repeatable: true, proof, context: of }
    return context.transport.send<ChangedKey>({ method: 'GET', path, ...how })
  }

  async function changeKey(
    method: 'POST' | 'PATCH',
    path: string,
    message: ActionMembers & { keyId: string },
    of: CallContext,
  ): Promise<Key> {
    const { apiKey } = await change<ChangedKey>(context, method, path, message, of, {
      repeatable: true,
      tookEffect: (refusal) => keyNow(message.keyId, refusal, of),
    })
    return apiKey
  }

  return {
    update: (keyId, { name, expiresAt, previousUntil, ...limits }, options) =>
      calls.start(options, async (of) => {
        const path = keyPath(keyId)
        const ends = previousUntil === undefined ? {} : { previousUntil }
        const terms = writeTerms({
          ...(name !== undefined && { keyName: writeText(name) }),
          ...(expiresAt !== undefined && { expiresAt: expiresAt && writeTime(expiresAt) }),
          ...writeTexts(limits),
        })
        await requireTerms(wallet, terms, true, of)
        return changeKey('PATCH', path, { action: 'update_api_key', keyId, ...terms, ...ends }, of)
      }),
    rotate: (keyId, graceSeconds, { force, apiKey, onSecret, ...options } = {}) =>
      calls.start(options, async (of) => {
        requireNoIssues(
          Number.isSafeInteger(graceSeconds)
            ? []
            : [{ path: 'graceSeconds', message: 'must be a whole number' }],
        )
        requireWhole('graceSeconds', graceSeconds, 0, MAX_GRACE_SECONDS)
        const path = `${keyPath(keyId)}/rotate` as const
        const secret = (apiKey as Secret | undefined) ?? (await wallet.newSecret(of.signal))
        const message = {
          action: 'rotate_api_key' as const,
          keyId,
          graceSeconds,
          ...(force === true && { force }),
          ...(secret !== undefined && { keyHash: hashSecret(secret) }),
        }
        if (secret === undefined) return change<RotatedKey>(context, 'POST', path, message, of)
        await onSecret?.(secret)
        const lost = { secret, proof: wallet.prove(message), path }
        of.onFailure = (error) => {
          if (of.isUncertain) lostKeys.keep(error, lost)
        }
        return lostKeys.send<RotatedKey>(lost, of)
      }),
    suspend: (keyId, options) =>
      calls.start(options, async (of) => {
        const path = `${keyPath(keyId)}/suspend`
        return changeKey('POST', path, { action: 'suspend_api_key', keyId }, of)
      }),
    resume: (keyId, options) =>
      calls.start(options, async (of) => {
        const path = `${keyPath(keyId)}/resume`
        return changeKey('POST', path, { action: 'resume_api_key', keyId }, of)
      }),
  }
}

/** A message works once, in the transaction of its change: a refusal because it was used says that the change was made. */
const wasUsed = (refusal: LatchkeyError) => refusal.code === 'MESSAGE_REPLAYED'

function revocations(
  context: Context,
): Pick<Keys, 'delete' | 'revokeAll' | 'certificate' | 'useCertificate'> {
  const { transport, wallet, calls } = context
  return {
    delete: (keyId, options) =>
      calls.start(options, async (of) => {
        const { message } = await sendChange<Message>(transport, wallet, {
          method: 'DELETE',
          path: keyPath(keyId),
          proof: wallet.prove({ action: 'delete_api_key', keyId }),
          repeatable: true,
          tookEffect: (refusal) => (wasUsed(refusal) ? revoked(keyId) : undefined),
          context: of,
        })
        return { message }
      }),
    revokeAll: (cancelOpenOrders, options) =>
      calls.start(options, async (of) => {
        if (typeof cancelOpenOrders !== 'boolean')
          requireNoIssues([{ path: 'cancelOpenOrders', message: 'must be true or false' }])
        const { keyIds, cancelledOrders } = await change<{
          keyIds: string[]
          cancelledOrders: number
          auditHead?: AuditHead
        }>(
          context,
          'POST',
          '/api-keys/revoke-all',
          { action: 'revoke_all_api_keys', cancelOpenOrders },
          of,
          { repeatable: true },
        )
        return { keyIds, cancelledOrders }
      }),
    certificate: (keyId, days = 365, options) =>
      calls.start(options, async (of) => {
        requireKeyId(keyId)
        const goodForMs = Math.floor(days * DAY_MS)
        if (!(goodForMs > 0 && days <= MAX_CERTIFICATE_DAYS))
          throw latchkeyError('INVALID_ARGUMENT', 'A certificate is good for at most 366 days')
        const notAfter = (await wallet.timeToSign(of)) + goodForMs
        const proof = wallet.prove({ action: 'revoke_api_key', keyId, notAfter })
        const { message, signature, walletAddress } = await proof.sign(of.signal)
        return { keyId, message, signature, walletAddress }
      }),
    useCertificate: ({ keyId, ...body }, options) =>
      calls.start(options, async (of) => {
        const path = `${keyPath(keyId)}/revoke`
        const { message } = await transport.send<Message>({
          method: 'POST',
          path,
          body,
          secrets: [body.signature],
          repeatable: true,
          tookEffect: (refusal) => (wasUsed(refusal) ? revoked(keyId) : undefined),
          context: of,
        })
        return { message }
      }),
  }
}

function revoked(keyId: string): Message {
  return { message: `API key ${keyId} has been revoked` }
}

function ownKey({ transport, calls }: Context): Pick<Keys, 'me' | 'heartbeat' | 'deleteSelf'> {
  return {
    me: (options) =>
      calls.start(options, (context) =>
        transport.send<Me>({ method: 'GET', path: '/me', apiKey: true, repeatable: true, context }),
      ),
    heartbeat: (options) =>
      calls.start(options, (context) =>
        transport.send<HeartbeatTaken>({
          method: 'POST',
          path: '/heartbeat',
          apiKey: true,
          repeatable: true,
          context,
        }),
      ),
    deleteSelf: (options) =>
      calls.start(options, async (context) => {
        const { message } = await transport.send<Message>({
          method: 'DELETE',
          path: '/api-keys/self',
          apiKey: true,
          repeatable: true,
          tookEffect: (refusal) =>
            refusal.is('API_KEY_INACTIVE') && refusal.details?.reason === 'revoked'
              ? { message: 'The API key has been revoked' }
              : undefined,
          context,
        })
        return { message }
      }),
  }
}

/**
 * Sends a change, with the signed message in its body. By default not repeatable where no response says what became of it: the result
 * cannot be had again.
 */
function change<T extends { auditHead?: AuditHead }>(
  { transport, wallet }: Context,
  method: 'POST' | 'PATCH',
  path: string,
  message: ActionMembers,
  context: CallContext,
  how: Pick<Call<T>, 'repeatable' | 'tookEffect'> = {},
): Promise<T> {
  const proof = wallet.prove(message)
  return sendChange<T>(transport, wallet, { method, path, proof, context, ...how })
}

function keyPath(keyId: string): `/api-keys/${string}` {
  requireKeyId(keyId)
  return `/api-keys/${keyId}`
}

// An API key in a URL would end in logs on the way.
function requireKeyId(keyId: string): void {
  if (/^key_[0-9A-Za-z]{1,40}$/.test(keyId)) return
  throw latchkeyError('INVALID_ARGUMENT', 'A key id looks like key_123abc; it is not the key')
}

function writeTime(time: Date | string): string {
  return typeof time === 'string' ? time : time.toISOString()
}

/** Unicode normalization form C, which the service requires: a keyboard or a file system may write é in two characters. */
function writeText(text: string): string {
  return typeof text === 'string' ? text.normalize('NFC') : text
}

function writeTexts<Limits extends Partial<Record<keyof NoteTerms, string | null>>>(
  limits: Limits,
): Limits {
  const notes = NOTE_NAMES.filter((name) => typeof limits[name] === 'string')
  return {
    ...limits,
    ...Object.fromEntries(notes.map((name) => [name, writeText(limits[name] as string)])),
  }
}

/**
 * The terms of a message in the order in which the small screen of a hardware wallet shows them: what narrows the key, then how it
 * is called. JSON writes NaN and infinity as null, which in a change lifts a limit; here they are refused as they are.
 */
function writeTerms(members: Record<string, unknown>): Record<string, unknown> {
  const names = [...TERM_NAMES.filter((name) => !isText(name)), ...TERM_NAMES.filter(isText)]
  const ordered = names.map(memberOf).filter((member) => members[member] !== undefined)
  const others = Object.keys(members).filter(
    (member) => members[member] !== undefined && !ordered.some((one) => one === member),
  )
  return Object.fromEntries([...ordered, ...others].map((member) => [member, members[member]]))
}

const isText = (name: TermName) => KEY_TERMS[name].type === 'text'

/** Rejects with what the service would refuse: no wallet is asked to sign it. */
async function requireTerms(
  wallet: Wallet,
  terms: Record<string, unknown>,
  isChange: boolean,
  context: CallContext,
): Promise<void> {
  requireNoIssues(formIssues(terms, isChange))
  const policy = await wallet.policy(context)
  // A change says nothing of the terms that stay: a key with every permission and no limit contradicts none of it.
  const before = { ...termsAfter({}), permissions: policy.scopes as Permission[] }
  const after = isChange ? termsAfter(terms, before) : termsAfter(terms)
  requireNoIssues(validateTerms(after, policy))
}
