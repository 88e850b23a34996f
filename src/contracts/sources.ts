import { readFile } from 'node:fs/promises'
import { isContractId } from '../stacks/address.ts'
import { swapAccountOf } from '../stacks/committed.ts'
import type { Network } from '../stacks/network.ts'
import { COMMITTED_ROUTER_CLARITY_VERSION, type ContractSource } from './committed-router.ts'

/** Where a committed router is deployed, and what it depends on. */
export interface CommittedRouterDeployment {
  readonly network: Network
  /** The contract id that the router gets: its address is that of the account that deploys. */
  readonly router: string
  /** The contract id of the intent verifier that the input tokens use. */
  readonly verifier: string
}

/**
 * Returns the two contracts of a committed router, in the order in which the same account must deploy them: the account
 * that swaps, then the router. The text of a contract on chain equals `source` exactly, so comparing the two identifies
 * a committed router.
 *
 * The contracts define the traits that they use, and a chain compares traits by their functions, so the only foreign
 * contract that is substituted is the verifier.
 *
 * Throws a TypeError when an id is no contract of the network, or the router's name leaves no room for its account's.
 */
export async function committedRouterSources({
  network,
  router,
  verifier,
}: CommittedRouterDeployment): Promise<[account: ContractSource, router: ContractSource]> {
  const account = swapAccountOf(router)
  for (const id of [router, account, verifier]) {
    if (!isContractId(id, network)) throw new TypeError(`${id} is no contract id of ${network}.`)
  }
  const ids: Record<string, string> = {
    '.committed-router-account': `.${nameOf(account)}`,
    '.committed-router': `.${nameOf(router)}`,
    '.intent-verifier': `'${verifier}`,
  }
  const sourceOf = async (file: string, id: string): Promise<ContractSource> => {
    const text = await readFile(new URL(file, import.meta.url), 'utf8')
    const source = text.replace(CONTRACT, (name) => ids[name] ?? name)
    return { name: nameOf(id), source, clarityVersion: COMMITTED_ROUTER_CLARITY_VERSION }
  }
  return [
    await sourceOf('./committed-router-account.clar', account),
    await sourceOf('./committed-router.clar', router),
  ]
}

/** A contract of the deployer's, as Clarity writes it: `.name`. */
const CONTRACT = /(?<=[\s(])\.[a-z][a-z-]*/g

function nameOf(id: string): string {
  return id.slice(id.indexOf('.') + 1)
}
