/**
 * Remembers what a pure function found for a text, up to a number of texts; then it forgets them all, which bounds
 * memory. What was not found is not remembered: strangers can send as many bad texts as they like.
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
