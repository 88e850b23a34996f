import type { Result } from 'hono/router'
import { TrieRouter } from 'hono/router/trie-router'

/**
 * Hono's router for paths that its faster one does not take (`/api-keys/self` beside `/api-keys/:keyId`), with a table for paths
 * without parameters: splitting and searching them costs as much as the gate's own work.
 */
export class RouteTable<T> extends TrieRouter<T> {
  readonly #plain = new Map<string, Map<string, Result<T>>>()

  override add(method: string, path: string, handler: T): void {
    super.add(method, path, handler)
    for (const matches of this.#plain.values()) matches.clear()
    if (!/[:*]/.test(path)) this.#plain.set(path, new Map())
  }

  override match(method: string, path: string): Result<T> {
    const matches = this.#plain.get(path)
    if (matches === undefined) return super.match(method, path)
    let found = matches.get(method)
    if (found === undefined) {
      found = super.match(method, path)
      // A method is the caller's text: only those that a route has are kept.
      if (found[0].length > 0) matches.set(method, found)
    }
    return found
  }
}
