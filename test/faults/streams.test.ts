import { connect, createServer, type Server } from 'node:net'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { createClient, type WalletUpdate } from '../../src/client/index.ts'
import { fundedOperator, type ServiceProcess, sharedEnv, startProcess } from '../support/process.ts'
import { plainDatabase } from '../support/service.ts'
import { createKey, createOrder, json, newWallet } from '../support/wallet.ts'

/** An address that leads to whichever process serves now, as a balancer does. */
async function balancer(): Promise<{ url: string; server: Server; to(port: number): void }> {
  let port = 0
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1')
    for (const socket of [client, upstream])
      socket
        .on('error', () => {})
        .on('close', () => {
          client.destroy()
          upstream.destroy()
        })
    client.pipe(upstream).pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const own = server.address() as { port: number }
  return {
    url: `http://127.0.0.1:${own.port}`,
    server,
    to(next) {
      port = next
    },
  }
}

describe('The stream of a wallet', () => {
  let env: Record<string, string>
  let writers: ServiceProcess[]
  const chain = () => ({ devnetUrl: inject('devnetUrl') })
  const start = async () =>
    startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain()) })
  beforeAll(async () => {
    env = sharedEnv(await plainDatabase(), chain())
    writers = [await start(), await start()]
  }, 120_000)
  afterAll(async () => {
    for (const writer of writers) await writer.stop()
  })

  it.each([
    'sse',
    'websocket',
  ] as const)('by %s has what two processes write once, while the process that serves it is killed and replaced', async (transport) => {
    const [first, second] = writers as [ServiceProcess, ServiceProcess]
    const wallet = newWallet(first)
    const { apiKey } = await createKey(first, wallet, { permissions: ['read'] })
    const front = await balancer()
    let serving = await start()
    front.to(serving.port)
    const client = createClient({ baseUrl: front.url, apiKey })
    const KILLS = 3
    const ORDERS_EACH = 12
    const placed: string[] = []
    const place = async (writer: ServiceProcess) => {
      for (let made = 0; made < ORDERS_EACH; made++) {
        const uuid = await createOrder(writer, wallet)
        const body = json(wallet.sign({ action: 'cancel_order', uuid }))
        const done = await writer.call(`/orders/${uuid}/cancel`, { ...body, method: 'PATCH' })
        expect(done.status).toBe(200)
        placed.push(uuid)
      }
    }
    const writeAndKill = async () => {
      for (let kills = 0; kills < KILLS; kills++) {
        const writing = [place(first), place(second)]
        await serving.kill()
        serving = await start()
        front.to(serving.port)
        await Promise.all(writing)
      }
    }
    const expected = KILLS * 2 * ORDERS_EACH * 2
    const seen: WalletUpdate[] = []
    let work: Promise<void> | undefined
    for await (const event of client.events({ transport })) {
      seen.push(event)
      work ??= writeAndKill()
      if (seen.length === expected + 1) break
    }
    await work
    await serving.stop()
    front.server.close()
    expect(seen.filter(({ type }) => type === 'start')).toHaveLength(1)
    const changes = seen.flatMap((event) =>
      event.type === 'order' ? [`${event.uuid} ${event.status}`] : [],
    )
    expect(changes).toHaveLength(expected)
    expect(new Set(changes)).toEqual(
      new Set(placed.flatMap((uuid) => [`${uuid} open`, `${uuid} cancelled`])),
    )
  }, 400_000)
})
