/** What a key may do: create orders, execute them, cancel them. */
export const SCOPES = ['create', 'execute', 'cancel'] as const

export type Scope = (typeof SCOPES)[number]
