import { globSync } from 'node:fs'

const FENCE = /^ {0,3}```[^\n]*\n([\s\S]*?)^ {0,3}```/gm
const PATH = /(?<![\w/.:@-])((?:src|test|drizzle|\.ci)\/[\w./*-]*|(?:[\w-]+\.)+(?:md|json|ts)\b)/g

/** The paths that a page names: anything under a folder of the repository, top-level files, and relative links. */
export function pathsIn(page: string): string[] {
  const text = page.replaceAll(/https?:\/\/\S+/g, '')
  const named = [...text.matchAll(PATH)].map(([, path = '']) => path.replace(/[.*-]+$/, ''))
  const linked = [...text.matchAll(/\]\((?!#)([^):\s]+)\)/g)].map(([, path = '']) =>
    path.replace(/^\.\/|#.*$/g, ''),
  )
  return [...new Set([...named, ...linked].filter((path) => path !== ''))]
}
