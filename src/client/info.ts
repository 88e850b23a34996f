import type { Permission } from '../keys/scope.ts'
import type { Network } from '../stacks/network.ts'

/** What a service says about itself: all that a client must know to sign for it. */
export interface ServiceInfo {
  network: Network
  /** 1 on mainnet, 2147483648 elsewhere. */
  chainId: number
  /** Contract id of the router that may spend what an order's intent allows. */
  routerContract: string
  /** The SIP-018 domain that intents are signed under. */
  intentDomain: { name: string; version: string; 'chain-id': number }
  /** The `domain` that signed messages name, when the service has one. */
  signedDomain?: string
  scopes: Permission[]
  limits: ServiceLimits
  version: string
  /** On devnet only: what there is to try the service with. */
  devnet?: DevnetInfo
}

export interface ServiceLimits {
  /** What a key may do by default, in fixed windows aligned to UTC. */
  key: { perMinute: number; perHour: number; perDay: number }
  /** Requests without a key, from one IP address. */
  ipPerMinute: number
  maxActiveKeysPerWallet: number
  /** How old a signed message may be. */
  signatureMaxAgeSeconds: number
}

export interface DevnetInfo {
  /** Contract id of the token that the faucet gives. */
  inputToken: string
  outputToken: string
  /** Path of the endpoint behind `devnet.faucet`. */
  faucet: string
  /** Base URL of the local chain; `GET {stacksApiUrl}/balances/{address}` answers what an address holds. */
  stacksApiUrl: string
}
