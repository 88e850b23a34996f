/** A router contract that intents may name. */
export interface Router {
  contract: string
  /** Whether the uuids of its intents commit to their orders' terms. */
  commits: boolean
}

const COMMITTED = 'committed:'

/** Parses a router as configurations write it: a contract id, after `committed:` where the router commits to terms. */
export function parseRouter(text: string): Router {
  const commits = text.startsWith(COMMITTED)
  return { contract: commits ? text.slice(COMMITTED.length) : text, commits }
}

/** The routers of a devnet: the legacy one, then the committed one. Every devnet has them under the same ids. */
export const DEVNET_ROUTERS = [
  { contract: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.x-multihop', commits: false },
  { contract: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.committed-router', commits: true },
] as const satisfies readonly [Router, Router]
