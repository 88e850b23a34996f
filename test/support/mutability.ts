import postgres from 'postgres'
import { REFERENCE_TABLES } from '../../src/db/distribution.ts'

/** What Citus refuses in statements that change rows, of what Postgres alone runs. */
export interface Mutability {
  /** What is wrong with each change of rows in a statement. */
  faultsOf(text: string, parameters: readonly unknown[]): Promise<string[]>
  close(): Promise<void>
}

/** A list that a parse tree is written as: `{TYPE :field value ..}` and `(..)`. */
type Tree = (string | Tree)[]

const TIMESTAMPTZ = 1184
/** Times as the service sends them. */
export const AS_TEXT = {
  to: TIMESTAMPTZ,
  from: [TIMESTAMPTZ],
  serialize: (text: string) => text,
  parse: (text: string) => text,
}
const UPDATE = '2'
const INSERT = '3'
const DELETE = '4'
const OF_SUBQUERY = '1'
const INTO_REFERENCE = new RegExp(`INSERT INTO (${REFERENCE_TABLES.join('|')})\\b`)

/**
 * Reads parse trees, which Postgres sends as messages, because an operator such as `timestamptz + interval` is a function too. Of an
 * UPDATE or DELETE, RETURNING has immutable functions alone; SET and WHERE have no volatile one, none that is not immutable in CASE or
 * COALESCE, and no stable one over columns. An INSERT of
 * what a SELECT returns, into a reference table, has no parameter in ON CONFLICT.
 */
export async function openMutability(databaseUrl: string): Promise<Mutability> {
  let trees: string[] = []
  const client = postgres(databaseUrl, {
    max: 1,
    connection: { client_min_messages: 'log', debug_print_parse: true, debug_pretty_print: false },
    types: { times: AS_TEXT },
    onnotice: ({ message = '', detail = '' }) => {
      if (message.startsWith('parse tree')) trees.push(detail)
    },
  })
  const volatility = new Map<string, string>()
  const found = await client`SELECT ':funcid ' || oid AS called, provolatile AS kind FROM pg_proc
    UNION ALL SELECT ':opno ' || pg_operator.oid, provolatile FROM pg_operator JOIN pg_proc ON pg_proc.oid = oprcode`
  for (const { called, kind } of found) volatility.set(called, kind)

  function callsOf(tree: Tree): string[] {
    return tree.flatMap((one, at) => {
      if (typeof one !== 'string') return callsOf(one)
      const kind = volatility.get(`${one} ${tree[at + 1]}`) ?? 'i'
      return kind === 'i' ? [] : [kind]
    })
  }
  const isMutable = (tree: Tree) => callsOf(tree).length > 0
  const isStableOverColumns = (tree: Tree) =>
    ['FUNCEXPR', 'OPEXPR'].includes(String(tree[0])) &&
    volatility.get(`${tree[1]} ${tree[2]}`) === 's' &&
    within(tree, 'VAR').length > 0

  function faultsOfChange(tree: Tree): string[] {
    const [set, where, returned] = [':targetList', ':jointree', ':returningList'].map((name) =>
      fieldOf(tree, name),
    ) as [Tree, Tree, Tree]
    const own = [...set, ...where]
    const isChosen = ['CASEEXPR', 'COALESCEEXPR'].some((type) => within(own, type).some(isMutable))
    return [
      ...(isMutable(returned) ? ['RETURNING'] : []),
      ...(callsOf(own).includes('v') ? ['volatile'] : []),
      ...(isChosen ? ['CASE or COALESCE'] : []),
      ...(all(own).some(isStableOverColumns) ? ['stable over columns'] : []),
    ]
  }

  return {
    async faultsOf(text, parameters) {
      trees = []
      await client.unsafe(`EXPLAIN ${text}`, parameters as never[])
      return trees.flatMap((tree) =>
        within(parse(tree), 'QUERY').flatMap((query) => {
          const kind = fieldText(query, ':commandType')
          if (kind === UPDATE || kind === DELETE) return faultsOfChange(query)
          const isLost = kind === INSERT && INTO_REFERENCE.test(text) && hasLostParameters(query)
          return isLost ? ['ON CONFLICT'] : []
        }),
      )
    },
    close: () => client.end(),
  }
}

function parse(text: string): Tree {
  const stack: Tree[] = [[]]
  for (const [token] of text.matchAll(/[{}()]|(?:\\.|[^\s{}()\\])+/g)) {
    if (token === '{' || token === '(') stack.push([])
    else if (token === '}' || token === ')') {
      const done = stack.pop() as Tree
      stack.at(-1)?.push(done)
    } else stack.at(-1)?.push(token)
  }
  return stack[0] as Tree
}

/**
 * Citus runs the SELECT of an INSERT into a reference table apart from it: the rest of the INSERT then names parameters whose types no node
 * can tell.
 */
function hasLostParameters(insert: Tree): boolean {
  const isOfSelect = within(fieldOf(insert, ':rtable'), 'RANGETBLENTRY').some(
    (one) => fieldText(one, ':rtekind') === OF_SUBQUERY,
  )
  return isOfSelect && within(fieldOf(insert, ':onConflict'), 'PARAM').length > 0
}

function fieldText(tree: Tree, name: string): string {
  return String(tree[tree.indexOf(name) + 1])
}

function fieldOf(tree: Tree, name: string): Tree {
  const value = tree[tree.indexOf(name) + 1]
  return Array.isArray(value) ? value : []
}

function all(tree: Tree): Tree[] {
  return [tree, ...tree.filter((one) => typeof one !== 'string').flatMap(all)]
}

function within(tree: Tree, type: string): Tree[] {
  return all(tree).filter((one) => one[0] === type)
}
