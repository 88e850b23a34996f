import { Option } from 'commander'
import {
  type Client,
  type CreatedSigningKey,
  generateSigningKey,
  type Key,
  type KeyChange,
  type NewKey,
  type RevocationCertificate,
} from '../../client/index.ts'
import { type CliCommand, type CommandResult, wholeNumber } from '../command.ts'
import { addConfirmation, type ConfirmOptions, confirm } from '../confirm.ts'
import {
  openClient,
  openKeyClient,
  type ServiceContext,
  sameService,
  writeSigningKeyText,
} from '../connect.ts'
import { CommandError, UsageError } from '../errors.ts'
import { readJson, saveNew } from '../files.ts'
import { addKeyOptions, type KeyOptions, liftedTerms, readTerms } from '../key-options.ts'
import { keyValues, table } from '../layout.ts'
import { addSaveOption, handOver, type SaveOptions } from '../one-time-secret.ts'

const DAY_SECONDS = 86_400

export function addKeyCommands(program: CliCommand): void {
  const keys = program
    .command('keys')
    .summary('API keys of the wallet')
    .description('API keys of the wallet. The wallet signs every change; a key cannot manage keys.')

  addSaveOption(addKeyOptions(keys.command('create')))
    .option(
      '--signing-key <file>',
      'make a key pair, grant its public key, and write the private one to this new file (0600)',
    )
    .summary('create a key; its secret is shown this once')
    .example('latchkey keys create --name bot --permissions execute,cancel --save bot.key')
    .example('latchkey keys create --name reader --permissions ""')
    .example('latchkey keys create --name bot --permissions execute --signing-key bot.pem')
    .runs(createKey)

  keys
    .command('list')
    .option('--live', 'only keys that have not ended')
    .summary('list the keys, newest first, ended ones included')
    .example('latchkey keys list --live')
    .runs(listKeys)

  withKeyId(keys.command('get'))
    .summary('show a key')
    .example('latchkey keys get key_1a2b3c')
    .runs(async (context) => showKey(await (await openClient(context)).keys.get(keyIdOf(context))))

  addKeyOptions(withKeyId(keys.command('update')))
    .option('--lift <limits>', 'limits that go, as tokens,expires-at', liftedTerms)
    .summary('change the name or the limits of a key')
    .example('latchkey keys update key_1a2b3c --rate-limit 60')
    .example('latchkey keys update key_1a2b3c --lift tokens,expires-at')
    .runs(updateKey)

  withKeyId(keys.command('suspend'))
    .summary('refuse a key everything until it is resumed')
    .example('latchkey keys suspend key_1a2b3c')
    .runs(async (context) =>
      showKey(await (await openClient(context)).keys.suspend(keyIdOf(context))),
    )

  withKeyId(keys.command('resume'))
    .summary('let a suspended key work again')
    .example('latchkey keys resume key_1a2b3c')
    .runs(async (context) =>
      showKey(await (await openClient(context)).keys.resume(keyIdOf(context))),
    )

  addConfirmation(addSaveOption(withKeyId(keys.command('rotate'))))
    .addOption(
      new Option('--grace-seconds <number>', 'how long the old secret goes on working')
        .argParser(wholeNumber(0, 7 * DAY_SECONDS))
        .default(3_600),
    )
    .option('--force', 'also within the grace of the rotation before, whose old secret then ends')
    .summary('give a key a new secret; the old one works until the grace ends')
    .example('latchkey keys rotate key_1a2b3c --save bot.key.new')
    .example('latchkey keys rotate key_1a2b3c --grace-seconds 0 --yes --save bot.key.new')
    .runs(rotateKey)

  addConfirmation(withKeyId(keys.command('delete')))
    .summary('revoke a key, at once and for ever')
    .example('latchkey keys delete key_1a2b3c')
    .runs(deleteKey)

  addConfirmation(keys.command('revoke-all'))
    .option('--cancel-open-orders', 'cancel the open orders of the wallet too')
    .summary('revoke every key and end every session of the wallet, at once')
    .example('latchkey keys revoke-all --cancel-open-orders')
    .runs(revokeAll)

  withKeyId(keys.command('certificate'))
    .addOption(
      new Option('--days <number>', 'how long it is good for')
        .argParser(wholeNumber(1, 366))
        .default(365),
    )
    .option('--out <file>', 'a new file (0600); by default standard output')
    .summary('sign a revocation to be kept offline')
    .example('latchkey keys certificate key_1a2b3c --out key_1a2b3c.revocation')
    .runs(signCertificate)

  addConfirmation(keys.command('use-certificate'))
    .argument('<file>', 'what keys certificate wrote')
    .summary('revoke a key with a certificate; needs no wallet')
    .example('latchkey keys use-certificate key_1a2b3c.revocation')
    .runs(sendCertificate)

  keys
    .command('heartbeat')
    .summary('send a sign of life of the API key that this is run with')
    .example('latchkey keys heartbeat --api-key-file bot.key')
    .runs(sendHeartbeat)

  addConfirmation(keys.command('delete-self'))
    .summary('revoke the API key that this is run with')
    .example('latchkey keys delete-self --api-key-file bot.key')
    .runs(deleteSelf)

  withKeyId(keys.command('usage'))
    .addOption(new Option('--by <unit>', 'width of a row').choices(['hour', 'day']).default('day'))
    .addOption(
      new Option('--days <number>', 'how far back').argParser(wholeNumber(1, 90)).default(30),
    )
    .summary('show how a key was used, and from where')
    .example('latchkey keys usage key_1a2b3c --by hour --days 2')
    .runs(showUsage)
}

function withKeyId(command: CliCommand): CliCommand {
  return command.argument('<key-id>', 'as keys list shows it')
}

function keyIdOf({ args }: ServiceContext): string {
  return args[0] ?? ''
}

async function createKey(
  context: ServiceContext<KeyOptions & SaveOptions & { signingKey?: string }>,
): Promise<CommandResult> {
  const { name, permissions, publicKey, ...limits } = readTerms(context.options)
  if (name === undefined || permissions === undefined)
    throw new UsageError(
      'A key needs --name and --permissions; --permissions "" for a key that may do nothing',
    )
  const draft: NewKey = { name, permissions, ...limits }
  const client = await openClient(context)
  const { signingKey, save } = context.options
  const without = publicKey !== undefined || signingKey !== undefined
  if ((publicKey !== undefined && signingKey !== undefined) || (without && save !== undefined))
    throw new UsageError(
      'A key has one of --public-key, --signing-key and a secret, which --save is for',
    )
  if (publicKey !== undefined) return showGranted(await client.keys.create({ ...draft, publicKey }))
  if (signingKey !== undefined) return createSigningKey(context, client, draft, signingKey)
  const { made, savedTo, whenLost } = await handOver(context, {
    make: () => client.keys.create(draft),
    secretOf: ({ apiKey }) => apiKey,
    withdraw: ({ keyId }, reason) => revokeLost(context, client, keyId, reason),
  })
  const { apiKey, status: _, ...key } = made
  return {
    json: savedTo === undefined ? { apiKey, ...key } : { ...key, savedTo },
    lines: keyValues({
      apiKey: savedTo === undefined ? `${apiKey}   (shown this once)` : `saved to ${savedTo}`,
      ...key,
      permissions: key.permissions.join(', ') || 'none',
    }),
    ...(whenLost !== undefined && { whenLost }),
  }
}

/** The private key is made here and stored nowhere else: where its file cannot be written, the key is revoked. */
async function createSigningKey(
  context: ServiceContext,
  client: Client,
  draft: NewKey,
  file: string,
): Promise<CommandResult> {
  const { publicKey, privateKey } = await generateSigningKey()
  const made = await saveNew(
    file,
    () => client.keys.create({ ...draft, publicKey }),
    ({ keyId }) => writeSigningKeyText(keyId, privateKey),
    ({ keyId }, reason) => revokeLost(context, client, keyId, reason),
  )
  return showGranted(made, file)
}

function showGranted(made: CreatedSigningKey, savedTo?: string): CommandResult {
  const { status: _, publicKey, ...key } = made
  return {
    json: { ...key, publicKey, ...(savedTo !== undefined && { savedTo }) },
    lines: keyValues({
      ...(savedTo !== undefined && { signingKey: `saved to ${savedTo}` }),
      ...key,
      publicKey: publicKey?.key ?? '',
      permissions: key.permissions.join(', ') || 'none',
    }),
  }
}

async function rotateKey(
  context: ServiceContext<{ graceSeconds: number; force?: boolean } & SaveOptions & ConfirmOptions>,
): Promise<CommandResult> {
  const { graceSeconds, force = false } = context.options
  const keyId = keyIdOf(context)
  const client = await openClient(context)
  if (graceSeconds === 0)
    await confirm(context, 'ends the present secret of the key at once', async () => {
      const { name, keyPreview } = await client.keys.get(keyId)
      return `This ends the present secret ${keyPreview} of the API key '${name}' (${keyId}) at once and for ever.`
    })
  const { made, savedTo, whenLost } = await handOver(context, {
    make: () => client.keys.rotate(keyId, graceSeconds, { force }),
    secretOf: ({ apiKey }) => apiKey,
    withdraw: (_, reason) => revokeLost(context, client, keyId, reason),
  })
  const { apiKey, status: _, ...rotated } = made
  return {
    json: savedTo === undefined ? { apiKey, ...rotated } : { ...rotated, savedTo },
    lines: keyValues({
      apiKey: savedTo === undefined ? `${apiKey}   (shown this once)` : `saved to ${savedTo}`,
      ...rotated,
    }),
    ...(whenLost !== undefined && { whenLost }),
  }
}

/** A key whose secret was not handed over is revoked: it would stay live, and count against the wallet's keys. */
async function revokeLost(
  context: ServiceContext,
  client: Client,
  keyId: string,
  reason: string,
): Promise<CommandError> {
  const lost = `The secret of ${keyId} was not handed over (${reason})`
  try {
    await client.keys.delete(keyId)
    return new CommandError('SECRET_LOST', `${lost}. The key was revoked at once`, {
      details: { keyId, revoked: true },
    })
  } catch (error) {
    const command = `latchkey keys delete ${keyId} --yes ${sameService(context)}`.trimEnd()
    return new CommandError(
      'SECRET_LOST',
      `${lost}, and the key is still live, for revoking it failed: ${(error as Error).message} Delete it with: ${command}`,
      { details: { keyId, revoked: false, command } },
    )
  }
}

async function listKeys(context: ServiceContext<{ live?: boolean }>): Promise<CommandResult> {
  const { live } = context.options
  const keys = await (await openClient(context)).keys.list(live === true ? { live } : {})
  return { json: keys, lines: keys.length === 0 ? ['No keys.'] : table(keys.map(keyRow)) }
}

async function updateKey(
  context: ServiceContext<KeyOptions & { lift?: KeyChange }>,
): Promise<CommandResult> {
  const change: KeyChange = { ...readTerms(context.options), ...context.options.lift }
  if (Object.keys(change).length === 0)
    throw new UsageError('Nothing changes: name at least one term, or a limit after --lift')
  return showKey(await (await openClient(context)).keys.update(keyIdOf(context), change))
}

async function deleteKey(context: ServiceContext<ConfirmOptions>): Promise<CommandResult> {
  const client = await openClient(context)
  const keyId = keyIdOf(context)
  await confirm(context, 'revokes the key for ever', async () => {
    const { name, keyPreview, lastUsedAt } = await client.keys.get(keyId)
    const use = lastUsedAt === undefined ? 'never used' : `last used at ${lastUsedAt}`
    return `This revokes the API key '${name}' (${keyId}, ${keyPreview}, ${use}) at once and for ever.`
  })
  return showMessage(await client.keys.delete(keyId))
}

async function revokeAll(
  context: ServiceContext<{ cancelOpenOrders?: boolean } & ConfirmOptions>,
): Promise<CommandResult> {
  const cancelsOrders = context.options.cancelOpenOrders === true
  const client = await openClient(context)
  const andMore = cancelsOrders
    ? ', ends its sessions and cancels its open orders'
    : ' and ends its sessions'
  await confirm(context, `revokes every key of the wallet${andMore}`, async () => {
    const live = await client.keys.list({ live: true })
    const names = live.map(({ name }) => `'${name}'`).join(', ') || 'none'
    return `This revokes every live API key of the wallet (${names})${andMore}, at once and for ever.`
  })
  const revoked = await client.keys.revokeAll(cancelsOrders)
  return {
    json: revoked,
    lines: keyValues({
      revoked: revoked.keyIds.join(', ') || 'no key',
      cancelledOrders: revoked.cancelledOrders,
    }),
  }
}

async function signCertificate(
  context: ServiceContext<{ days: number; out?: string }>,
): Promise<CommandResult> {
  const { days, out } = context.options
  const client = await openClient(context)
  const sign = () => client.keys.certificate(keyIdOf(context), days)
  if (out === undefined) return { json: await sign() }
  const { keyId } = await saveNew(out, sign, (certificate) => JSON.stringify(certificate))
  return {
    json: { keyId, savedTo: out },
    lines: [`The revocation of ${keyId} is saved to ${out}`],
  }
}

async function sendCertificate(context: ServiceContext<ConfirmOptions>): Promise<CommandResult> {
  const certificate = readCertificate(context.args[0] ?? '')
  const client = await openClient(context)
  await confirm(
    context,
    'revokes the key for ever',
    async () => `This revokes the API key ${certificate.keyId} at once and for ever.`,
  )
  return showMessage(await client.keys.useCertificate(certificate))
}

function readCertificate(path: string): RevocationCertificate {
  const certificate = readJson(path) as Partial<RevocationCertificate> | null
  const { keyId, message, signature, walletAddress } = certificate ?? {}
  if (
    typeof keyId !== 'string' ||
    typeof message !== 'string' ||
    typeof signature !== 'string' ||
    typeof walletAddress !== 'string'
  )
    throw new UsageError(`${path} is no certificate: keys certificate writes one`)
  return { keyId, message, signature, walletAddress }
}

async function sendHeartbeat(context: ServiceContext): Promise<CommandResult> {
  const taken = await (await openKeyClient(context)).keys.heartbeat()
  const { keyId, heartbeat, deadline } = taken
  const silence = heartbeat === null ? 'does nothing' : SILENCES[heartbeat.then]
  return {
    json: taken,
    lines: keyValues({ keyId, 'a silence': silence, ...(deadline !== null && { deadline }) }),
  }
}

const SILENCES = { cancel: 'cancels its open orders', suspend: 'suspends it' } as const

async function deleteSelf(context: ServiceContext<ConfirmOptions>): Promise<CommandResult> {
  const client = await openKeyClient(context)
  await confirm(context, 'revokes for ever the key that it is run with', async () => {
    const { name, keyId, owner } = await client.keys.me()
    return `This revokes the API key '${name}' (${keyId}) of ${owner}, with which it is run, at once and for ever.`
  })
  return showMessage(await client.keys.deleteSelf())
}

async function showUsage(
  context: ServiceContext<{ by: 'hour' | 'day'; days: number }>,
): Promise<CommandResult> {
  const { by, days } = context.options
  const usage = await (await openClient(context)).keys.usage(keyIdOf(context), { by, days })
  if (usage.usage.length === 0) return { json: usage, lines: ['No requests.'] }
  const buckets = usage.usage.map(({ start, requests, outcomes }) => ({
    start,
    requests,
    outcomes: Object.entries(outcomes)
      .map(([outcome, count]) => `${outcome} ${count}`)
      .join(', '),
  }))
  const sightings = [...usage.ips, ...usage.userAgents].map(({ value, requests, lastSeenAt }) => ({
    from: value,
    requests,
    'last seen': lastSeenAt,
  }))
  const average = keyValues({ averageExecutionMs: usage.averageExecutionMs ?? '-' })
  return { json: usage, lines: [...table(buckets), '', ...table(sightings), '', ...average] }
}

function showMessage(answer: { message: string }): CommandResult {
  return { json: answer, lines: [answer.message] }
}

function showKey(key: Key): CommandResult {
  const { id: _, permissions, usageStats, ...shown } = key
  return {
    json: key,
    lines: keyValues({
      ...shown,
      permissions: permissions.join(', ') || 'none',
      ...usageStats,
    }),
  }
}

function keyRow({ keyId, name, keyPreview, status, permissions, lastUsedAt, usageStats }: Key) {
  return {
    id: keyId,
    name,
    key: keyPreview,
    status,
    permissions: permissions.join(',') || 'none',
    requests: usageStats.totalRequests,
    failed: usageStats.failedRequests,
    'last used': lastUsedAt ?? 'never',
  }
}
