const TOKEN = /(?<![\w/.:@~$-])\.?[\w*-][\w.*-]*(?:\/[\w.*-]+)*\/?/g
const AT_THE_TOP = /^(src|test|drizzle|\.ci)\//
const FILE = /\.(ts|md|json|jsonc|toml|sql|clar)$/
/** What a page may name although it is not in the repository. */
const MADE = /^(dist|node_modules|\.latchkey)\//

/** The paths that a page names: files by their ending, folders by their slash, and relative links. */
export function pathsIn(page: string): string[] {
  const text = page.replaceAll(/\bhttps?:\/\/\S+/g, '')
  const tokens = [...text.matchAll(TOKEN)]
    .map(([token]) => token.replace(/[.-]+$/, ''))
    .filter((token) => AT_THE_TOP.test(token) || FILE.test(token) || /^[\w.-]+\/$/.test(token))
  const links = [...text.matchAll(/\]\((?!#)(?:\.\/)?([^)#:\s]+)[^):\s]*\)/g)].map(
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

/** The first cells of the table under the heading that says `configuration`, where they name variables. */
export function configurationIn(readme: string): string[] {
  const [, section = ''] =
    /^#+ [^\n]*configuration[^\n]*\n([\s\S]*?)(?=^#|(?![\s\S]))/im.exec(readme) ?? []
  return section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .flatMap((line) => line.split('|')[1]?.match(/\b[A-Z][A-Z0-9_]+\b/g) ?? [])
}

export function scriptsIn(page: string): string[] {
  const run = [...page.matchAll(/\bnpm run ([\w:-]+)/g)].map(([, name = '']) => name)
  const short = [...page.matchAll(/\bnpm (start|test)\b/g)].map(([, name = '']) => name)
  return [...new Set([...run, ...short])]
}
