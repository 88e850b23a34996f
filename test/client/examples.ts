import { readdir, readFile } from 'node:fs/promises'

const SRC = new URL('../../src/', import.meta.url)
const README = new URL('../../README.md', import.meta.url)

/** A piece of TypeScript that a reader would copy. */
export interface Example {
  name: string
  code: string
}

/** What an example finds around it: a process, and a page's wallet. */
export const SURROUNDINGS = `declare const process: { env: Record<string, string | undefined> }
declare module '@stacks/connect' {
  export function request<M extends 'stx_signMessage'>(method: M, params?: { message: string }): Promise<{ signature: string }>
  export function request<M extends 'stx_signMessage'>(options: object, method: M, params?: object): Promise<{ signature: string }>
}
`

/** The `@example` blocks of the React hooks, each a component. */
export async function readComponents(): Promise<Example[]> {
  return examplesIn('react/index.ts', await readFile(new URL('react/index.ts', SRC), 'utf8'))
}

/** The `@example` blocks of what the client exports, and the TypeScript of README.md. */
export async function readExamples(): Promise<Example[]> {
  const client = (await readdir(new URL('client/', SRC))).filter((file) => file.endsWith('.ts'))
  const rest = ['keys/secret.ts', 'orders/validate.ts', 'store/index.ts']
  const files = [...client.sort().map((file) => `client/${file}`), ...rest]
  const documented = files.map(async (file) =>
    examplesIn(file, await readFile(new URL(file, SRC), 'utf8')),
  )
  return [...(await Promise.all(documented)).flat(), ...blocksIn(await readFile(README, 'utf8'))]
}

function examplesIn(file: string, source: string): Example[] {
  return [...source.matchAll(/\* ```tsx?\n([\s\S]*?)\s*\* ```/g)].map(([, block = '']) => {
    const code = block.replace(/^\s*\* ?/gm, '')
    return { name: `${file}: ${code.split('\n').at(-1)}`, code }
  })
}

/** A block without imports continues the one before, which made its client. */
function blocksIn(page: string): Example[] {
  let beginning = ''
  return [...page.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, block = ''], at) => {
    const isBeginning = block.startsWith('import ')
    if (isBeginning) beginning = block
    return {
      name: `README.md: block ${at + 1}`,
      code: isBeginning ? block : `${beginning}{\n${block}}\n`,
    }
  })
}
