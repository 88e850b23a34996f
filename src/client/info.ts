import type { Permission } from '../keys/scope.ts'
import type { Network } from '../stacks/network.ts'
import type { Router } from '../stacks/router.ts'

/** What a service says of itself. The client compares it with what it was given, and signs nothing where they differ. */
export interface ServiceInfo {
  network: Network
  /** 1 on mainnet, 2147483648 elsewhere. */
  chainId: number
  /** Contract id of the router of orders that commit to nothing. */
  routerContract: string
  /** Every router that the service settles through, and whether the uuids of its intents commit to their orders' terms. */
  routers?: Router[]
  /** The addresses that execute orders. */
  operators?: string[]
  /** The SIP-018 domain that intents are signed under. */
  intentDomain: { name: string; version: string; 'chain-id': number }
  /** The `domain` that signed messages must contain, when the service has one. */
  signedDomain?: string
  /** Every permission that a key may have here. */
  scopes: Permission[]
  /** What every secret of a key begins with. Absent in an earlier release, which makes the secrets itself. */
  keyPrefix?: string
  limits: ServiceLimits
  /** The version of the service. */
  version: string
  /** The address that the request came from, as the service sees it. Absent in an earlier release. */
  callerAddress?: string
  /** Where a transaction can be looked at: `{txid}` in it stands for the id. Absent on devnet. */
  explorerUrl?: string
  /** On devnet only: what there is to try the service with. */
  devnet?: DevnetInfo
}

/** The limits of a service. */
export interface ServiceLimits {
  /** Requests of a key by default, in fixed windows aligned to UTC. */
  key: { perMinute: number; perHour: number; perDay: number }
  /** Requests without a key, from one IP address. */
  ipPerMinute: number
  /** Live keys of a wallet. */
  maxActiveKeysPerWallet: number
  /** The greatest age of a signed message. */
  signatureMaxAgeSeconds: number
}

/** What a devnet has for trying the service. */
export interface DevnetInfo {
  /** Contract id of the token that the faucet gives. */
  inputToken: string
  /** Contract id of a token that it can be swapped for. */
  outputToken: string
  /** Path of the endpoint behind `devnet.faucet`. */
  faucet: string
  /** Base URL of the local chain; `GET {stacksApiUrl}/balances/{address}` returns what an address holds. */
  stacksApiUrl: string
}

/** How a token's amounts are written. */
export interface TokenInfo {
  contractId: string
  /** What the contract says of itself: any contract may say any symbol. */
  symbol: string
  /** One token is 10 to the power of this in its smallest unit. */
  decimals: number
}
