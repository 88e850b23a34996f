import { existsSync } from 'node:fs'
import { UsageError } from './errors.ts'
import { readText, replaceFile } from './files.ts'

const MAX_BYTES = 1_048_576

/** Sets one variable in a file of them, as `.env` is, and leaves everything else as it is. The file is made where there is none. */
export function setVariable(path: string, name: string, value: string): void {
  replaceFile(path, textWith(path, name, value))
}

/** Refuses a file in which the variable cannot be set, as one that sets it twice. */
export function requireSettable(path: string, name: string): void {
  textWith(path, name, '')
}

function textWith(path: string, name: string, value: string): string {
  const text = existsSync(path) ? readText(path, MAX_BYTES) : ''
  return withVariable(text, name, value, path)
}

/** The text with the variable set. Its quotes, an `export` before it and a comment behind it stay. */
function withVariable(text: string, name: string, value: string, path: string): string {
  const assignment = new RegExp(
    String.raw`^([ \t]*(?:export[ \t]+)?${name}[ \t]*=[ \t]*)(?:"[^"\r\n]*"|'[^'\r\n]*'|[^\s#"']*)`,
    'gm',
  )
  const found = [...text.matchAll(assignment)]
  if (found.length > 1) throw new UsageError(`${path} sets ${name} ${found.length} times`)
  if (found.length === 1)
    return text.replace(assignment, (whole: string, before: string) => {
      const quote = /["']$/.exec(whole)?.[0] ?? ''
      return `${before}${quote}${value}${quote}`
    })
  const lineEnd = text.includes('\r\n') ? '\r\n' : '\n'
  const begins = text === '' || text.endsWith('\n') ? '' : lineEnd
  return `${text}${begins}${name}=${value}${lineEnd}`
}
