import { isContractId } from '../stacks/address.ts'
import type { Network } from '../stacks/network.ts'
import { DEVNET_ROUTERS, parseRouter, type Router } from '../stacks/router.ts'
import { isLoopback } from './base-url.ts'
import { type LatchkeyError, latchkeyError } from './errors.ts'
import type { ServiceInfo } from './info.ts'

/** What binds the client's signatures. It comes from the caller and the base URL, never from the service. */
export interface Pins {
  /** The forms of the service's name that a message may contain. */
  domains: readonly string[]
  /** The only network that is signed for; undefined leaves it to the signer. */
  network: Network | undefined
  /** The only routers that intents are signed for; undefined for those that are known of the network. */
  routers: readonly Router[] | undefined
  isLoopback: boolean
}

/** The options that pin what signatures are for. */
export interface PinOptions {
  baseUrl: string | URL
  domain: string | undefined
  network: Network | undefined
  routers: readonly string[] | undefined
}

/** Reads the pins of a client. Throws `INVALID_ARGUMENT` for a router that is no contract id. */
export function readPins({ baseUrl, domain, network, routers }: PinOptions): Pins {
  const { host, hostname } = new URL(baseUrl)
  const pinned = routers?.map((text) => parseRouter(text.trim()))
  for (const { contract } of pinned ?? [])
    if (!(['mainnet', 'testnet'] as const).some((one) => isContractId(contract, one)))
      throw latchkeyError(
        'INVALID_ARGUMENT',
        `${contract} is no contract id; a router looks like SP...x-multihop, or committed:SP...committed-router`,
      )
  return {
    domains: domain === undefined ? [hostname, host] : [domain],
    network,
    routers: pinned,
    isLoopback: isLoopback(hostname),
  }
}

/** Throws `WRONG_NETWORK` where the service is on another network than the pinned one. */
export function requireNetwork(pins: Pins, { network }: ServiceInfo): void {
  if (pins.network === undefined || pins.network === network) return
  throw latchkeyError(
    'WRONG_NETWORK',
    `The service is on ${network}, and this client signs for ${pins.network} only`,
  )
}

/**
 * Returns the `domain` of messages to the service; undefined on a devnet that has none. Throws `WRONG_DOMAIN` where the service
 * names another one: a relay that passes on the description of another service would get a signature that is good there.
 */
export function domainFor(pins: Pins, { network, signedDomain }: ServiceInfo): string | undefined {
  if (network === 'devnet' && signedDomain === undefined) return undefined
  const [domain] = pins.domains
  const agreed = pins.domains.find((one) => one === signedDomain)
  if (agreed !== undefined) return agreed
  throw latchkeyError(
    'WRONG_DOMAIN',
    signedDomain === undefined
      ? `The service at ${domain} names no domain, which messages need on ${network}`
      : `The service at ${domain} wants messages for ${signedDomain}`,
    { details: { domain, signedDomain: signedDomain ?? null } },
  )
}

/** What an order needs of its router. */
export interface RouterNeeds {
  /** Whether the order's uuid commits to its terms. */
  commits: boolean
  /** The one that the caller names; undefined leaves the choice to the client. */
  routerContract: string | undefined
}

/**
 * Returns the first of the service's routers that the client trusts and that fits the order. Whether a router commits is the
 * pin's word: a thief could execute a committed order through a router that does not. Throws `WRONG_ROUTER`, and
 * `INVALID_ARGUMENT` where another kind of order would have a router.
 */
export function routerFor(
  pins: Pins,
  info: ServiceInfo,
  { commits, routerContract }: RouterNeeds,
): Router {
  const trusted = pins.routers ?? knownRouters(pins, info.network)
  const offered = info.routers ?? [{ contract: info.routerContract, commits: false }]
  const named = offered.filter(({ contract }) => contract === (routerContract ?? contract))
  const agreed = named.flatMap((one) =>
    trusted.filter((pin) => pin.contract === one.contract && pin.commits === one.commits),
  )
  const router = agreed.find((one) => one.commits === commits)
  if (router !== undefined) return router
  if (agreed.length === 0) throw wrongRouter(info.network, trusted, offered, routerContract)
  throw latchkeyError(
    'INVALID_ARGUMENT',
    commits
      ? 'No router here enforces minAmountOut; without it, and without deadline, salt and executor, the order can be placed, and its minimum is left to the service'
      : `${agreed[0]?.contract} executes orders on their owner's terms only: minAmountOut, the least that the recipient is to gain, is needed`,
  )
}

/** The routers that need no pin. Any service could name the ids of another network, so only one on this machine is a devnet. */
function knownRouters(pins: Pins, network: Network): readonly Router[] {
  return network === 'devnet' && pins.isLoopback ? DEVNET_ROUTERS : []
}

function wrongRouter(
  network: Network,
  trusted: readonly Router[],
  offered: readonly Router[],
  routerContract: string | undefined,
): LatchkeyError {
  const asked = routerContract ?? offered.map(textOf).join(', ')
  const known = trusted.map(textOf).join(', ')
  return latchkeyError(
    'WRONG_ROUTER',
    known === ''
      ? `The service settles through ${asked}, and this client has no routers of ${network} that it signs for`
      : `This client signs for ${known} only, and the service offers ${offered.map(textOf).join(', ')}${routerContract === undefined ? '' : `; the order names ${routerContract}`}`,
    { details: { trusted: trusted.map(textOf), offered: offered.map(textOf) } },
  )
}

function textOf({ contract, commits }: Router): string {
  return commits ? `committed:${contract}` : contract
}
