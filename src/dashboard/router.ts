import { createStore } from '../store/observable.ts'

/** Where the page is: the parts of the hash, `#/keys/key_1` as `['keys', 'key_1']`, and its parameters. */
export interface PageRoute {
  parts: readonly string[]
  query: URLSearchParams
}

export const route = createStore<PageRoute>(read())

addEventListener('hashchange', () => {
  route.set(read())
  scrollTo(0, 0)
  // A screen reader reads the new view from its heading; the tab order starts there.
  requestAnimationFrame(() => document.querySelector<HTMLElement>('main h1')?.focus())
})

function read(): PageRoute {
  const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?')
  const parts = path.split('/').filter((part) => part !== '')
  return { parts: parts.map(decodePart), query: new URLSearchParams(query) }
}

function decodePart(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

export function go(path: string): void {
  location.hash = `#/${path}`
}
