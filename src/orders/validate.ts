import { sha256, toHex } from '../crypto/bytes.ts'
import { isContractId, isStacksAddress, isWalletAddress } from '../stacks/address.ts'
import type { Network } from '../stacks/network.ts'
import type { NewOrder } from './order.ts'

/** The fields of an order whose validity depends on the network, and the message of each. */
const FIELDS: readonly [keyof NewOrder, (text: string, network: Network) => boolean, string][] = [
  ['owner', isWalletAddress, 'must be the address of a single-signature wallet of this network'],
  ['inputToken', isToken, 'must be a contract id of this network, or .stx'],
  ['outputToken', isToken, 'must be a contract id of this network, or .stx'],
  ['recipient', isStacksAddress, 'must be a Stacks address of this network'],
  [
    'conditionToken',
    (text, network) => text === '*' || isToken(text, network),
    'must be a contract id of this network, .stx or *',
  ],
]

/** Returns an issue for each field that is not valid on the network. */
export function validateOrder(
  order: NewOrder,
  network: Network,
): { path: string; message: string }[] {
  return FIELDS.flatMap(([field, fits, message]) => {
    const text = order[field]
    return text === undefined || fits(text, network) ? [] : [{ path: field, message }]
  })
}

function isToken(text: string, network: Network): boolean {
  return text === '.stx' || isContractId(text, network)
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
