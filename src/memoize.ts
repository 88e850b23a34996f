/**
 * Memoizes a pure function of a text, up to a number of texts; then all are dropped, which bounds memory. Undefined results
 * are not memoized, so untrusted texts without a result take no memory.
 */
export function memoize<T>(most: number, find: (text: string) => T): (text: string) => T {
  const found = new Map<string, T>()
  return (text) => {
    const known = found.get(text)
    if (known !== undefined) return known
    const value = find(text)
    if (value === undefined) return value
    if (found.size >= most) found.clear()
    found.set(text, value)
    return value
  }
}
