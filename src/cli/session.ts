import { randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync, statSync, unlinkSync, writeSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import {
  type Client,
  type ClientOptions,
  createClient,
  NETWORKS,
  type Network,
  privateKeySigner,
  type Signer,
} from '../client/index.ts'
import { type Terminal, UsageError } from './terminal.ts'

export const DEFAULT_URL = 'http://127.0.0.1:8787'

/** What follows a command: its arguments and its options, parsed. */
export interface CommandContext {
  terminal: Terminal
  args: string[]
  options: Record<string, string | boolean | undefined>
}

/** Options that every command takes. */
export const COMMON_OPTIONS = {
  url: { type: 'string' },
  network: { type: 'string' },
  'key-file': { type: 'string' },
  'api-key-file': { type: 'string' },
  'allow-insecure': { type: 'boolean' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

/** A client with whatever secrets the environment and the files hold. */
export function openClient(session: CommandContext, change: Partial<ClientOptions> = {}): Client {
  const { terminal, options } = session
  return createClient({
    baseUrl: serviceUrl(session),
    apiKey: readApiKey(session),
    signer: readSigner(session),
    allowInsecure: options['allow-insecure'] === true,
    ...(terminal.fetch !== undefined && { fetch: terminal.fetch }),
    clock: {
      now: () => Date.now(),
      wait: (ms, signal) => {
        terminal.err(`The service asks to wait ${ms / 1000} s.\n`)
        return setTimeout(ms, undefined, { signal })
      },
    },
    ...change,
  })
}

export function serviceUrl({ terminal, options }: CommandContext): string {
  return text(options.url) ?? (terminal.env.LATCHKEY_URL || DEFAULT_URL)
}

export function readApiKey({ terminal, options }: CommandContext): string | undefined {
  const path = text(options['api-key-file'])
  return path === undefined
    ? terminal.env.LATCHKEY_API_KEY || undefined
    : readSecret(terminal, path)
}

export function readPrivateKey({ terminal, options }: CommandContext): string | undefined {
  const path = text(options['key-file'])
  return path === undefined
    ? terminal.env.LATCHKEY_PRIVATE_KEY || undefined
    : readSecret(terminal, path)
}

/** Signs for the network that --network names, or else for the one that the service says it is on. */
export function readSigner(session: CommandContext): Signer | undefined {
  const key = readPrivateKey(session)
  if (key === undefined) return undefined
  const only = readNetwork(session)
  const on = (network: Network) => privateKeySigner(key, only ?? network)
  on('devnet')
  return {
    interactive: false,
    getAddress: (network) => on(network).getAddress(network),
    signMessage: (message, network) => on(network).signMessage(message, network),
    signIntent: (intent, network) => on(network).signIntent(intent, network),
  }
}

export function readNetwork({ options }: CommandContext): Network | undefined {
  const named = text(options.network)
  const network = NETWORKS.find((known) => known === named)
  if (named !== undefined && network === undefined)
    throw new UsageError(`--network is one of ${NETWORKS.join(', ')}`)
  return network
}

/**
 * Writes a secret into a new file that only its owner can read. The file is opened before the secret is made, so that none
 * is made which cannot be kept; it is gone again when none was made.
 */
export async function keepSecret<Made>(
  path: string,
  make: () => Promise<Made>,
  secretOf: (made: Made) => string,
): Promise<Made> {
  let file: number
  try {
    file = openSync(path, 'wx', 0o600)
  } catch (error) {
    throw new UsageError(`${path} cannot be made: ${reasonOf(error)}`)
  }
  try {
    const made = await make()
    writeSync(file, `${secretOf(made)}\n`)
    return made
  } catch (error) {
    unlinkSync(path)
    throw error
  } finally {
    closeSync(file)
  }
}

export function newPrivateKey(): string {
  return `${randomBytes(32).toString('hex')}01`
}

/** The text of an option; undefined when it was not given. */
export function text(option: string | boolean | undefined): string | undefined {
  return typeof option === 'string' ? option : undefined
}

function readSecret(terminal: Terminal, path: string): string {
  try {
    const isOpenToOthers = process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0
    if (isOpenToOthers) terminal.err(`Others can read ${path}: chmod 600 ${path}\n`)
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw new UsageError(`${path} cannot be read: ${reasonOf(error)}`)
  }
}

function reasonOf(error: unknown): string {
  const { code } = error as { code?: string }
  const reasons: Record<string, string> = {
    EEXIST: 'it exists already',
    ENOENT: 'it does not exist',
    EACCES: 'permission denied',
  }
  return reasons[code ?? ''] ?? code ?? 'unknown'
}
