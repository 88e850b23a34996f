import { hashSecret, makeUnshardedSecret, previewOf, SERVICE_PREFIX } from '../keys/secret.ts'
import type { Perform } from '../operator/acts.ts'
import { MAX_SERVICE_RATE, SERVICE_SECRET_BYTES } from '../service-credentials/credential.ts'
import { outputOf, type RunAct } from './acts.ts'
import {
  type CliCommand,
  type CommandContext,
  type CommandResult,
  commaList,
  wholeNumber,
} from './command.ts'
import { CommandError, UsageError } from './errors.ts'
import { keyValues, table } from './layout.ts'
import { addSaveOption, handOver, type SaveOptions } from './one-time-secret.ts'

/** Adds the commands for what the operator's other services prove themselves with. */
export function addServiceCredentialCommands(program: CliCommand, onService: RunAct): void {
  const credentials = program
    .command('service-credentials')
    .summary('what other services prove themselves with, which ask about keys')
    .description('What other services prove themselves with, which ask about keys.')
  addSaveOption(credentials.command('create'))
    .option('--name <text>', 'which service it is for')
    .option('--scopes <names>', 'what it may ask for, separated by commas', commaList)
    .option(
      '--rate-limit <n>',
      'requests a minute',
      wholeNumber(1, MAX_SERVICE_RATE),
      DEFAULT_RATE_LIMIT,
    )
    .summary('make one; its secret is shown this once')
    .example('latchkey-admin service-credentials create --name rfq --scopes rfq --save rfq.txt')
    .runs(onService(create))
  credentials
    .command('list')
    .summary('all of them, revoked ones too, and how much they are used')
    .example('latchkey-admin service-credentials list')
    .runs(onService(list))
  credentials
    .command('revoke')
    .argument('<credential-id>', 'as list shows it')
    .option('--reason <text>', 'why')
    .summary('refuse it from now on, in every process')
    .example('latchkey-admin service-credentials revoke svc_1a2b3c --reason "a laptop was lost"')
    .runs(onService(revoke))
}

const DEFAULT_RATE_LIMIT = 6_000

interface CreateOptions extends SaveOptions {
  name?: string
  scopes?: string[]
  rateLimit: number
}

/** The secret is made here: the service receives its hash, and reads it first when it is used. */
async function create(
  perform: Perform,
  { name = '', scopes = [], rateLimit }: CreateOptions,
  context: CommandContext<CreateOptions>,
): Promise<CommandResult> {
  if (name.trim() === '') throw new UsageError('It needs a --name')
  if (scopes.length === 0) throw new UsageError('It needs --scopes: what the service may ask for')
  const { made, savedTo, whenLost } = await handOver(context, {
    async make() {
      const random = crypto.getRandomValues(new Uint8Array(SERVICE_SECRET_BYTES))
      const secret = makeUnshardedSecret(SERVICE_PREFIX, random)
      const preview = previewOf(SERVICE_PREFIX, secret)
      const given = { secretHash: hashSecret(secret), preview, name, scopes, rateLimit }
      return { secret, ...(await outputOf(perform, 'createServiceCredential', given)) }
    },
    secretOf: ({ secret }) => secret,
    async withdraw({ credentialId }, reason) {
      const lost = { credentialId, reason: 'the secret was lost' }
      await outputOf(perform, 'revokeServiceCredential', lost)
      return new CommandError(
        'SECRET_LOST',
        `The credential ${credentialId} was not handed over (${reason}). It was revoked at once`,
      )
    },
  })
  const { secret, credentialId } = made
  const shown = { credentialId, name, scopes, rateLimit }
  return {
    json: savedTo === undefined ? { serviceCredential: secret, ...shown } : { ...shown, savedTo },
    lines: keyValues({
      serviceCredential:
        savedTo === undefined ? `${secret}   (shown this once)` : `saved to ${savedTo}`,
      ...shown,
      scopes: scopes.join(', '),
    }),
    ...(whenLost !== undefined && { whenLost }),
  }
}

async function list(perform: Perform): Promise<CommandResult> {
  const all = await outputOf(perform, 'serviceCredentials', {})
  const time = (at: number | null) => (at === null ? '-' : new Date(at).toISOString())
  const rows = all.map(({ id, name, preview, scopes, rateLimit, ...one }) => ({
    id,
    name,
    preview,
    scopes: scopes.join(','),
    'per minute': rateLimit,
    requests: one.totalRequests,
    'last used': time(one.lastUsedAt),
    revoked: time(one.revokedAt),
  }))
  return { json: all, lines: rows.length === 0 ? ['No service credentials.'] : table(rows) }
}

async function revoke(
  perform: Perform,
  { reason = '' }: { reason?: string },
  { args }: CommandContext<object>,
): Promise<CommandResult> {
  const [credentialId = ''] = args
  if (reason.trim() === '') throw new UsageError('It needs a --reason')
  const done = await outputOf(perform, 'revokeServiceCredential', { credentialId, reason })
  const line = done.isNew ? `${credentialId} is revoked` : `${credentialId} was revoked before`
  return { json: done, lines: [line] }
}
