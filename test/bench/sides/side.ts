/** What a process of the bench serves, and where. */
export interface Side {
  path: string
  fetch: (request: Request, env: never) => Response | Promise<Response>
  close?: () => Promise<unknown>
}

export interface SideOptions {
  databaseUrl: string
  /** How many keys there are. */
  keys: number
}

export type OpenSide = (options: SideOptions) => Promise<Side>
