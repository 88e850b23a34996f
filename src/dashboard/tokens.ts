import type { TokenInfo } from '../client/index.ts'
import { createStore } from '../store/observable.ts'
import { reader } from './clients.ts'
import { contractName, formatAmount } from './format.ts'

/** What is known of tokens, by contract id. `absent`: the service does not know it, and its amounts are shown as they are. */
const known = new Map<string, TokenInfo | 'absent'>()
const underway = new Set<string>()

/** Counts what was learned, so that views that show amounts follow. */
export const tokensLearned = createStore(0)

/** What is known of a token now. What is not yet known is requested, once. */
export function tokenOf(contractId: string): TokenInfo | undefined {
  const token = known.get(contractId)
  if (token !== undefined) return token === 'absent' ? undefined : token
  if (!underway.has(contractId)) void learn(contractId)
  return undefined
}

/** Whether the service does not know a token: its amounts are then in the smallest unit. */
export function isUnknownToken(contractId: string): boolean {
  return known.get(contractId) === 'absent'
}

/** As `tokenOf`, once it is known; undefined where the service knows no such token. */
export async function requireToken(contractId: string): Promise<TokenInfo | undefined> {
  if (!known.has(contractId)) await learn(contractId)
  return tokenOf(contractId)
}

async function learn(contractId: string): Promise<void> {
  underway.add(contractId)
  const found = await reader()
    .token(contractId)
    .catch((error: { status?: number }) => (error.status === 404 ? ('absent' as const) : undefined))
  underway.delete(contractId)
  if (found === undefined) return
  known.set(contractId, found)
  tokensLearned.set(tokensLearned.get() + 1)
}

/**
 * A token as it is named: its symbol and its contract. Any contract may claim any symbol, so that the contract's name is
 * never left out.
 */
export function tokenName(contractId: string): string {
  const token = tokenOf(contractId)
  const name = contractName(contractId)
  if (contractId === '.stx') return 'STX'
  return token === undefined ? name : `${token.symbol} (${name})`
}

export function tokenSymbol(contractId: string): string {
  return tokenOf(contractId)?.symbol ?? contractName(contractId)
}

/** `20 KEY`; in the smallest unit where nothing is known of the token. */
export function tokenAmount(contractId: string, smallest: string): string {
  const token = tokenOf(contractId)
  return `${formatAmount(smallest, token?.decimals ?? 0)} ${tokenSymbol(contractId)}`
}
