/**
 * Members and parameters that clients of other services send, and what to do in their place. They are refused, as all that is not
 * known: a condition or a sorting that is silently dropped makes another order, or another list, than was asked for.
 */
const OF_ORDERS: ReadonlyMap<string, string> = new Map([
  ...[
    'strategyId',
    'strategyType',
    'strategySize',
    'strategyPosition',
    'description',
    'metadata',
  ].map((name) => [name, 'is not kept: leave it out, and keep it beside the uuid'] as const),
  ['conditions', 'is not known: one condition is targetPrice, direction and conditionToken'],
  ['router', 'is routerContract here: a contract id of routers in GET /info'],
])
const OF_LISTS: ReadonlyMap<string, string> = new Map([
  ['page', 'is not known: cursor is the nextCursor of the page before'],
  ['offset', 'is not known: cursor is the nextCursor of the page before'],
  ['sortBy', 'is not known: orders come newest first'],
  ['sortOrder', 'is not known: orders come newest first'],
])

interface Unrecognized {
  code?: string | undefined
  keys?: readonly string[]
}

/** The message of an issue about members that are not known; undefined, which means zod's own, for all others. */
function describe(sentences: ReadonlyMap<string, string>) {
  return ({ code, keys = [] }: Unrecognized): string | undefined =>
    code === 'unrecognized_keys'
      ? keys
          .map((key) => `${JSON.stringify(key)} ${sentences.get(key) ?? 'is not known'}`)
          .join('; ')
      : undefined
}

export const describeForeignMembers = describe(OF_ORDERS)
export const describeForeignParameters = describe(OF_LISTS)
