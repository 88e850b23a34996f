import { sha256, toHex } from '../crypto/bytes.ts'
import { isContractId, isStacksAddress, isWalletAddress } from '../stacks/address.ts'
import type { Network } from '../stacks/network.ts'
import type { NewOrder } from './order.ts'
import { canBeRandom } from './uuid.ts'

/** The fields of an order whose validity depends on the network, and the message of each. */
const FIELDS: readonly [keyof NewOrder, (text: string, network: Network) => boolean, string][] = [
  ['owner', isWalletAddress, 'must be the address of a single-signature wallet of this network'],
  ['inputToken', isToken, 'must be a contract id of this network'],
  ['outputToken', isContractId, 'must be a contract id of this network: no router pays .stx'],
  ['recipient', isStacksAddress, 'must be a Stacks address of this network'],
  ['routerContract', isContractId, 'must be a contract id of this network'],
  ['executor', isStacksAddress, 'must be a Stacks address of this network'],
]

/** No intent can name .stx as input: its check says so. */
function isToken(text: string, network: Network): boolean {
  return text === '.stx' || isContractId(text, network)
}

interface Issue {
  path: string
  message: string
}

/** Returns an issue for each field that is not valid on the network, or that asks for what will not be done. */
export function validateOrder(
  order: NewOrder,
  network: Network,
  { enforcesTargetPrice, now }: { enforcesTargetPrice: boolean; now: number },
): Issue[] {
  const unfit = FIELDS.flatMap(([field, fits, message]) => {
    const text = order[field]
    return text === undefined || fits(text, network) ? [] : [{ path: field, message }]
  })
  const guessable: Issue[] =
    network === 'devnet' || canBeRandom(order.uuid)
      ? []
      : [{ path: 'uuid', message: 'must have 122 random bits, as crypto.randomUUID() makes them' }]
  // An order whose time is over is stored and never executed: nothing in it has to be enforced.
  const isOver = order.validTo !== undefined && Date.parse(order.validTo) <= now
  return [...unfit, ...guessable, ...(isOver ? [] : unenforced(order, enforcesTargetPrice))]
}

/**
 * A condition is on the price of the swap itself: what comes out for one smallest unit of what goes in. A condition on
 * another token, or in another unit, would not be enforced.
 */
function unenforced(order: NewOrder, enforcesTargetPrice: boolean): Issue[] {
  const { targetPrice, conditionToken, baseAsset, inputToken, outputToken } = order
  // Every price is above 0: the condition holds for any token, in any unit, and is how some clients say that there is none.
  if (targetPrice === undefined || !/[1-9]/.test(targetPrice)) return []
  if (!enforcesTargetPrice)
    return [{ path: 'targetPrice', message: 'is not enforced by this service: leave it out' }]
  const issues: Issue[] = []
  if (conditionToken !== '*' && conditionToken !== outputToken)
    issues.push({
      path: 'conditionToken',
      message: 'must be outputToken or *: no condition on another token is enforced',
    })
  if (baseAsset !== undefined && baseAsset !== inputToken)
    issues.push({
      path: 'baseAsset',
      message: 'must be inputToken: the price is what comes out for one unit of it',
    })
  return issues
}

/**
 * The canonical JSON (RFC 8785) of an order as it is sent, without its signatures.
 * All its members are strings, so sorting their names is all that RFC 8785 asks for.
 */
export function canonicalOrder(order: NewOrder): string {
  const { signature: _, message: __, messageSignature: ___, ...terms } = order
  const names = Object.keys(terms).sort() as (keyof typeof terms)[]
  return JSON.stringify(
    Object.fromEntries(
      names.filter((name) => terms[name] !== undefined).map((name) => [name, terms[name]]),
    ),
  )
}

/**
 * The `orderHash` that a `create_order` message signs: SHA-256 of the order's canonical JSON (RFC 8785) without signatures,
 * 64 hex characters.
 *
 * @example
 * ```ts
 * import { orderHash } from 'latchkey/client'
 *
 * const hash = orderHash({
 *   owner: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM',
 *   inputToken: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.key-token-subnet',
 *   outputToken: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.usd-token',
 *   amountIn: '1000000',
 *   uuid: '7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162',
 *   signature: '', // no signature is part of the hash
 * })
 * console.log(hash)
 * ```
 */
export function orderHash(order: NewOrder): string {
  return toHex(sha256(canonicalOrder(order)))
}
