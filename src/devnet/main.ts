import { parseArgs } from 'node:util'
import { serve } from '@hono/node-server'
import { DEVNET_HOST, DEVNET_PORT } from './constants.ts'
import { startDevnetNode } from './node.ts'
import { createServer } from './server.ts'

const USAGE =
  'node src/devnet/main.ts [--port 8788] [--host 127.0.0.1] [--data folder] [--block-ms N] [--exit-with-parent]'

process.once('SIGTERM', () => process.exit(0))
process.once('SIGINT', () => process.exit(0))
process.once('disconnect', () => process.exit(0))

const options = readOptions()

if (options.exitWithParent) {
  process.stdin.once('close', () => process.exit(0))
  process.stdin.resume()
}

/** Longer than clients keep an idle connection: a client must not send on one that the server closes. */
const KEEP_ALIVE_MS = 65_000

const devnet = await startDevnetNode(options).catch((fault) => {
  if (fault?.code !== 'ERR_MODULE_NOT_FOUND') throw fault
  return fail(
    'a local chain needs @stacks/clarinet-sdk, which npm ci installs without --omit=dev; or set STACKS_API_URL to a chain that runs',
  )
})
const server = serve(
  {
    fetch: createServer(devnet).fetch,
    port: options.port,
    hostname: options.host,
    serverOptions: { keepAliveTimeout: KEEP_ALIVE_MS },
  },
  ({ port }) => {
    const url = `http://${options.host}:${port}`
    process.stdout.write(`${JSON.stringify({ ready: true, url })}\n`)
  },
)
server.once('error', (fault) => fail(fault.message))

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string', default: String(DEVNET_PORT) },
        host: { type: 'string', default: DEVNET_HOST },
        data: { type: 'string' },
        'block-ms': { type: 'string', default: '0' },
        'exit-with-parent': { type: 'boolean', default: false },
      },
    })
    return {
      port: wholeNumber(values.port, 65_535),
      host: values.host,
      data: values.data,
      blockMs: wholeNumber(values['block-ms'], 3_600_000),
      exitWithParent: values['exit-with-parent'],
    }
  } catch (fault) {
    return fail(`${fault instanceof Error ? fault.message : fault}\n${USAGE}`)
  }
}

function wholeNumber(text: string, max: number): number {
  const number = Number(text)
  if (/^[0-9]+$/.test(text) && number <= max) return number
  throw new Error(`not a whole number up to ${max}: ${text}`)
}

function fail(message: string): never {
  process.stderr.write(`devnet: ${message}\n`)
  process.exit(1)
}
