import { LatchkeyError } from './errors.ts'

/** One page of a list, and the cursor of the next one unless it is the last. */
export interface Page<Item> {
  items: readonly Item[]
  nextCursor: string | undefined
}

/** Longer than any cursor of a service: a list of cursors that were seen must not fill memory. */
const MAX_CURSOR_LENGTH = 200

/**
 * Iterates over the items of a list, requesting a page when the one before was consumed. Throws `BAD_RESPONSE` at a page that
 * does not advance: with a cursor that was there before, without items, or with the items of the page before.
 */
export async function* eachOf<Item>(
  read: (cursor: string | undefined) => Promise<Page<Item>>,
): AsyncGenerator<Item, void, undefined> {
  const seen = new Set<string>()
  let page = await read(undefined)
  for (;;) {
    yield* page.items
    const { nextCursor: cursor } = page
    if (cursor === undefined) return
    if (!isCursor(cursor) || seen.has(cursor)) throw endless()
    seen.add(cursor)
    const next = await read(cursor)
    if (next.nextCursor !== undefined && !advances(page, next)) throw endless()
    page = next
  }
}

function isCursor(cursor: unknown): boolean {
  return typeof cursor === 'string' && cursor.length <= MAX_CURSOR_LENGTH
}

function advances<Item>(page: Page<Item>, next: Page<Item>): boolean {
  return (
    isCursor(next.nextCursor) &&
    next.items.length > 0 &&
    JSON.stringify(next.items) !== JSON.stringify(page.items)
  )
}

function endless(): LatchkeyError {
  return new LatchkeyError('BAD_RESPONSE', 'The pages of the list do not advance')
}

/** Resolves with everything that is iterated over. */
export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = []
  for await (const item of items) collected.push(item)
  return collected
}
