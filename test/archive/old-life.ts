import { sql } from 'drizzle-orm'
import { type Archived, archive } from '../../src/archive/archive.ts'
import type { ArchiveFiles } from '../../src/archive/format.ts'
import { archiveFiles } from '../../src/archive-file.ts'
import { type Client, createClient, privateKeySigner } from '../../src/client/index.ts'
import { rows } from '../../src/db/database.ts'
import { reconcile } from '../../src/settlement/reconcile.ts'
import type { Service } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

export const DAY = 86_400_000

export function clientOf(service: Service, wallet: Wallet): Client {
  return createClient({
    baseUrl: 'http://127.0.0.1:1',
    signer: privateKeySigner(wallet.privateKey, 'devnet'),
    fetch: (url, init) => service.call(new URL(url).href.split('/api/v1')[1] ?? '', init),
    clock: {
      now: () => {
        service.clock.now += 1
        return service.clock.now
      },
      wait: async () => {},
    },
  })
}

/** A wallet that did a lot a hundred days ago, and fifty days ago, and a little today. */
export interface OldLife {
  wallet: Wallet
  keyId: string
  apiKey: string
  client: Client
  confirmed: string
  cancelled: string
  open: string
  /** The message that cancelled an order. */
  used: { message: string; signature: string; walletAddress: string }
  /** Events of a hundred days ago, and of fifty. */
  oldEvents: number
  laterEvents: number
}

/** Lives with the clock a hundred days back, and leaves it at today. */
export async function liveThrough(
  service: Service,
  { daysAgo = 100, changes = 12, laterChanges = 12 } = {},
): Promise<OldLife> {
  const today = service.clock.now
  service.clock.now = today - daysAgo * DAY
  const wallet = newWallet(service)
  await fund(service, wallet)
  const { keyId, apiKey } = await createKey(service, wallet)
  for (let n = 0; n < changes; n++) {
    service.clock.now += 1_000
    const verb = n % 2 === 0 ? 'suspend' : 'resume'
    await change(service, wallet, keyId, verb)
  }
  service.clock.now += 1_000
  const session = wallet.sign({ action: 'create_session', ttlSeconds: 60 })
  await accept(service.call('/sessions', json(session)))
  const confirmed = await createOrder(service, wallet)
  const headers = { 'X-API-Key': apiKey }
  await accept(service.call(`/orders/${confirmed}/execute`, { method: 'POST', headers }))
  await reconcile(service.world)
  const cancelled = await createOrder(service, wallet)
  service.clock.now += 1_000
  const used = wallet.sign({ action: 'cancel_order', uuid: cancelled })
  await accept(service.call(`/orders/${cancelled}/cancel`, { ...json(used), method: 'PATCH' }))
  const open = await createOrder(service, wallet)
  service.clock.now += DAY
  await reconcile(service.world)
  service.clock.now = today - (daysAgo / 2) * DAY
  await reconcile(service.world)
  for (let n = 0; n < laterChanges; n++) {
    service.clock.now += 1_000
    await change(service, wallet, keyId, n % 2 === 0 ? 'suspend' : 'resume')
  }
  service.clock.now = today
  await reconcile(service.world)
  await change(service, wallet, keyId, 'suspend')
  service.clock.now += 1_000
  await change(service, wallet, keyId, 'resume')
  const client = clientOf(service, wallet)
  const events = { oldEvents: changes + 2, laterEvents: laterChanges }
  return { wallet, keyId, apiKey, client, confirmed, cancelled, open, used, ...events }
}

async function change(service: Service, wallet: Wallet, keyId: string, verb: string) {
  const signed = wallet.sign({ action: `${verb}_api_key`, keyId })
  await accept(service.call(`/api-keys/${keyId}/${verb}`, json(signed)))
}

async function accept(response: Promise<Response>): Promise<void> {
  const { ok, status } = await response
  if (!ok) throw new Error(`refused with ${status}`)
}

export function servicesOf(service: Service, files: ArchiveFiles = archiveFiles) {
  return { ...service.world, archiveFiles: files }
}

/** Archives what ended more than so many days ago. */
export async function makeArchive(
  service: Service,
  folder: string,
  { daysAgo = 70, files, usage }: { daysAgo?: number; files?: ArchiveFiles; usage?: boolean } = {},
): Promise<Archived> {
  const before = service.clock.now - daysAgo * DAY
  const made = await archive(servicesOf(service, files), { before, folder, usage })
  if (!made.ok) throw new Error(made.reason)
  return made.value
}

/** Has a killed process's lease end at once. */
export async function endLease(service: Service): Promise<void> {
  await rows(service.world.db, sql`UPDATE archives SET lease_until = NULL WHERE state <> 'done'`)
}

/** How many rows of a wallet the tables have. */
export async function countRows(service: Service, wallet: Wallet) {
  const [found] = await rows<Record<'events' | 'actions' | 'orders' | 'sessions', number>>(
    service.world.db,
    sql`SELECT (SELECT count(*)::int FROM audit_events WHERE wallet_address = ${wallet.address}) AS events,
      (SELECT count(*)::int FROM signed_actions WHERE wallet_address = ${wallet.address}) AS actions,
      (SELECT count(*)::int FROM orders WHERE owner = ${wallet.address}) AS orders,
      (SELECT count(*)::int FROM sessions WHERE wallet_address = ${wallet.address}) AS sessions`,
  )
  return found
}
