const TOKEN = /(?<![\w/.:@~$-])\.?[\w*-][\w.*-]*(?:\/[\w.*-]+)*\/?/g
const AT_THE_TOP = /^(src|test|docs|drizzle|\.ci)\//
const FILE = /\.(ts|md|json|jsonc|toml|sql|clar)$/
/** What a page may name although it is not in the repository. */
const MADE = /^(dist|node_modules|\.latchkey)\//

/** The paths that a page names: files by their ending, folders by their slash, and relative links. */
export function pathsIn(page: string): string[] {
  const text = page.replaceAll(/\bhttps?:\/\/\S+/g, '')
  const tokens = [...text.matchAll(TOKEN)]
    .map(([token]) => token.replace(/[.-]+$/, ''))
    .filter((token) => AT_THE_TOP.test(token) || FILE.test(token) || /^[\w.-]+\/$/.test(token))
  const links = [...text.matchAll(/\]\((?!#)(?:\.{1,2}\/)*([^)#:\s]+)[^):\s]*\)/g)].map(
    ([, link = '']) => link,
  )
  return [...new Set([...tokens, ...links])].filter((path) => !MADE.test(path))
}

/** Whether a path is in the repository. One that does not begin at the top is the end of a longer one. */
export function isIn(files: readonly string[], path: string): boolean {
  const pattern = path
    .replaceAll(/[.+]/g, '\\$&')
    .replaceAll(/\*+/g, (stars) => (stars.length > 1 ? '.*' : '[^/]*'))
  const start = AT_THE_TOP.test(path) ? '^' : '(^|/)'
  const end = path.endsWith('/') ? '' : '(/|$)'
  return files.some((file) => new RegExp(start + pattern + end).test(file))
}

export function scriptsIn(page: string): string[] {
  const run = [...page.matchAll(/\bnpm run (?:-s )?([\w:-]+)/g)].map(([, name = '']) => name)
  const short = [...page.matchAll(/\bnpm (start|test)\b/g)].map(([, name = '']) => name)
  return [...new Set([...run, ...short])]
}

/** A table of a page: the heading that it stands under, and its cells without the marks of code. */
export interface Table {
  heading: string
  head: string[]
  rows: string[][]
}

/** Every table of a page, in order. */
export function tablesIn(page: string): Table[] {
  const tables: Table[] = []
  let heading = ''
  let open: Table | undefined
  for (const line of withoutBlocks(page).split('\n')) {
    const title = /^#+ (.*)$/.exec(line)?.[1]
    heading = title ?? heading
    if (!line.trim().startsWith('|')) {
      open = undefined
      continue
    }
    const cells = line
      .trim()
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.replaceAll('`', '').trim())
    if (open === undefined) {
      open = { heading, head: cells, rows: [] }
      tables.push(open)
    } else if (!cells.every((cell) => /^:?-+:?$/.test(cell))) open.rows.push(cells)
  }
  return tables
}

/** The one table of a page that begins with these headings. */
export function tableOf(page: string, ...head: string[]): Table {
  const found = tablesIn(page).filter((table) => head.every((cell, at) => table.head[at] === cell))
  const [table] = found
  if (table === undefined || found.length > 1)
    throw new Error(`the page has ${found.length} tables that begin with ${head.join(', ')}`)
  return table
}

/** A fenced block of code and the language that it names. */
export interface Block {
  language: string
  code: string
}

export function blocksIn(page: string): Block[] {
  return [...page.matchAll(FENCED)].map(([, indent = '', language = '', code = '']) => ({
    language,
    code: code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  }))
}

const FENCED = /^( *)```(\w*)\n([\s\S]*?)^ *```$/gm

export function withoutBlocks(page: string): string {
  return page.replaceAll(FENCED, '')
}

/** The commands of a shell block: one a line, with lines that a backslash continues joined. */
export function commandsIn({ code }: Block): string[] {
  return code
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .map((line) => line.replace(/\s+#\s.*$/, '').trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
}

/** The links of a page to files and headings of the repository: path, anchor, or both. */
export function linksIn(page: string): { path: string; anchor: string }[] {
  return [...withoutBlocks(page).matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, link = '']) => link)
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      const [path = '', anchor = ''] = link.split('#')
      return { path, anchor }
    })
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsIn(page: string): string[] {
  const seen = new Map<string, number>()
  return [...withoutBlocks(page).matchAll(/^#+ (.*)$/gm)].map(([, title = '']) => {
    const anchor = title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-')
    const before = seen.get(anchor) ?? 0
    seen.set(anchor, before + 1)
    return before === 0 ? anchor : `${anchor}-${before}`
  })
}

/** The words of a command without their quotes, as a shell splits them. */
export function wordsOf(command: string): string[] {
  return [...command.matchAll(/'([^']*)'|"([^"]*)"|(\S+)/g)].map(
    ([, single, double, bare]) => single ?? double ?? bare ?? '',
  )
}

/** A request that a curl command makes. */
export interface CurlRequest {
  method: string
  url: string
  headers: Record<string, string>
  body: string | undefined
}

/** Reads a curl command of a page; undefined when it is another command. */
export function curlIn(command: string): CurlRequest | undefined {
  const [program, ...words] = wordsOf(command)
  if (program !== 'curl') return undefined
  const request: CurlRequest = { method: '', url: '', headers: {}, body: undefined }
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    const next = () => words[++at] ?? ''
    if (word === '-X') request.method = next()
    else if (word === '-d') request.body = next()
    else if (word === '-H') {
      const [name = '', value = ''] = next().split(/:\s*(.*)/s)
      request.headers[name] = value
    } else if (!word.startsWith('-')) request.url = word
  }
  if (request.method === '') request.method = request.body === undefined ? 'GET' : 'POST'
  return request
}
