import { DEVNET_ROUTERS } from '../stacks/router.ts'

/** The constants of a Latchkey devnet. Constants only: the service's defaults import this file. */
export const DEPLOYER = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM'

/** SIP-010, the token that the input token wraps. */
export const BASE_TOKEN = `${DEPLOYER}.key-token`
/** The subnet token that an order pays with: post-conditions do not cover its balances. */
export const INPUT_TOKEN = `${DEPLOYER}.key-token-subnet`
/** SIP-010; one hop from the input token. */
export const OUTPUT_TOKEN = `${DEPLOYER}.usd-token`
/** SIP-010; two hops from the input token. */
export const FAR_TOKEN = `${DEPLOYER}.ore-token`

export const INTENT_VERIFIER = `${DEPLOYER}.intent-verifier`
/** Pays the recipient that the sender names. */
export const ROUTER = DEVNET_ROUTERS[0].contract
/** Executes an intent on the terms that its uuid commits to. */
export const COMMITTED_ROUTER = DEVNET_ROUTERS[1].contract

/** The asset of a token in post-conditions: contract id -> `contract-id::asset-name`. */
export const ASSETS: Readonly<Record<string, `${string}.${string}::${string}`>> = {
  [BASE_TOKEN]: `${DEPLOYER}.key-token::key`,
  [OUTPUT_TOKEN]: `${DEPLOYER}.usd-token::usd`,
  [FAR_TOKEN]: `${DEPLOYER}.ore-token::ore`,
}

/** Opcode byte 0: 00 sells `tokenA`, 01 sells `tokenB`. */
export const VAULTS = [
  { vault: `${DEPLOYER}.key-usd-vault`, tokenA: INPUT_TOKEN, tokenB: OUTPUT_TOKEN },
  { vault: `${DEPLOYER}.usd-ore-vault`, tokenA: OUTPUT_TOKEN, tokenB: FAR_TOKEN },
] as const

/** A published key, without value outside of a devnet. */
export const DEVNET_OPERATOR_PRIVATE_KEY =
  '439a9129b8b6a02d2f11b9054526dabf7955f3a07994c027e12fad14e10aa04c01'
export const DEVNET_OPERATOR_ADDRESS = 'ST3WDX1WNQY9ZSR56GXGEJRJZYWC8TZN42XKDFC8Q'

/** The key of {@link DEPLOYER}, published as well: it allows input tokens and pays refunds of the committed router. */
export const DEVNET_DEPLOYER_PRIVATE_KEY =
  '753b7cc01a1a2e86221266a154af739463fce51219d97e4f856cd7200c3bd2a601'

export const DEVNET_CHAIN_ID = 2147483648
export const DEVNET_HOST = '127.0.0.1'
export const DEVNET_PORT = 8788
export const DEVNET_URL = `http://${DEVNET_HOST}:${DEVNET_PORT}`
export const DEVNET_QUOTE_URL = `${DEVNET_URL}/quote`

/**
 * The chain's clock, in unix seconds: its start, and what a block adds. It is independent of the machine's clock, so
 * that a replay of the same transactions leads to the same chain.
 */
export const DEVNET_GENESIS_TIME = 1_767_225_600
export const DEVNET_SECONDS_PER_BLOCK = 10

/** What one faucet grant adds, in the smallest units. */
export const FAUCET_STX = 1_000_000_000n
export const FAUCET_BASE_TOKEN = 10_000_000_000n
export const FAUCET_INPUT_TOKEN = 10_000_000_000n
