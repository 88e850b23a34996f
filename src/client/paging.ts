import type { CallContext, CallOptions, CallPromise, Calls } from './call.ts'
import { type LatchkeyError, latchkeyError } from './errors.ts'

/** One page of a list, as it is read. */
interface ReadPage<Item> {
  items: readonly Item[]
  nextCursor: string | undefined
}

/** A page of a list. */
export interface ListPage<Item> {
  items: readonly Item[]
  /** Where the next page begins, for `page` of the same list; undefined on the last one. */
  nextCursor: string | undefined
  /** Requests the next page. Resolves with undefined on the last one. */
  nextPage(options?: CallOptions): CallPromise<ListPage<Item> | undefined>
}

/**
 * A list that has pages. Iterating over it yields its items, and requests a page when the one before was consumed.
 *
 * @example
 * ```ts
 * import { createClient } from 'latchkey/client'
 *
 * const orders = createClient({ baseUrl: 'https://dex.example' }).orders.listAll({ status: 'open' })
 * const first = await orders.page()
 * const second = await first.nextPage()
 * console.log(first.items.length, second?.items.length ?? 'that was the last page')
 * ```
 */
export interface PagedList<Item> extends AsyncGenerator<Item, void, undefined> {
  /** Requests one page: the first, or the one that a cursor names. */
  page(cursor?: string): CallPromise<ListPage<Item>>
  /** Iterates over the pages. */
  pages(): AsyncGenerator<ListPage<Item>, void, undefined>
}

/** Longer than any cursor of a service: a list of cursors that were seen must not fill memory. */
const MAX_CURSOR_LENGTH = 200

/** Creates a list. Nothing is requested before it is iterated over, or a page of it is asked for. */
export function pagedList<Item>(
  calls: Calls,
  options: CallOptions | undefined,
  read: (cursor: string | undefined, context: CallContext) => Promise<ReadPage<Item>>,
): PagedList<Item> {
  const page = (cursor: string | undefined, options: CallOptions | undefined) =>
    calls.start(options, async (context) => present(await read(cursor, context)))
  const present = ({ items, nextCursor }: ReadPage<Item>): ListPage<Item> => ({
    items,
    nextCursor,
    nextPage: (options) =>
      nextCursor === undefined
        ? calls.start(options, async () => undefined)
        : page(nextCursor, options),
  })
  const items = calls.iterate(options, async function* (context) {
    yield* eachItem((cursor) => read(cursor, context))
  })
  return Object.assign(items, {
    page: (cursor?: string) => page(cursor, options),
    pages: () =>
      calls.iterate(options, async function* (context) {
        for await (const page of eachPage((cursor) => read(cursor, context))) yield present(page)
      }),
  })
}

/** Iterates over the items of all pages. */
export async function* eachItem<Item>(
  read: (cursor: string | undefined) => Promise<ReadPage<Item>>,
): AsyncGenerator<Item, void, undefined> {
  for await (const page of eachPage(read)) yield* page.items
}

/**
 * Iterates over the pages of a list, requesting one when the one before was consumed. Throws `BAD_RESPONSE` at a page that
 * does not advance: with a cursor that was there before, without items, or with the items of the page before.
 */
async function* eachPage<Item>(
  read: (cursor: string | undefined) => Promise<ReadPage<Item>>,
): AsyncGenerator<ReadPage<Item>, void, undefined> {
  const seen = new Set<string>()
  let page = await read(undefined)
  for (;;) {
    yield page
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

function advances<Item>(page: ReadPage<Item>, next: ReadPage<Item>): boolean {
  return (
    isCursor(next.nextCursor) &&
    next.items.length > 0 &&
    JSON.stringify(next.items) !== JSON.stringify(page.items)
  )
}

function endless(): LatchkeyError {
  return latchkeyError('BAD_RESPONSE', 'The pages of the list do not advance')
}

/** Resolves with everything that is iterated over. */
export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = []
  for await (const item of items) collected.push(item)
  return collected
}
