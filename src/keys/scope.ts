/** The scopes that this service enforces: create orders, execute them, cancel them, read the wallet's account. */
export const SCOPES = ['create', 'execute', 'cancel', 'read'] as const

/** A scope that every service has. */
export type Scope = (typeof SCOPES)[number]

/** A scope that a key carries: one that this service enforces, or one of its operator's other services. */
export type Permission = Scope | (string & {})

/** A scope and what it allows, in words. */
export interface ScopeDescription {
  name: string
  description: string
}

export const OWN_SCOPES: readonly ScopeDescription[] = [
  { name: 'create', description: "Place orders that carry the owner's signature" },
  { name: 'execute', description: "Settle the owner's open orders on chain" },
  { name: 'cancel', description: "Cancel the owner's open orders" },
  { name: 'read', description: "Read the owner's account, orders and events" },
]

/** Every scope that a key may carry here: the service's own, then the operator's. */
export function catalogue(extra: readonly ScopeDescription[]): ScopeDescription[] {
  return [...OWN_SCOPES, ...extra]
}
