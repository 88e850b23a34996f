import { LatchkeyError } from './errors.ts'

/** Returns the cursor of the next page. Throws where a service names the page that it has just returned: a list without an end. */
export function nextOf(cursor: string | undefined, next: string | undefined): string | undefined {
  if (next !== undefined && next === cursor)
    throw new LatchkeyError('BAD_RESPONSE', 'The service returned the same page twice')
  return next
}

/** Resolves with everything that is iterated over. */
export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = []
  for await (const item of items) collected.push(item)
  return collected
}
