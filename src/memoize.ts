/**
 * Memoizes a pure function of a text, up to a number of texts; then each new one takes the place of the oldest, which bounds memory. Dropping
 * all of them at once would make all be computed again at the same time. Undefined results are not memoized, so untrusted texts without
 * a result take no memory.
 */
export function memoize<T>(most: number, find: (text: string) => T): (text: string) => T {
  const found = new Map<string, T>()
  return (text) => {
    const known = found.get(text)
    if (known !== undefined) return known
    const value = find(text)
    if (value === undefined) return value
    if (found.size >= most) found.delete(found.keys().next().value as string)
    found.set(text, value)
    return value
  }
}
