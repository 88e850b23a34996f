import type { AuditHead } from '../audit/event.ts'
import { formIssues, MAX_GRACE_SECONDS } from '../keys/form.ts'
import type { CreatedKey, Key, Me, RotatedKey } from '../keys/key.ts'
import type { Permission } from '../keys/scope.ts'
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
import { LatchkeyError, requireNoIssues, requireWhole } from './errors.ts'
import type { CallOptions, KeyFilter, Keys } from './keys.ts'
import type { ActionMembers } from './message.ts'
import { collect, eachOf } from './paging.ts'
import type { Proof, Transport } from './transport.ts'
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
}

const MAX_CERTIFICATE_DAYS = 366
const MAX_PAGE = 100
const MAX_USAGE_DAYS = 90
const DAY_MS = 86_400_000

/** Creates the `keys` of a client. No request is sent before one of them is called. */
export function createKeys(transport: Transport, wallet: Wallet): Keys {
  const context = { transport, wallet }
  return {
    ...reads(context),
    ...changes(context),
    ...revocations(context),
    ...ownKey(transport),
  }
}

function reads(context: Context): Pick<Keys, 'list' | 'listAll' | 'get' | 'usage' | 'usageOfAll'> {
  async function* listAll({ signal, live, limit }: CallOptions & KeyFilter = {}) {
    requireWhole('limit', limit, 1, MAX_PAGE)
    const proof = context.wallet.prove({ action: 'list_api_keys' })
    const options = signal === undefined ? {} : { signal }
    yield* eachOf<Key>(async (cursor) => {
      const query = { live: live === undefined ? undefined : String(live), limit, cursor }
      const page = await read<KeyPage>(context, '/api-keys', proof, options, query)
      return { items: page.apiKeys, nextCursor: page.nextCursor }
    })
  }
  return {
    listAll,
    list: (options) => collect(listAll(options)),
    async get(keyId, options) {
      const proof = context.wallet.prove({ action: 'get_api_key', keyId })
      const { apiKey } = await read<{ apiKey: Key }>(context, keyPath(keyId), proof, options)
      return apiKey
    },
    async usage(keyId, filter = {}, options) {
      requireWhole('days', filter.days, 1, MAX_USAGE_DAYS)
      const proof = context.wallet.prove({ action: 'get_api_key', keyId })
      return read<KeyUsage>(context, `${keyPath(keyId)}/usage`, proof, options, { ...filter })
    },
    async usageOfAll(filter = {}, options) {
      requireWhole('days', filter.days, 1, MAX_USAGE_DAYS)
      const proof = context.wallet.prove({ action: 'list_api_keys' })
      return read<WalletUsage>(context, '/usage', proof, options, { ...filter })
    },
  }
}

function changes(
  context: Context,
): Pick<Keys, 'create' | 'update' | 'rotate' | 'suspend' | 'resume'> {
  return {
    async create({ name, permissions, expiresAt, ...limits }, options) {
      const terms = writeTerms({
        keyName: writeText(name),
        permissions,
        ...(expiresAt !== undefined && { expiresAt: writeTime(expiresAt) }),
        ...writeTexts(limits),
      })
      await requireTerms(context.wallet, terms, false, options)
      const message = { action: 'create_api_key' as const, ...terms }
      return change<CreatedKey>(context, 'POST', '/api-keys', message, options)
    },
    async update(keyId, { name, expiresAt, ...limits }, options) {
      const path = keyPath(keyId)
      const terms = writeTerms({
        ...(name !== undefined && { keyName: writeText(name) }),
        ...(expiresAt !== undefined && { expiresAt: expiresAt && writeTime(expiresAt) }),
        ...writeTexts(limits),
      })
      await requireTerms(context.wallet, terms, true, options)
      const message = { action: 'update_api_key' as const, keyId, ...terms }
      const { apiKey } = await change<ChangedKey>(context, 'PATCH', path, message, options)
      return apiKey
    },
    async rotate(keyId, graceSeconds, { force, ...options } = {}) {
      requireNoIssues(
        Number.isSafeInteger(graceSeconds)
          ? []
          : [{ path: 'graceSeconds', message: 'must be a whole number' }],
      )
      requireWhole('graceSeconds', graceSeconds, 0, MAX_GRACE_SECONDS)
      const message = {
        action: 'rotate_api_key' as const,
        keyId,
        graceSeconds,
        ...(force === true && { force }),
      }
      const path = `${keyPath(keyId)}/rotate`
      return change<RotatedKey>(context, 'POST', path, message, options)
    },
    async suspend(keyId, options) {
      const message = { action: 'suspend_api_key' as const, keyId }
      const path = `${keyPath(keyId)}/suspend`
      const { apiKey } = await change<ChangedKey>(context, 'POST', path, message, options)
      return apiKey
    },
    async resume(keyId, options) {
      const message = { action: 'resume_api_key' as const, keyId }
      const path = `${keyPath(keyId)}/resume`
      const { apiKey } = await change<ChangedKey>(context, 'POST', path, message, options)
      return apiKey
    },
  }
}

function revocations(
  context: Context,
): Pick<Keys, 'delete' | 'revokeAll' | 'certificate' | 'useCertificate'> {
  const { transport, wallet } = context
  return {
    async delete(keyId, { signal } = {}) {
      const { message } = await sendChange<Message>(transport, wallet, {
        method: 'DELETE',
        path: keyPath(keyId),
        proof: wallet.prove({ action: 'delete_api_key', keyId }),
        repeatable: true,
        signal,
      })
      return { message }
    },
    async revokeAll(cancelOpenOrders, options) {
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
        options,
      )
      return { keyIds, cancelledOrders }
    },
    async certificate(keyId, days = 365, { signal } = {}) {
      requireKeyId(keyId)
      const goodForMs = Math.floor(days * DAY_MS)
      if (!(goodForMs > 0 && days <= MAX_CERTIFICATE_DAYS))
        throw new LatchkeyError('INVALID_ARGUMENT', 'A certificate is good for at most 366 days')
      const notAfter = (await wallet.timeToSign(signal)) + goodForMs
      const proof = wallet.prove({ action: 'revoke_api_key', keyId, notAfter })
      const { message, signature, walletAddress } = await proof.sign(signal)
      return { keyId, message, signature, walletAddress }
    },
    async useCertificate({ keyId, ...body }, { signal } = {}) {
      const path = `${keyPath(keyId)}/revoke`
      const { message } = await transport.send<{ message: string }>({
        method: 'POST',
        path,
        body,
        secrets: [body.signature],
        signal,
      })
      return { message }
    },
  }
}

function ownKey(transport: Transport): Pick<Keys, 'me' | 'deleteSelf'> {
  return {
    async me({ signal } = {}) {
      return transport.send<Me>({
        method: 'GET',
        path: '/me',
        apiKey: true,
        repeatable: true,
        signal,
      })
    },
    async deleteSelf({ signal } = {}) {
      const { message } = await transport.send<{ message: string }>({
        method: 'DELETE',
        path: '/api-keys/self',
        apiKey: true,
        signal,
      })
      return { message }
    },
  }
}

/** Sends a read, with the signed message in its headers. */
function read<T>(
  { transport }: Context,
  path: string,
  proof: Proof,
  { signal }: CallOptions = {},
  query: Record<string, string | number | undefined> = {},
): Promise<T> {
  const how = { repeatable: true, isLong: true, signal }
  return transport.send<T>({ method: 'GET', path, query, proof, ...how })
}

/** Sends a change, with the signed message in its body. Not repeatable: a second message would be a second change. */
function change<T extends { auditHead?: AuditHead }>(
  { transport, wallet }: Context,
  method: 'POST' | 'PATCH',
  path: string,
  message: ActionMembers,
  { signal }: CallOptions = {},
): Promise<T> {
  const proof = wallet.prove(message)
  return sendChange<T>(transport, wallet, { method, path, proof, signal })
}

function keyPath(keyId: string): string {
  requireKeyId(keyId)
  return `/api-keys/${keyId}`
}

// An API key in a URL would end in logs on the way.
function requireKeyId(keyId: string): void {
  if (/^key_[0-9A-Za-z]{1,40}$/.test(keyId)) return
  throw new LatchkeyError('INVALID_ARGUMENT', 'A key id looks like key_123abc; it is not the key')
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
  { signal }: CallOptions = {},
): Promise<void> {
  requireNoIssues(formIssues(terms, isChange))
  const policy = await wallet.policy(signal)
  // A change says nothing of the terms that stay: a key with every permission and no limit contradicts none of it.
  const before = { ...termsAfter({}), permissions: policy.scopes as Permission[] }
  const after = isChange ? termsAfter(terms, before) : termsAfter(terms)
  requireNoIssues(validateTerms(after, policy))
}
