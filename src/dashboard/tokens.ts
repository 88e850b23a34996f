import type { TokenInfo } from '../client/index.ts'
import { createStore } from '../store/observable.ts'
import { reader } from './clients.ts'
import { contractName, formatAmount } from './format.ts'

/** What is known of tokens, by contract id. `absent`: the service does not know it, and its amounts are shown as they are. */
const known = new Map<string, TokenInfo | 'absent'>()
const underway = new Map<string, Promise<void>>()
/** What may be a token's id: the service is not asked for a text of which only a part was typed. */
const TOKEN_ID = /^(\.stx|S[A-Z0-9]{20,50}\.[A-Za-z][A-Za-z0-9-]*)$/

/** Counts what was learned, so that views that show amounts follow. */
export const tokensLearned = createStore(0)

/** What is known of a token now. What is not yet known is requested, once. */
export function tokenOf(contractId: string): TokenInfo | undefined {
  const token = known.get(contractId)
  if (token !== undefined) return token === 'absent' ? undefined : token
  learn(contractId).catch(() => {}) // The next view that shows it asks again.
  return undefined
}

/** Whether the service does not know a token: its amounts are then in the smallest unit. */
export function isUnknownToken(contractId: string): boolean {
  return known.get(contractId) === 'absent'
}

/**
 * The decimal places that a token's amounts are typed and shown with: 0 of one that the service does not know. Undefined
 * until that is known, when an amount cannot be read: `1` may be one unit or a millionth.
 */
export function decimalsOf(contractId: string): number | undefined {
  if (isUnknownToken(contractId) || !TOKEN_ID.test(contractId)) return 0
  return tokenOf(contractId)?.decimals
}

/** As `decimalsOf`, once it is known. Rejects where the service cannot be asked. */
export async function requireDecimals(contractId: string): Promise<number> {
  if (!known.has(contractId)) await learn(contractId)
  return decimalsOf(contractId) ?? 0
}

function learn(contractId: string): Promise<void> {
  if (!TOKEN_ID.test(contractId)) return Promise.resolve()
  const asked = underway.get(contractId)
  if (asked !== undefined) return asked
  const learned = ask(contractId).finally(() => underway.delete(contractId))
  underway.set(contractId, learned)
  return learned
}

async function ask(contractId: string): Promise<void> {
  const found = await reader()
    .token(contractId)
    .catch((error: { status?: number }) => {
      if (error.status === 404) return 'absent' as const
      throw error
    })
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

/** `20 KEY`; in the smallest unit of a token that the service does not know. */
export function tokenAmount(contractId: string, smallest: string): string {
  return `${amountIn(contractId, smallest)} ${tokenSymbol(contractId)}`
}

/** An amount without the symbol; an ellipsis until the token's decimals are known. */
export function amountIn(contractId: string, smallest: string): string {
  const decimals = decimalsOf(contractId)
  return decimals === undefined ? '…' : formatAmount(smallest, decimals)
}
