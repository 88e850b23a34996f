import { readFile } from 'node:fs/promises'
import { isContractId } from '../stacks/address.ts'
import { swapAccountOf } from '../stacks/committed.ts'
import type { Network } from '../stacks/network.ts'
import type { ContractSource, RouterClarityVersion } from './committed-router.ts'

/** Where a committed router is deployed, and what it depends on. */
export interface CommittedRouterDeployment {
  readonly network: Network
  /** The contract id that the router gets: its address is that of the account that deploys. */
  readonly router: string
  /** The contract id of the intent verifier that the input tokens use. */
  readonly verifier: string
  /** 3 by default. Version 6 is for chains that no longer take contracts of version 3. */
  readonly clarityVersion?: RouterClarityVersion | undefined
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
  clarityVersion = 3,
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
    return {
      name: nameOf(id),
      source: clarityVersion === 3 ? source : inClarity6(source),
      clarityVersion,
    }
  }
  return [
    await sourceOf('./committed-router-account.clar', account),
    await sourceOf('./committed-router.clar', router),
  ]
}

/** A contract of the deployer's, as Clarity writes it: `.name`. */
const CONTRACT = /(?<=[\s(])\.[a-z][a-z-]*/g

/** From Clarity 4, `(as-contract X)` of a response X is `(as-contract? ((with-all-assets-unsafe)) (try! X))`. */
function inClarity6(source: string): string {
  return source
    .replaceAll('(as-contract tx-sender)', 'current-contract')
    .replace(/\(as-contract (\([^()]*\))\)/g, '(as-contract? ((with-all-assets-unsafe)) (try! $1))')
}

function nameOf(id: string): string {
  return id.slice(id.indexOf('.') + 1)
}
