import type * as z from 'zod'
import type { PresentedMessage, SignedAction } from '../../actions/action.ts'
import { type ActionSchema, SignedBody } from '../../actions/schemas.ts'
import { verifyAction } from '../../actions/verify.ts'
import type { Admission } from '../../gate/decide.ts'
import type { Scope } from '../../keys/scope.ts'
import { refuse } from '../../result.ts'
import { readBody } from '../body.ts'
import { type AppContext, headerOf, stateOf } from '../context.ts'
import { unwrap } from '../problem.ts'
import { limitByAddress } from './address.ts'
import { authenticateKey, presentsKey } from './key.ts'
import { authenticateSession, presentsSession } from './session.ts'

/** Refusals of every operation that a wallet signs for. */
export const SIGNATURE_REFUSALS = [
  'invalidRequest',
  'signatureMissing',
  'signatureInvalid',
  'timestampExpired',
] as const

/** An authenticated caller: a bot with its key, or a wallet with a signed message. */
export type Authenticated<Members> =
  | ({ by: 'key' } & Admission)
  | { by: 'wallet'; walletAddress: string; action: SignedAction<Members> }

/** A signed message's schema, and an example of what to sign for refusals to show. */
export interface Signable<Schema extends ActionSchema> {
  schema: Schema
  example: Record<string, unknown>
}

/** Whether the request presents a signed message in its headers, whole or in part. */
export function presentsSignature(c: AppContext): boolean {
  return ['x-message', 'x-signature', 'x-wallet-address'].some(
    (name) => c.req.header(name) !== undefined,
  )
}

/** Authenticates a wallet that reads its own data: by its session, or by a signed message in headers. */
export async function authenticateReader<Schema extends ActionSchema>(
  c: AppContext,
  signable: Signable<Schema>,
  authorize: (members: z.output<Schema>) => void = () => {},
): Promise<string> {
  limitByAddress(c)
  if (presentsSession(c)) return (await authenticateSession(c)).walletAddress
  const { walletAddress, members } = readSignedHeaders(c, signable)
  authorize(members)
  return walletAddress
}

/** Authenticates a key with the scope when one is presented, else a message that the wallet signed. */
export async function authenticateKeyOrWallet<Schema extends ActionSchema>(
  c: AppContext,
  scope: Scope,
  signable: Signable<Schema>,
  uuid?: string,
): Promise<Authenticated<z.output<Schema>>> {
  if (presentsKey(c)) return { by: 'key', ...(await authenticateKey(c, scope, { uuid })) }
  limitByAddress(c)
  const action = await readSignedBody(c, signable, 'credentialsMissing')
  return { by: 'wallet', walletAddress: action.walletAddress, action }
}

const SIGN_AND_SEND =
  'sign expected as JSON text, and send that text as message, with signature and walletAddress, in a JSON body'

/** Verifies a signed message in a JSON body. */
export async function readSignedBody<Schema extends ActionSchema>(
  c: AppContext,
  signable: Signable<Schema>,
  whenMissing: 'signatureMissing' | 'credentialsMissing' = 'signatureMissing',
): Promise<SignedAction<z.output<Schema>>> {
  return verifyBody(c, await readBody(c, SignedBody), signable, whenMissing)
}

/** Verifies a signed message in a JSON body or, where there is none, in headers: some proxies and clients drop the body of a DELETE. */
export async function readSignedBodyOrHeaders<Schema extends ActionSchema>(
  c: AppContext,
  signable: Signable<Schema>,
): Promise<SignedAction<z.output<Schema>>> {
  // Only reading tells whether there is one: Node gives a request without body an empty stream.
  const body = await readBody(c, SignedBody)
  return !body.ok && body.reason === 'bodyMissing' && presentsSignature(c)
    ? readSignedHeaders(c, signable)
    : verifyBody(c, body, signable, 'signatureMissing')
}

function verifyBody<Schema extends ActionSchema>(
  c: AppContext,
  body: Awaited<ReturnType<typeof readBody<typeof SignedBody>>>,
  signable: Signable<Schema>,
  whenMissing: 'signatureMissing' | 'credentialsMissing',
): SignedAction<z.output<Schema>> {
  if (body.ok) return verifyPresented(c, body.value, signable)
  if (body.reason === 'bodyTooLarge' || body.reason === 'unsupportedMedia') return unwrap(body)
  const expected = expectedMembers(c, signable)
  return unwrap(
    body.reason === 'bodyMissing'
      ? refuse(whenMissing, { problem: SIGN_AND_SEND, expected })
      : refuse(body.reason, { ...body.details, expected }),
  )
}

/** Verifies a signed message in headers, for requests without a body. */
export function readSignedHeaders<Schema extends ActionSchema>(
  c: AppContext,
  signable: Signable<Schema>,
): SignedAction<z.output<Schema>> {
  const [message, signature, walletAddress] = [
    headerOf(c, 'x-message'),
    headerOf(c, 'x-signature'),
    headerOf(c, 'x-wallet-address'),
  ]
  if (message === undefined || signature === undefined || walletAddress === undefined)
    return unwrap(
      refuse('signatureMissing', {
        headers: ['X-Message', 'X-Signature', 'X-Wallet-Address'],
        expected: expectedMembers(c, signable),
      }),
    )
  const twice = ['X-Signature', 'X-Wallet-Address'].find((name) =>
    c.req.header(name)?.includes(','),
  )
  if (twice !== undefined)
    return unwrap(refuse('invalidRequest', { problem: `${twice} is sent twice: send it once` }))
  return verifyPresented(
    c,
    { message, signature, walletAddress, publicKey: headerOf(c, 'x-public-key') },
    signable,
  )
}

/** Verifies a presented message; a refusal shows what to sign. */
export function verifyPresented<Schema extends ActionSchema>(
  c: AppContext,
  presented: PresentedMessage,
  signable: Signable<Schema>,
): SignedAction<z.output<Schema>> {
  const policy = { ...stateOf(c).world, example: expectedMembers(c, signable) }
  return unwrap(verifyAction(presented, signable.schema, policy, stateOf(c).now))
}

/** The members to sign, with the service's current time and its domain. */
function expectedMembers(
  c: AppContext,
  { example }: Signable<ActionSchema>,
): Record<string, unknown> {
  const { SIGNED_DOMAIN: domain } = stateOf(c).world.config
  return { ...example, timestamp: stateOf(c).now, ...(domain !== undefined && { domain }) }
}
