import { MAX_MESSAGE_BYTES } from '../actions/action.ts'
import type { AuditHead } from '../audit/event.ts'
import { RECORDED_ACTIONS } from '../db/recorded-actions.ts'
import { walletShard } from '../db/wallet-shard.ts'
import { makeSecret, RANDOM_BYTES, type Secret } from '../keys/secret.ts'
import type { TermsPolicy } from '../keys/terms.ts'
import { checkIntent, type Intent } from '../stacks/intent.ts'
import { isNetwork, type Network } from '../stacks/network.ts'
import { untilAborted } from './abort.ts'
import type { AuditHeads } from './audit-heads.ts'
import type { CallContext } from './call.ts'
import type { ServiceClock } from './clock.ts'
import { latchkeyError } from './errors.ts'
import type { ServiceInfo } from './info.ts'
import { type ActionMembers, asciiJson, type SignedMessage } from './message.ts'
import { domainFor, type Pins, type RouterNeeds, requireNetwork, routerFor } from './pins.ts'
import type { Signer } from './signer.ts'
import type { Proof, Transport } from './transport.ts'

/**
 * The signer, used for one service. What binds a signature is the client's own: a service that says otherwise gets none.
 */
export interface Wallet {
  /** Whether the client has a signer. Without one, everything that signs rejects with `SIGNER_MISSING`. */
  readonly hasSigner: boolean
  /** Resolves with what the service is. Requested once. */
  info(): Promise<ServiceInfo>
  /** As `info`, requested every time. */
  freshInfo(context?: CallContext): Promise<ServiceInfo>
  /** Requests the service's time and sets the clock to it. */
  time(context?: CallContext): Promise<Date>
  /** As `time`, for what is signed. Rejects with `CLOCK_SKEW` for a time that the client's own clock contradicts. */
  timeToSign(context?: CallContext): Promise<number>
  /** Resolves with the signer's address on the service's network. Rejects with `WRONG_NETWORK` where that is another one. */
  address(signal?: AbortSignal): Promise<string>
  /** Resolves with the newest event of the signer's audit that the client knows. */
  head(): Promise<AuditHead | undefined>
  /** Keeps the head of a response. Never rejects. */
  keepHead(head: unknown): Promise<void>
  /** Resolves with what a key's terms may be here: what the service would refuse is not signed. */
  policy(context?: CallContext): Promise<TermsPolicy>
  /** Makes the secret of a new key. Resolves with undefined where the service is of a release that makes them itself. */
  newSecret(signal?: AbortSignal): Promise<Secret | undefined>
  /** Returns the proof of a call. Nothing is signed before the call is sent. */
  prove(members: ActionMembers): Proof
  /** Resolves with the router of an order, one that the client trusts, or rejects with `WRONG_ROUTER`. */
  route(needs: RouterNeeds): Promise<OrderRoute>
  /** Returns an intent. Throws `INVALID_ARGUMENT` for one that the chain would refuse. */
  requireIntent(intent: Intent, network: Network): Intent
  /** Signs an intent. Rejects with `INVALID_ARGUMENT` for one that the chain would refuse. */
  signIntent(intent: Intent, signal?: AbortSignal): Promise<string>
}

/** Where an order is settled. */
export interface OrderRoute {
  network: Network
  router: string
  /** Whether the service chooses this router for an order that names none. */
  isDefault: boolean
}

/** Options of {@link createWallet}. */
export interface WalletOptions {
  transport: Transport
  signer: Signer | undefined
  pins: Pins
  clock: ServiceClock
  heads: AuditHeads
}

// A message is refused once it is older than the service allows. A fifth of that age is left for the way.
const FRESH_SHARE = 0.8
// Of a service that does not state its own.
const DEFAULT_MAX_AGE_SECONDS = 300

/** Creates the wallet of a client. */
export function createWallet({ transport, signer, pins, clock, heads }: WalletOptions): Wallet {
  let known: Promise<ServiceInfo> | undefined

  async function freshInfo(context?: CallContext): Promise<ServiceInfo> {
    const info = await transport.send<ServiceInfo>({
      method: 'GET',
      path: '/info',
      repeatable: true,
      context,
    })
    if (!isNetwork(info.network))
      throw latchkeyError('BAD_RESPONSE', 'The service does not say which Stacks network it is on')
    known = Promise.resolve(info)
    return info
  }

  function info(): Promise<ServiceInfo> {
    known ??= freshInfo().catch((error) => {
      known = undefined
      throw error
    })
    return known
  }

  async function time(context?: CallContext): Promise<Date> {
    const answer = await transport.send<{ serverTime: number }>({
      method: 'GET',
      path: '/time',
      repeatable: true,
      context,
    })
    if (!clock.correct(answer.serverTime))
      throw latchkeyError('BAD_RESPONSE', 'The service does not say what time it is')
    return new Date(clock.now())
  }

  async function timeToSign(context?: CallContext): Promise<number> {
    await time(context)
    return clock.nowToSign()
  }

  /** What the service is, on the network that is signed for. */
  async function agreedInfo(): Promise<ServiceInfo> {
    const said = await info()
    requireNetwork(pins, said)
    return said
  }

  function requireSigner(): Signer {
    if (signer === undefined)
      throw latchkeyError('SIGNER_MISSING', 'This needs the signature of the wallet')
    return signer
  }

  async function address(signal?: AbortSignal): Promise<string> {
    const { network } = await agreedInfo()
    return untilAborted(requireSigner().getAddress(network, { signal }), signal)
  }

  /** With a wrong clock, a person would confirm a message that the service then refuses. */
  async function requireTime(context?: CallContext): Promise<void> {
    if (requireSigner().interactive && !clock.isKnown) await time(context)
  }

  async function newSecret(signal?: AbortSignal): Promise<Secret | undefined> {
    const { keyPrefix } = await agreedInfo()
    if (keyPrefix === undefined) return undefined
    if (!/^[a-z0-9_]{1,32}$/.test(keyPrefix))
      throw latchkeyError('BAD_RESPONSE', 'The service names a prefix that no key can have')
    const shard = walletShard(await address(signal))
    return makeSecret(keyPrefix, shard, crypto.getRandomValues(new Uint8Array(RANDOM_BYTES)))
  }

  async function policy(context?: CallContext): Promise<TermsPolicy> {
    const { network, scopes, limits } = await agreedInfo()
    await requireTime(context)
    const maxRateLimit = limits?.key?.perMinute ?? Number.MAX_SAFE_INTEGER
    return { network, scopes, maxRateLimit, now: clock.nowToSign() }
  }

  function prove(members: ActionMembers): Proof {
    async function sign(signal?: AbortSignal): Promise<SignedMessage> {
      const asked = requireSigner()
      const said = await agreedInfo()
      const { network, limits } = said
      const domain = domainFor(pins, said)
      const walletAddress = await address(signal)
      await untilAborted(requireTime(), signal)
      const timestamp = clock.nowToSign()
      const auditHead = namesHead(members) ? await heads.get(walletAddress) : undefined
      // What it does first, and for whom: the screen of a hardware wallet shows the beginning only.
      const whole = {
        ...members,
        ...(domain !== undefined && { domain }),
        network,
        timestamp,
        walletAddress,
      }
      const headed = asciiJson({ ...whole, ...(auditHead !== undefined && { auditHead }) })
      // A service refuses a longer message. A change with long lists then names no head.
      const message = headed.length > MAX_MESSAGE_BYTES ? asciiJson(whole) : headed
      const signing = asked.signMessage(message, network, { signal })
      const signature = await untilAborted(signing, signal)
      const maxAgeSeconds = limits?.signatureMaxAgeSeconds ?? DEFAULT_MAX_AGE_SECONDS
      const goodUntil = timestamp + maxAgeSeconds * 1_000
      const freshUntil = timestamp + FRESH_SHARE * maxAgeSeconds * 1_000
      return { message, ...signature, walletAddress, timestamp, freshUntil, goodUntil }
    }
    return { sign, interactive: signer?.interactive === true }
  }

  async function route(needs: RouterNeeds): Promise<OrderRoute> {
    const said = await agreedInfo()
    const { contract } = routerFor(pins, said, needs)
    const ofKind = said.routers?.find(({ commits }) => commits === needs.commits)
    const isDefault = contract === (ofKind?.contract ?? said.routerContract)
    return { network: said.network, router: contract, isDefault }
  }

  function requireIntent(intent: Intent, network: Network): Intent {
    const checked = checkIntent(intent, network)
    if (checked.ok) return checked.value
    const { reason } = checked
    throw latchkeyError(
      'INVALID_ARGUMENT',
      `No wallet of ${network} can sign this order: ${reason.replaceAll('_', ' ')}`,
      { details: { reason } },
    )
  }

  async function signIntent(intent: Intent, signal?: AbortSignal): Promise<string> {
    const { network } = await agreedInfo()
    const checked = requireIntent(intent, network)
    return untilAborted(requireSigner().signIntent(checked, network, { signal }), signal)
  }

  return {
    hasSigner: signer !== undefined,
    info,
    freshInfo,
    time,
    timeToSign,
    address,
    head: async () => heads.get(await address()),
    keepHead: async (head) => heads.keep(await address(), head),
    policy,
    newSecret,
    prove,
    route,
    requireIntent,
    signIntent,
  }
}

/** A revocation certificate names no head: it must work on the day after a backup was restored. */
function namesHead({ action }: ActionMembers): boolean {
  return RECORDED_ACTIONS.includes(action) && action !== 'revoke_api_key'
}
