import { setTimeout } from 'node:timers/promises'
import {
  type Client,
  type DevnetInfo,
  LatchkeyError,
  type Order,
  privateKeySigner,
  type ServiceInfo,
} from '../client/index.ts'
import { type CommandContext, newPrivateKey, openClient, serviceUrl } from './session.ts'
import { type CommandResult, clean, paint, type Terminal, UsageError } from './terminal.ts'

const AMOUNT_IN = 1_000_000n
const SETTLEMENT_SECONDS = 60
const POLL_MS = 500

/** A step that did not go as the story goes. */
class Surprise extends Error {
  override readonly name = 'Surprise'
}

interface Told {
  step: string
  ok: boolean
}

/** Plays the owner, the bot and the thief's luck against a devnet; every step is a line. */
export async function demo(session: CommandContext): Promise<CommandResult> {
  const { terminal } = session
  const anyone = openClient(session, { apiKey: undefined, signer: undefined })
  const info = await anyone.info()
  const { devnet } = info
  if (devnet === undefined)
    throw new UsageError(
      `The service at ${serviceUrl(session)} is on ${info.network}, and the demo needs a devnet: a faucet, and tokens that are worth nothing. Start one with npm start in the repository of Latchkey, or name one with --url`,
    )

  const isJson = session.options.json === true
  const told: Told[] = []
  const step = stepper(terminal, told, isJson ? terminal.err : terminal.out)
  const exitCode = await story({ session, step, anyone, info, devnet }).then(
    () => 0,
    (error) => {
      if (error instanceof LatchkeyError || error instanceof Surprise) return 1
      throw error
    },
  )
  const summary =
    exitCode === 0
      ? paint(
          terminal,
          'bold',
          'The wallet signed for a key, for two orders and for the end of the key. The bot traded with the key alone.',
        )
      : paint(terminal, 'red', 'The demo did not go as it should.')
  return { json: { ok: exitCode === 0, steps: told }, text: `\n${summary}\n`, exitCode }
}

interface Stage {
  session: CommandContext
  step: ReturnType<typeof stepper>
  anyone: Client
  info: ServiceInfo
  devnet: DevnetInfo
}

async function story({ session, step, anyone, info, devnet }: Stage): Promise<void> {
  const { inputToken, outputToken } = devnet
  const signer = privateKeySigner(newPrivateKey(), info.network)
  const { address } = signer
  const owner = openClient(session, { signer, apiKey: undefined })
  const balances = () => readBalances(session, devnet, address)

  await step(
    `Latchkey ${info.version} at ${serviceUrl(session)}, on ${info.network}`,
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
  const bot = openClient(session, { apiKey, signer: undefined })
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

/** Runs a step and writes its line: a check mark, or a cross and what went wrong. */
function stepper(terminal: Terminal, told: Told[], write: (text: string) => void) {
  return async <T>(title: string, play: (note: Note) => Promise<T>): Promise<T> => {
    const notes: string[] = []
    const progress = terminal.isColourful ? setInterval(() => write('.'), 2 * POLL_MS) : undefined
    const line = (ok: boolean, more: string) => {
      const mark = paint(terminal, ok ? 'green' : 'red', ok ? '✓' : '✗')
      const wipe = terminal.isColourful ? '\r\u001b[K' : ''
      const rest = more === '' ? '' : `  ${paint(terminal, ok ? 'dim' : 'red', clean(more))}`
      write(`${wipe}${mark} ${clean(title)}${rest}\n`)
      told.push({ step: more === '' ? title : `${title}: ${more}`, ok })
    }
    try {
      const result = await play((text) => notes.push(text))
      line(true, notes.join(', '))
      return result
    } catch (error) {
      const code = error instanceof LatchkeyError ? `${error.code}: ` : ''
      line(false, code + (error as Error).message)
      throw error
    } finally {
      clearInterval(progress)
    }
  }
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

/** What an address holds of a token, on the devnet's own chain. */
type Holdings = (token: string) => bigint

async function readBalances(
  { terminal }: CommandContext,
  { stacksApiUrl }: DevnetInfo,
  address: string,
): Promise<Holdings> {
  const url = `${stacksApiUrl.replace(/\/$/, '')}/balances/${address}`
  try {
    const response = await (terminal.fetch ?? fetch)(url, {})
    const { tokens } = (await response.json()) as { tokens: Record<string, string> }
    return (token) => BigInt(tokens[token] ?? 0)
  } catch (error) {
    throw new Surprise(`${url} does not answer with balances: ${(error as Error).message}`)
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
