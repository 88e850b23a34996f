import type { ActInput, ActName, ActOutput, Perform } from '../operator/acts.ts'
import type { CommandContext, CommandResult } from './command.ts'
import { CommandError } from './errors.ts'

/** What a command of the operator does, by the service that runs or on its database. */
export type ActOf<Options> = (
  perform: Perform,
  options: Options,
  context: CommandContext<Options>,
) => Promise<CommandResult>

/** Makes an act the handler of a command. */
export type RunAct = <Options extends object>(
  act: ActOf<Options>,
) => (context: CommandContext<Options>) => Promise<CommandResult>

const REFUSALS = {
  operatorNotFound: { code: 'OPERATOR_NOT_FOUND', message: 'That is no operator account' },
  credentialNotFound: {
    code: 'CREDENTIAL_NOT_FOUND',
    message: 'There is no such service credential',
  },
  treasuryBusy: {
    code: 'TREASURY_BUSY',
    message: 'Another run of the treasury is under way, or was killed less than a minute ago',
  },
  treasuryNonceTaken: {
    code: 'TREASURY_NONCE_TAKEN',
    message:
      'The next nonce of the treasury is another one, or its funds are used up: repeat the command',
  },
  treasuryLimit: {
    code: 'TREASURY_LIMIT',
    message:
      'That is more than TREASURY_MAX_PER_RUN_IN_MICRO_STX or TREASURY_MAX_PER_DAY_IN_MICRO_STX',
  },
  topUpNotNeeded: { code: 'TOP_UP_NOT_NEEDED', message: 'The account has enough, or will have' },
  webhookNotFound: { code: 'WEBHOOK_NOT_FOUND', message: 'The operator has no such webhook' },
  webhookLimitReached: {
    code: 'WEBHOOK_LIMIT_REACHED',
    message: 'The operator has as many webhooks as it may: remove one',
  },
  webhookUrlRefused: {
    code: 'WEBHOOK_URL_REFUSED',
    message: 'That is no address of the public internet with https://',
  },
  webhooksOff: {
    code: 'WEBHOOKS_OFF',
    message: 'WEBHOOKS is off, or the tables are distributed',
  },
  unavailable: { code: 'UNAVAILABLE', message: 'The name could not be looked up: repeat this' },
  keyNotFound: { code: 'KEY_NOT_FOUND', message: 'There is no such key' },
  invalidRequest: {
    code: 'INVALID_REQUEST',
    message: 'That is no wallet or scope of this service, or cannot be done',
  },
  chainUnavailable: {
    code: 'CHAIN_UNAVAILABLE',
    message: 'The chain does not respond, or STACKS_API_URL is not set',
  },
  archiveTooYoung: {
    code: 'ARCHIVE_TOO_YOUNG',
    message: '--before lies less than a day ago: messages of then may still be fresh',
  },
  archiveRunning: {
    code: 'ARCHIVE_RUNNING',
    message: 'Another process works on an archive; if it was killed, repeat this in 30 seconds',
  },
  archiveNotOwner: {
    code: 'ARCHIVE_NOT_OWNER',
    message:
      'An archive removes rows that no other statement may: DATABASE_URL must name the role that owns the tables',
  },
  archiveOnManyServers: {
    code: 'ARCHIVE_ON_MANY_SERVERS',
    message: 'Tables that are distributed over several servers are not archived by this release',
  },
} as const

/** The output of an act; throws the refusal. */
export async function outputOf<Name extends ActName>(
  perform: Perform,
  name: Name,
  input: ActInput<Name>,
): Promise<ActOutput<Name>> {
  const result = await perform(name, input)
  if (result.ok) return result.value
  const { code, message } = REFUSALS[result.reason]
  throw new CommandError(code, message, { ...(result.details && { details: result.details }) })
}
