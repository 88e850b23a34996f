import { randomBytes } from 'node:crypto'
import { Option } from 'commander'
import {
  type Client,
  type ClientOptions,
  createClient,
  isLoopback,
  NETWORKS,
  type Network,
  privateKeySigner,
  requestSigner,
  type Signer,
  secretRequestSigner,
} from '../client/index.ts'
import { openHeadsFile } from './audit-heads.ts'
import { type CliCommand, type CommandContext, commaList } from './command.ts'
import { UsageError } from './errors.ts'
import { readSecretFile } from './files.ts'

export const DEFAULT_URL = 'http://127.0.0.1:8787'

/** The options of every command. */
export interface ServiceOptions {
  url?: string
  network?: Network
  domain?: string
  router?: string[]
  keyFile?: string
  apiKeyFile?: string
  signingKeyFile?: string
  signAs?: string
  sessionFile?: string
  auditHeads?: string
  allowInsecure?: boolean
}

export type ServiceContext<Options = object> = CommandContext<Options & ServiceOptions>

export function addServiceOptions(program: CliCommand): CliCommand {
  return program
    .option('--url <url>', `the service; or LATCHKEY_URL; by default ${DEFAULT_URL}`)
    .option(
      '--key-file <file>',
      "the wallet's private key; or LATCHKEY_KEY_FILE, or the key itself in LATCHKEY_PRIVATE_KEY",
    )
    .option(
      '--api-key-file <file>',
      'an API key; or LATCHKEY_API_KEY_FILE, or the key itself in LATCHKEY_API_KEY',
    )
    .option(
      '--signing-key-file <file>',
      'what keys create --signing-key wrote, to sign requests with; or LATCHKEY_SIGNING_KEY_FILE',
    )
    .option(
      '--sign-as <key-id>',
      'sign requests with the secret of this key, the API key, in place of sending it; or LATCHKEY_SIGN_AS',
    )
    .option(
      '--session-file <file>',
      'a session, to read with; or LATCHKEY_SESSION_FILE, or the session itself in LATCHKEY_SESSION',
    )
    .addOption(
      new Option(
        '--network <network>',
        'sign for this network only; or LATCHKEY_NETWORK; by default devnet, for a service on this machine',
      ).choices(NETWORKS),
    )
    .option(
      '--audit-heads <file>',
      "keep the newest event of the wallet's audit here, and name it in what is signed; or LATCHKEY_AUDIT_HEADS",
    )
    .option(
      '--router <ids>',
      'sign orders for these routers only, as SP...x-multihop,committed:SP...committed-router; or LATCHKEY_ROUTERS',
      commaList,
    )
    .option(
      '--domain <name>',
      'sign messages for this service; or LATCHKEY_DOMAIN; by default for the host of its URL',
    )
    .option('--allow-insecure', 'allow http:// to another machine')
    .option('--json', 'print one JSON document; an error is one too, on stderr')
}

const SECRETS = {
  privateKey: {
    option: 'keyFile',
    variable: 'LATCHKEY_PRIVATE_KEY',
    fileVariable: 'LATCHKEY_KEY_FILE',
  },
  apiKey: {
    option: 'apiKeyFile',
    variable: 'LATCHKEY_API_KEY',
    fileVariable: 'LATCHKEY_API_KEY_FILE',
  },
  session: {
    option: 'sessionFile',
    variable: 'LATCHKEY_SESSION',
    fileVariable: 'LATCHKEY_SESSION_FILE',
  },
} as const

/** Reads a secret from the file of an option, else from the environment, else from the file that the environment names. */
export async function readSecret(
  { terminal, options, note }: ServiceContext,
  name: keyof typeof SECRETS,
): Promise<string | undefined> {
  const { option, variable, fileVariable } = SECRETS[name]
  const path = options[option]
  const secret = terminal.env[variable] || undefined
  if (path === undefined && secret !== undefined) return secret
  const file = path ?? (terminal.env[fileVariable] || undefined)
  if (file === undefined) return undefined
  const read = readSecretFile(file)
  if (read.advice !== undefined) await note(read.advice)
  return read.secret
}

/** A client with the secrets that the environment and the files hold. */
export async function openClient(
  context: ServiceContext,
  change: Partial<ClientOptions> = {},
): Promise<Client> {
  return clientWith(context, {
    ...(await readKeyCredential(context)),
    session: await readSecret(context, 'session'),
    signer: await readSigner(context),
    ...change,
  })
}

/** A client with an API key, without which a command means nothing. */
export async function openKeyClient(context: ServiceContext): Promise<Client> {
  const credential = await readKeyCredential(context)
  if (credential !== undefined) return clientWith(context, credential)
  throw new UsageError(
    'There is no API key: name its file with --api-key-file, or that of a signing key with --signing-key-file',
  )
}

type KeyCredential = Pick<ClientOptions, 'apiKey' | 'requestSigner'>

/** An API key, sent or signed with; undefined where there is none. */
export async function readKeyCredential(
  context: ServiceContext,
): Promise<KeyCredential | undefined> {
  const { terminal, options } = context
  const file = options.signingKeyFile ?? (terminal.env.LATCHKEY_SIGNING_KEY_FILE || undefined)
  if (file !== undefined) {
    const { secret, advice } = readSecretFile(file)
    if (advice !== undefined) await context.note(advice)
    const signingKey = readSigningKeyText(secret)
    if (signingKey !== undefined) return { requestSigner: requestSigner(signingKey) }
    throw new UsageError(
      `${file} is no signing key with the id of its API key: keys create --signing-key writes one`,
    )
  }
  const apiKey = await readSecret(context, 'apiKey')
  if (apiKey === undefined) return undefined
  const keyId = options.signAs ?? (terminal.env.LATCHKEY_SIGN_AS || undefined)
  if (keyId === undefined) return { apiKey }
  return { requestSigner: secretRequestSigner({ keyId, apiKey }) }
}

const KEY_ID_LINE = 'Latchkey-Key-Id'

/** A private key as a file has it: PEM, which allows text before it (RFC 7468 s2), and before it the id of its API key. */
export function writeSigningKeyText(keyId: string, privateKey: string): string {
  return `${KEY_ID_LINE}: ${keyId}\n${privateKey.trim()}`
}

function readSigningKeyText(text: string): { keyId: string; privateKey: string } | undefined {
  const [, keyId] =
    new RegExp(`^${KEY_ID_LINE}: (key_[0-9A-Za-z]{1,40})\\r?$`, 'm').exec(text) ?? []
  return keyId === undefined ? undefined : { keyId, privateKey: text }
}

/** A client with these credentials and no others. */
export function clientWith(
  context: ServiceContext,
  credentials: Partial<ClientOptions> = {},
): Client {
  const { terminal, options } = context
  const headsFile = headsFileOf(context)
  return createClient({
    baseUrl: serviceUrl(context),
    allowInsecure: options.allowInsecure === true,
    ...(headsFile !== undefined && {
      auditHeads: openHeadsFile(headsFile, serviceUrl(context)),
    }),
    network: networkOf(context),
    domain: options.domain ?? (terminal.env.LATCHKEY_DOMAIN || undefined),
    routers: options.router ?? routersOf(terminal.env.LATCHKEY_ROUTERS),
    ...(terminal.fetch !== undefined && { fetch: terminal.fetch }),
    hooks: {
      onRetry({ error, waitMs }) {
        if (error.retryAfterSeconds !== undefined)
          void context.note(`The service asks to wait ${waitMs / 1000} s.`)
      },
    },
    ...credentials,
    // What the environment holds was read above.
    apiKey: credentials.apiKey ?? null,
  })
}

/** The file that heads are kept in; undefined where none is named. */
export function headsFileOf({ terminal, options }: ServiceContext): string | undefined {
  return options.auditHeads ?? (terminal.env.LATCHKEY_AUDIT_HEADS || undefined)
}

export function serviceUrl({ terminal, options }: ServiceContext): string {
  return options.url ?? (terminal.env.LATCHKEY_URL || DEFAULT_URL)
}

/** The network that is signed for. A service on this machine is a devnet unless an option says otherwise. */
export function networkOf(context: ServiceContext): Network | undefined {
  const { options, terminal } = context
  const named = options.network ?? (terminal.env.LATCHKEY_NETWORK || undefined)
  if (named !== undefined) {
    const network = NETWORKS.find((one) => one === named)
    if (network !== undefined) return network
    throw new UsageError(`LATCHKEY_NETWORK is one of ${NETWORKS.join(', ')}`)
  }
  const url = serviceUrl(context)
  return URL.canParse(url) && isLoopback(new URL(url).hostname) ? 'devnet' : undefined
}

function routersOf(list: string | undefined): string[] | undefined {
  return list ? commaList(list) : undefined
}

/** Signs for one network, which is never the service's choice. */
export async function readSigner(context: ServiceContext): Promise<Signer | undefined> {
  const key = await readSecret(context, 'privateKey')
  if (key === undefined) return undefined
  privateKeySigner(key, 'devnet')
  const network = networkOf(context)
  return network === undefined
    ? unpinnedSigner(serviceUrl(context))
    : privateKeySigner(key, network)
}

/** Refuses when it is to sign: a command that only reads needs no network. */
function unpinnedSigner(url: string): Signer {
  const refuse = async (): Promise<never> => {
    throw new UsageError(
      `The network that this wallet signs for on ${url} is not named: add --network mainnet or --network testnet, or set LATCHKEY_NETWORK`,
    )
  }
  return { interactive: false, getAddress: refuse, signMessage: refuse, signIntent: refuse }
}

export function newPrivateKey(): string {
  return `${randomBytes(32).toString('hex')}01`
}

/** The options that lead another command line to the same service with the same wallet. */
export function sameService({ options }: ServiceContext): string {
  const given = [
    ['--url', options.url],
    ['--key-file', options.keyFile],
    ['--network', options.network],
    ['--audit-heads', options.auditHeads],
    ['--domain', options.domain],
  ].flatMap(([flag, value]) => (value === undefined ? [] : [`${flag} ${shellQuoted(value)}`]))
  return [...given, ...(options.allowInsecure === true ? ['--allow-insecure'] : [])].join(' ')
}

/** A word of a command line that a shell takes literally. */
export function shellQuoted(word: string): string {
  return /^[\w./:=@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`
}
