import { randomUUID } from 'node:crypto'
import type { Answer, Ask } from '../http.ts'
import type { ServiceProcess } from '../process.ts'
import { createKey, fund, newWallet, type Wallet } from '../wallet.ts'
import { type KeyLedger, keyLedger, type Ledger, openLedger } from './ledger.ts'

/** One answer, or none, as a client saw it. Times are of `performance.now()`. */
export interface Heard {
  what: string
  /** The port of the process. */
  through: number
  sentAt: number
  heardAt: number
  status: number | undefined
  code: string | undefined
  retryAfter: string | undefined
}

export interface Load {
  ledger: Ledger
  /** Every answer so far, in the order in which they came. */
  heard: Heard[]
  /** Lets the traders trade; each takes any of the processes for each request, and rests after it. */
  run(processes: () => ServiceProcess[], lanes?: number, restMs?: number): Promise<void>
  /** Ends `run` once every request that is under way has its answer, or none. */
  stop(): void
}

interface Trader {
  wallet: Wallet
  key: string
  /** A key that may create and nothing else. */
  narrowKey: string
  told: KeyLedger
  narrowTold: KeyLedger
  /** Orders that are open, as far as it knows. */
  open: string[]
  /** Spare keys that live, as far as it knows. */
  spare: string[]
}

/** Bots and wallets that do everything that the API offers, at random, and write down what they were told. */
export async function openLoad(through: ServiceProcess, traders = 8): Promise<Load> {
  const ledger = openLedger()
  const heard: Heard[] = []
  const all = await Promise.all(
    Array.from({ length: traders }, async (): Promise<Trader> => {
      const wallet = newWallet(through)
      await fund(through, wallet)
      const full = await createKey(through, wallet)
      const narrow = await createKey(through, wallet, { permissions: ['create'] })
      const told = keyLedger(full.keyId, wallet.address)
      const narrowTold = keyLedger(narrow.keyId, wallet.address)
      ledger.keys.push(told, narrowTold)
      ledger.granted.add(full.keyId).add(narrow.keyId)
      return {
        wallet,
        key: full.apiKey,
        narrowKey: narrow.apiKey,
        told,
        narrowTold,
        open: [],
        spare: [],
      }
    }),
  )
  let running = false

  async function ask(
    process: ServiceProcess,
    what: string,
    path: string,
    request: Ask,
    outcomes?: KeyLedger['acts'],
  ): Promise<Answer | undefined> {
    const sentAt = performance.now()
    const answer = await process.ask(path, request)
    heard.push({
      what,
      through: process.port,
      sentAt,
      heardAt: performance.now(),
      status: answer?.status,
      code: answer?.body?.code,
      retryAfter: answer?.headers['retry-after'],
    })
    if (outcomes === undefined) return answer
    if (answer === undefined || answer.status === 202 || answer.status === 503) outcomes.unknown++
    else if (answer.status < 300) outcomes.succeeded++
    else outcomes.failed++
    return answer
  }

  type Deed = (trader: Trader, process: ServiceProcess) => Promise<unknown>
  const create: Deed = async ({ wallet, key, told, open }, process) => {
    const order = wallet.order()
    const send = (outcomes: KeyLedger['acts']) =>
      ask(process, 'create', '/orders/new', { method: 'POST', key, json: order }, outcomes)
    const answer = await send(told.acts)
    if (answer?.status !== 201) return
    ledger.created.add(order.uuid)
    if (Math.random() < 0.3) await send(told.reads)
    open.push(order.uuid)
  }
  const act =
    (verb: 'execute' | 'cancel', record: (uuid: string, answer: Answer) => void): Deed =>
    async (trader, process) => {
      const uuid = trader.open.shift()
      if (uuid === undefined) return create(trader, process)
      const answer = await ask(
        process,
        verb,
        `/orders/${uuid}/${verb}`,
        { method: verb === 'execute' ? 'POST' : 'PATCH', key: trader.key },
        trader.told.acts,
      )
      if (answer?.status === 200) record(uuid, answer)
    }
  const deeds: [share: number, deed: Deed][] = [
    [5, create],
    [3, act('cancel', (uuid) => ledger.cancelled.add(uuid))],
    [2, act('execute', (uuid, { body }) => ledger.executed.set(uuid, body.txid))],
    [
      6,
      ({ key, told }, process) =>
        ask(process, 'miss', `/orders/${randomUUID()}/execute`, { method: 'POST', key }, told.acts),
    ],
    [
      2,
      ({ narrowKey, narrowTold }, process) =>
        ask(
          process,
          'forbidden',
          `/orders/${randomUUID()}/execute`,
          { method: 'POST', key: narrowKey },
          narrowTold.acts,
        ),
    ],
    [2, ({ key, told }, process) => ask(process, 'list', '/orders?limit=3', { key }, told.reads)],
    [
      2,
      async ({ wallet, spare }, process) => {
        const json = wallet.sign({
          action: 'create_api_key',
          keyName: randomUUID(),
          permissions: [],
        })
        const answer = await ask(process, 'grant', '/api-keys', { method: 'POST', json })
        if (answer?.status !== 201) return
        ledger.granted.add(answer.body.keyId)
        spare.push(answer.body.keyId)
      },
    ],
    [
      2,
      async ({ wallet, spare }, process) => {
        const keyId = spare.shift()
        if (keyId === undefined) return
        const json = wallet.sign({ action: 'delete_api_key', keyId })
        const answer = await ask(process, 'revoke', `/api-keys/${keyId}`, {
          method: 'DELETE',
          json,
        })
        if (answer?.status === 200) ledger.revoked.add(keyId)
      },
    ],
    [
      2,
      async ({ wallet, open }, process) => {
        const uuid = open.shift()
        if (uuid === undefined) return
        const json = wallet.sign({ action: 'cancel_order', uuid })
        const answer = await ask(process, 'withdraw', `/orders/${uuid}/cancel`, {
          method: 'PATCH',
          json,
        })
        if (answer?.status === 200) ledger.cancelled.add(uuid)
      },
    ],
  ]
  const bag = deeds.flatMap(([share, deed]) => Array<Deed>(share).fill(deed))

  return {
    ledger,
    heard,
    async run(processes, lanes = 24, restMs = 0) {
      running = true
      const lane = async (place: number) => {
        const trader = all[place % all.length] as Trader
        while (running) {
          const process = anyOf(processes())
          if (process === undefined) {
            await new Promise((resolve) => setTimeout(resolve, 20))
            continue
          }
          const before = heard.length
          await (anyOf(bag) as Deed)(trader, process)
          if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs))
          // Nobody is there: not an attempt worth repeating thousands of times a second.
          if (heard.length === before || heard.at(-1)?.status === undefined)
            await new Promise((resolve) => setTimeout(resolve, 20))
        }
      }
      await Promise.all(Array.from({ length: lanes }, (_, place) => lane(place)))
    },
    stop() {
      running = false
    },
  }
}

function anyOf<T>(list: readonly T[]): T | undefined {
  return list[Math.floor(Math.random() * list.length)]
}
