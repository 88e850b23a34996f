/**
 * Returns a base address with a path and a query at its end. The base's own path and query stay as they are: they may be a
 * credential of a hosted node. An empty path leaves the base's path untouched.
 */
export function extendUrl(
  base: string,
  path: string,
  query: Readonly<Record<string, string>> = {},
): string {
  const url = new URL(base)
  const [pathname = '', pathQuery = ''] = path.split('?')
  if (pathname !== '') url.pathname = url.pathname.replace(/\/+$/, '') + pathname
  url.search = [url.search.slice(1), pathQuery, String(new URLSearchParams(query))]
    .filter((part) => part !== '')
    .join('&')
  return url.href
}

/** Returns what of an address may be shown: its path and its query may be a credential, as those of hosted nodes are. */
export function originOf(address: string): string {
  return URL.parse(address)?.origin ?? ''
}
