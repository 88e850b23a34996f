import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import { Webhook as StandardWebhook } from 'standardwebhooks'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { administer } from '../../src/cli/admin.ts'
import { rows } from '../../src/db/database.ts'
import { type Service as Listening, startService as startListening } from '../support/server.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'
import { deliverAll } from '../webhooks/own.ts'
import { type Receiver, startReceiver } from '../webhooks/receiver.ts'
import { collectingTerminal, latchkey, temporaryFolder } from './latchkey.ts'

const folder = temporaryFolder()

describe('latchkey webhooks', () => {
  let service: Listening
  let receiver: Receiver
  let env: Record<string, string>
  beforeAll(async () => {
    receiver = await startReceiver()
    service = await startListening()
    const LATCHKEY_KEY_FILE = join(folder, 'wallet.key')
    writeFileSync(LATCHKEY_KEY_FILE, `${randomBytes(32).toString('hex')}01\n`, { mode: 0o600 })
    env = { LATCHKEY_URL: service.url, LATCHKEY_KEY_FILE }
  })
  afterAll(async () => {
    await service?.stop()
    await receiver?.close()
  })
  const json = async (line: string) => {
    const { exitCode, out, err } = await latchkey(`${line} --json`, env)
    expect([line, exitCode, err]).toEqual([line, 0, ''])
    return JSON.parse(out)
  }

  it('creates one with its secret in a file, tries it out, changes, rotates and deletes it', async () => {
    const file = join(folder, 'hook.secret')
    const created = await json(`webhooks create ${receiver.url} --events key.leaked --save ${file}`)
    const { webhookId } = created
    expect(created).toMatchObject({ status: 'active', events: ['key.leaked'], savedTo: file })
    expect(created.secret).toBeUndefined()
    const secret = readFileSync(file, 'utf8').trim()
    await json(`webhooks test ${webhookId}`)
    await expect.poll(() => receiver.received.length, { timeout: 20_000 }).toBe(1)
    const { body, headers } = receiver.received[0] as (typeof receiver.received)[number]
    expect(new StandardWebhook(secret).verify(body, headers)).toMatchObject({
      type: 'webhook.test',
    })
    const label = await json(`webhooks update ${webhookId} --label bot --enable`)
    expect(label).toMatchObject({ label: 'bot' })
    const { secret: rotated } = await json(`webhooks rotate ${webhookId} --overlap-seconds 60`)
    expect(rotated).toMatch(/^whsec_/)
    expect(await json('webhooks list')).toMatchObject([{ webhookId, label: 'bot' }])
    expect(await json(`webhooks dead ${webhookId}`)).toEqual([])
    expect(await json(`webhooks replay ${webhookId}`)).toEqual({ queued: 0 })
    const asked = await latchkey(`webhooks delete ${webhookId}`, env)
    expect([asked.exitCode, asked.err]).toEqual([2, expect.stringContaining('--yes')])
    expect(await json(`webhooks delete ${webhookId} --yes`)).toEqual({ deleted: webhookId })
    expect(await json('webhooks list')).toEqual([])
    const gone = await latchkey(`webhooks test ${webhookId}`, env)
    expect(gone.err).toMatch(/^WEBHOOK_NOT_FOUND/)
  })
})

describe('latchkey-admin webhooks', () => {
  let service: Service
  let receiver: Receiver
  beforeAll(async () => {
    receiver = await startReceiver()
    service = await startService('Postgres')
  })
  afterAll(async () => {
    await service?.close()
    await receiver?.close()
  })

  async function run(...args: string[]) {
    const { ENCRYPTION_KEY = '' } = service.world.config
    const env = { DATABASE_URL: service.databaseUrl, ENCRYPTION_KEY }
    const { terminal, written } = collectingTerminal({ env })
    const all = ['webhooks', ...args, '--json']
    const exitCode = await administer({ ...terminal, args: all }, () => service.clock.now)
    return { exitCode, err: written.err, json: () => JSON.parse(written.out) }
  }

  it('have the operator told of every wallet and of heads of audits, until they are removed', async () => {
    const added = await run('add', '--to', receiver.url, '--events', 'audit.head,key.created')
    const { webhookId, secret } = added.json()
    const wallets = [newWallet(service), newWallet(service)]
    for (const wallet of wallets) await createKey(service, wallet)
    await deliverAll(service)
    const told = receiver.received.map(({ body, headers }) => {
      const payload = new StandardWebhook(secret).verify(body, headers)
      const { type, data } = payload as { type: string; data: { walletAddress: string } }
      return `${type} ${data.walletAddress}`
    })
    const expected = wallets.flatMap(({ address }) => [
      `audit.head ${address}`,
      `key.created ${address}`,
    ])
    expect(told.sort()).toEqual(expected.sort())

    receiver.respond((_, response) => void response.writeHead(410).end())
    await createKey(service, newWallet(service))
    await deliverAll(service)
    expect((await run('list')).json()).toMatchObject([
      { webhookId, status: 'disabled', disabledReason: 'gone' },
    ])
    receiver.respond((_, response) => void response.writeHead(200).end())
    expect((await run('replay', '--webhook', webhookId)).json()).toEqual({ queued: 2 })
    await deliverAll(service)
    expect((await run('list')).json()).toMatchObject([{ status: 'active', dead: 0 }])

    expect((await run('remove', '--webhook', webhookId)).exitCode).toBe(0)
    expect((await run('remove', '--webhook', webhookId)).err).toContain('WEBHOOK_NOT_FOUND')
    expect((await run('list')).json()).toEqual([])
    expect(await rows(service.world.db, sql`SELECT FROM webhooks`)).toEqual([])
  })

  it('are refused for an address of the own network, and for a type that there is not', async () => {
    const refusal = async (to: string, events: string) =>
      (await run('add', '--to', to, '--events', events)).err
    expect(await refusal('https://10.0.0.1/', 'audit.head')).toContain('WEBHOOK_URL_REFUSED')
    expect(await refusal('http://10.0.0.1/', 'audit.head')).toContain('WEBHOOK_URL_REFUSED')
    expect(await refusal(receiver.url, 'key.stolen')).toContain('INVALID_REQUEST')
  })
})
