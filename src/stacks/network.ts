/** The networks that a service can run on. */
export const NETWORKS = ['mainnet', 'testnet', 'devnet'] as const

/** The name of a Stacks network. */
export type Network = (typeof NETWORKS)[number]

interface NetworkFacts {
  readonly chainId: number
  readonly singleSig: number
  readonly multiSig: number
}

// SIP-005: a devnet runs with the chain id and the address versions of the testnet.
const TESTNET: NetworkFacts = { chainId: 2147483648, singleSig: 26, multiSig: 21 }

const FACTS: Readonly<Record<Network, NetworkFacts>> = {
  mainnet: { chainId: 1, singleSig: 22, multiSig: 20 },
  testnet: TESTNET,
  devnet: TESTNET,
}

/** Whether the value is the name of a network. */
export function isNetwork(value: unknown): value is Network {
  return (NETWORKS as readonly unknown[]).includes(value)
}

/** The chain id that transactions and SIP-018 domains of this network carry: 1 or 2147483648. */
export function chainId(network: Network): number {
  return FACTS[network].chainId
}

/** The c32 version of an address that one key controls (P2PKH): `SP` on mainnet, `ST` elsewhere. */
export function singleSigVersion(network: Network): number {
  return FACTS[network].singleSig
}

/** The c32 version of an address that a script controls (P2SH): `SM` on mainnet, `SN` elsewhere. */
export function multiSigVersion(network: Network): number {
  return FACTS[network].multiSig
}
