import { checkIntent, type Intent } from '../stacks/intent.ts'
import { isNetwork } from '../stacks/network.ts'
import type { ServiceClock } from './clock.ts'
import { LatchkeyError } from './errors.ts'
import type { ServiceInfo } from './info.ts'
import { type ActionMembers, asciiJson, type SignedMessage } from './message.ts'
import type { Signer } from './signer.ts'
import type { Proof, Transport } from './transport.ts'

/** The signer at work for one service. */
export interface Wallet {
  readonly isThere: boolean
  /** Asks the service, once. */
  info(): Promise<ServiceInfo>
  /** Asks the service every time. */
  freshInfo(signal?: AbortSignal): Promise<ServiceInfo>
  time(signal?: AbortSignal): Promise<Date>
  address(): Promise<string>
  /** The proof that goes with a call: a message that is signed when the call is made. */
  prove(members: ActionMembers, carriedIn: 'headers' | 'body'): Proof
  signIntent(intent: Omit<Intent, 'router'>): Promise<string>
}

export interface WalletOptions {
  transport: Transport
  signer: Signer | undefined
  /** The only router that intents are signed for; the service's when undefined. */
  routerContract: string | undefined
  clock: ServiceClock
}

export function createWallet({ transport, signer, routerContract, clock }: WalletOptions): Wallet {
  let known: Promise<ServiceInfo> | undefined

  async function freshInfo(signal?: AbortSignal): Promise<ServiceInfo> {
    const info = await transport.send<ServiceInfo>({
      method: 'GET',
      path: '/info',
      repeatable: true,
      signal,
    })
    if (!isNetwork(info.network))
      throw new LatchkeyError(
        'BAD_RESPONSE',
        'The service does not say which Stacks network it is on',
      )
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

  async function time(signal?: AbortSignal): Promise<Date> {
    const answer = await transport.send<{ serverTime: number }>({
      method: 'GET',
      path: '/time',
      repeatable: true,
      signal,
    })
    if (!clock.correct(answer.serverTime))
      throw new LatchkeyError('BAD_RESPONSE', 'The service does not say what time it is')
    return new Date(clock.now())
  }

  function demandSigner(): Signer {
    if (signer === undefined)
      throw new LatchkeyError('SIGNER_MISSING', 'This needs the signature of the wallet')
    return signer
  }

  async function address(): Promise<string> {
    return demandSigner().getAddress((await info()).network)
  }

  function prove(members: ActionMembers, carriedIn: 'headers' | 'body'): Proof {
    const write = carriedIn === 'headers' ? asciiJson : JSON.stringify
    async function sign(): Promise<SignedMessage> {
      const asked = demandSigner()
      const { network, signedDomain } = await info()
      const walletAddress = await address()
      // Nobody should be asked to sign a message that a wrong clock has made worthless.
      if (asked.interactive && !clock.isKnown) await time()
      const timestamp = clock.now()
      const message = write({
        ...members,
        timestamp,
        ...(signedDomain !== undefined && { domain: signedDomain }),
        network,
        walletAddress,
      })
      return { message, ...(await asked.signMessage(message, network)), walletAddress, timestamp }
    }
    return { sign, interactive: signer?.interactive === true }
  }

  async function signIntent(intent: Omit<Intent, 'router'>): Promise<string> {
    const { network, routerContract: router } = await info()
    if (routerContract !== undefined && router !== routerContract)
      throw new LatchkeyError(
        'WRONG_NETWORK',
        `The service settles through ${router}, and this client signs for ${routerContract} only`,
      )
    const checked = checkIntent({ ...intent, router }, network)
    if (checked.ok) return demandSigner().signIntent(checked.value, network)
    const { reason } = checked
    throw new LatchkeyError(
      'INVALID_ARGUMENT',
      `No wallet of ${network} can sign this order: ${reason.replaceAll('_', ' ')}`,
      { details: { reason } },
    )
  }

  return { isThere: signer !== undefined, info, freshInfo, time, address, prove, signIntent }
}
