import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { refused } from '../support/assertions.ts'
import { freshDatabase, type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'
import { startWorker } from './workerd.ts'

/** A way to Postgres that a test can cut. */
interface Cable {
  port: number
  /** Breaks what is connected; nothing new gets through until it is mended. */
  cut(): void
  mend(): void
  close(): Promise<void>
}

describe('a worker whose database is away', () => {
  let cable: Cable
  let service: Service
  let wallet: Wallet
  let key: { apiKey: string; keyId: string }
  let worker: Awaited<ReturnType<typeof startWorker>>
  const call = async (path: string, init: RequestInit = {}) => {
    const { now } = service.clock
    return (await worker.call(`/api/v1${path}`, { ...init, now })).response
  }
  beforeAll(async () => {
    const databaseUrl = await freshDatabase('Postgres')
    service = await startService('Postgres', { databaseUrl })
    wallet = newWallet(service)
    key = await createKey(service, wallet)
    const direct = new URL(databaseUrl)
    cable = await openCable(Number(direct.port))
    direct.port = String(cable.port)
    worker = await startWorker(inject('runFolder'), direct.href, {
      ...secretsOf(service),
      STACKS_API_URL: inject('devnetUrl'),
      QUOTE_URL: `${inject('devnetUrl')}/quote`,
    })
  })
  afterAll(async () => {
    await worker.stop()
    await Promise.all([service.close(), cable.close()])
  })

  it('answers 503 to whatever needs it, lets nobody in, and comes back by itself', async () => {
    const execute = () =>
      call('/orders/unknown/execute', { method: 'POST', headers: { 'X-API-Key': key.apiKey } })
    expect((await execute()).status).toBe(404)
    cable.cut()
    await refused(await execute(), 'unavailable')
    await refused(await call('/orders/unknown'), 'unavailable')
    await refused(
      await call('/api-keys', { headers: wallet.signHeaders({ action: 'list_api_keys' }) }),
      'unavailable',
    )
    await refused(await call('/orders/new', json(wallet.order())), 'unavailable')
    expect((await call('/time')).status).toBe(200)
    cable.mend()
    expect((await execute()).status).toBe(404)
  })
})

describe('a worker that is not configured', () => {
  it('answers 503, and its log names every fault and no value', async () => {
    const worker = await startWorker(inject('runFolder'), `${inject('postgresUrl')}/postgres`, {
      STACKS_NETWORK: 'mainnet',
      OPERATOR_PRIVATE_KEY: 'not a key of mine',
    })
    const { response, trace } = await worker.call('/health', { now: Date.UTC(2031, 0) })
    expect(response.status).toBe(503)
    expect(await response.json()).toMatchObject({ code: 'UNAVAILABLE' })
    const log = trace.logged.join('\n')
    for (const name of ['OPERATOR_PRIVATE_KEY', 'ENCRYPTION_KEY', 'ROUTER_CONTRACT', 'QUOTE_URL'])
      expect(log).toContain(name)
    expect(log).not.toContain('not a key of mine')
    await worker.stop()
  })
})

async function openCable(postgresPort: number): Promise<Cable> {
  const sockets = new Set<Socket>()
  let isCut = false
  const server: Server = createServer((near) => {
    if (isCut) return void near.destroy()
    const far = connect(postgresPort, '127.0.0.1')
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as { port: number }).port,
    cut() {
      isCut = true
      for (const socket of sockets) socket.destroy()
    },
    mend() {
      isCut = false
    },
    close: () => new Promise((resolve) => server.close(() => resolve())),
  }
}
