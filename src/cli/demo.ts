import { setTimeout } from 'node:timers/promises'
import {
  type Client,
  type DevnetInfo,
  LatchkeyError,
  type Order,
  privateKeySigner,
  type ServiceInfo,
} from '../client/index.ts'
import { readBalances } from './balances.ts'
import type { CommandResult } from './command.ts'
import { clientWith, newPrivateKey, type ServiceContext, serviceUrl } from './connect.ts'
import { CommandError, UsageError } from './errors.ts'
import { paint } from './layout.ts'
import { OutputError } from './output.ts'

const AMOUNT_IN = 1_000_000n
const SETTLEMENT_SECONDS = 60
const POLL_MS = 500

/** A step whose outcome is not the expected one. */
class Surprise extends Error {
  override readonly name = 'Surprise'
}

interface PlayedStep {
  step: string
  ok: boolean
}

/** Plays the owner, the bot and a late use of a revoked key against a devnet; every step is a line. */
export async function demo(given: ServiceContext): Promise<CommandResult> {
  const context = onOwnPort(given)
  const anyone = clientWith(context)
  const info = await anyone.info()
  const { devnet } = info
  if (devnet === undefined)
    throw new UsageError(
      `The service at ${serviceUrl(context)} is on ${info.network}, and the demo needs a devnet: a faucet, and tokens that are worth nothing. Start one with npm start in the repository of Latchkey, or name one with --url`,
    )

  const played: PlayedStep[] = []
  const step = stepper(context, played)
  const exitCode = await story({ context, step, anyone, info, devnet }).then(
    () => 0,
    (error) => {
      if (isExpectedFailure(error)) return 1
      throw error
    },
  )
  const summary =
    exitCode === 0
      ? paint(
          'bold',
          'The wallet signed for a key, for two orders and for the end of the key. The bot traded with the key alone.',
        )
      : paint('red', 'The demo did not go as it should.')
  return { json: { ok: exitCode === 0, steps: played }, lines: ['', [summary]], exitCode }
}

/** The demo holds no secret of the caller: by default it also finds a service that was started with another PORT. */
function onOwnPort(context: ServiceContext): ServiceContext {
  const { LATCHKEY_URL, PORT } = context.terminal.env
  if (context.options.url !== undefined || LATCHKEY_URL || !PORT) return context
  return { ...context, options: { ...context.options, url: `http://127.0.0.1:${PORT}` } }
}

interface Stage {
  context: ServiceContext
  step: ReturnType<typeof stepper>
  anyone: Client
  info: ServiceInfo
  devnet: DevnetInfo
}

async function story({ context, step, anyone, info, devnet }: Stage): Promise<void> {
  const { inputToken, outputToken } = devnet
  const signer = privateKeySigner(newPrivateKey(), 'devnet')
  const { address } = signer
  // Whatever router this is, a throw-away wallet has nothing to lose.
  const owner = clientWith(context, { signer, routers: [info.routerContract] })
  const balances = () => readBalances(context, devnet, address)

  await step(
    `Latchkey ${info.version} at ${serviceUrl(context)}, on ${info.network}`,
    async () => {},
  )
  await step(`A throw-away wallet: ${address}`, async () => {})

  const before = await step('The faucet fills it', async (note) => {
    await anyone.devnet.faucet(address)
    const held = await until(balances, (held) => held(inputToken) >= 2n * AMOUNT_IN)
    note(`${amount(held(inputToken))} ${nameOf(inputToken)}`)
    return held
  })

  const { apiKey, keyId } = await step('The wallet signs create_api_key', async (note) => {
    const created = await owner.keys.create({
      name: 'Demo bot',
      permissions: ['create', 'execute', 'cancel'],
    })
    const { keyPreview, permissions } = await owner.keys.get(created.keyId)
    note(`${keyPreview} may ${permissions.join(', ')}`)
    return created
  })
  const bot = clientWith(context, { apiKey })
  const draft = { inputToken, outputToken, amountIn: String(AMOUNT_IN) }

  const orderA = await step('The wallet signs order A', async (note) => {
    const order = await owner.orders.create(draft)
    note(
      `${amount(AMOUNT_IN)} ${nameOf(inputToken)} for ${nameOf(outputToken)}, uuid ${order.uuid}`,
    )
    return uuidOf(order)
  })
  await step('The bot executes A with nothing but the key', async (note) => {
    const { txid } = await bot.orders.execute(orderA)
    note(`txid ${txid}`)
  })
  await step('The tokens move on chain', async (note) => {
    const after = await until(
      async () => {
        const { status, failureReason } = await anyone.orders.get(orderA)
        if (status === 'failed') throw new Surprise(`the order failed: ${failureReason}`)
        return balances()
      },
      (held) => held(outputToken) > before(outputToken),
    )
    const spent = before(inputToken) - after(inputToken)
    if (spent !== AMOUNT_IN) throw new Surprise(`${amount(spent)} were spent`)
    const received = after(outputToken) - before(outputToken)
    note(`-${amount(spent)} ${nameOf(inputToken)}, +${amount(received)} ${nameOf(outputToken)}`)
  })

  const orderB = await step('The wallet signs order B', async (note) => {
    const order = await owner.orders.create(draft)
    note(`uuid ${order.uuid}`)
    return uuidOf(order)
  })
  await step('The bot cancels B', async (note) => {
    const { status } = await bot.orders.cancel(orderB)
    if (status !== 'cancelled') throw new Surprise(`the order is ${status}`)
    note(status)
  })
  await step('B cannot be executed any more', (note) =>
    refused(bot.orders.execute(orderB), 'ORDER_NOT_OPEN', note),
  )

  await step('The wallet sees what the key did', async (note) => {
    const key = (await owner.keys.list()).find((key) => key.keyId === keyId)
    if (key === undefined) throw new Surprise('the key is not in the list')
    const { totalRequests, failedRequests, executionCount, cancellationCount } = key.usageStats
    if (executionCount !== 1 || cancellationCount !== 1)
      throw new Surprise(`${executionCount} executed, ${cancellationCount} cancelled`)
    note(`${totalRequests} requests: 1 executed, 1 cancelled, ${failedRequests} failed`)
  })
  await step('The wallet revokes the key', async (note) => {
    note((await owner.keys.delete(keyId)).message)
  })
  await step('The key is dead', (note) =>
    refused(bot.orders.execute(orderA), 'API_KEY_INACTIVE', note),
  )
}

type Note = (text: string) => void

/** Runs a step and prints its line: a check mark, or a cross and what went wrong. With `--json` it only collects them. */
function stepper({ terminal, options }: ServiceContext, played: PlayedStep[]) {
  const isJson = options.json === true
  return async <T>(title: string, play: (note: Note) => Promise<T>): Promise<T> => {
    const notes: string[] = []
    if (!isJson) await terminal.out.showProgress(`… ${title}`)
    async function end(ok: boolean, more: string): Promise<void> {
      played.push({ step: more === '' ? title : `${title}: ${more}`, ok })
      const mark = paint(ok ? 'green' : 'red', ok ? '✓' : '✗')
      const rest = more === '' ? [] : ['  ', paint(ok ? 'dim' : 'red', more)]
      if (!isJson) await terminal.out.print([[mark, ` ${title}`, ...rest]])
    }
    let result: T
    try {
      result = await play((text) => notes.push(text))
    } catch (error) {
      if (isExpectedFailure(error)) await end(false, textOf(error))
      throw error
    }
    await end(true, notes.join(', '))
    return result
  }
}

function isExpectedFailure(error: unknown): error is Error {
  if (error instanceof OutputError) return false
  return (
    error instanceof LatchkeyError || error instanceof CommandError || error instanceof Surprise
  )
}

function textOf(error: Error): string {
  return error instanceof LatchkeyError ? `${error.code}: ${error.message}` : error.message
}

async function refused(call: Promise<unknown>, code: string, note: Note): Promise<void> {
  const error = await call.then(
    () => undefined,
    (error) => error,
  )
  if (error === undefined) throw new Surprise('it was not refused')
  if (!(error instanceof LatchkeyError) || error.code !== code) throw error
  note(`refused: ${code}`)
}

async function until<T>(read: () => Promise<T>, isEnough: (value: T) => boolean): Promise<T> {
  const deadline = Date.now() + SETTLEMENT_SECONDS * 1000
  for (;;) {
    const value = await read()
    if (isEnough(value)) return value
    if (Date.now() > deadline) throw new Surprise(`nothing happened in ${SETTLEMENT_SECONDS} s`)
    await setTimeout(POLL_MS)
  }
}

function uuidOf({ uuid }: Order): string {
  if (uuid === undefined) throw new Surprise('the order came without its uuid')
  return uuid
}

function nameOf(token: string): string {
  return token.slice(token.indexOf('.') + 1)
}

function amount(units: bigint): string {
  return units.toLocaleString('en')
}
