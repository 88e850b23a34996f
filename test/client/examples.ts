import { readdir, readFile } from 'node:fs/promises'

const CLIENT = new URL('../../src/client/', import.meta.url)

/** The `@example` blocks of the client's documentation, as its readers would copy them. */
export async function readExamples(): Promise<{ name: string; code: string }[]> {
  const files = (await readdir(CLIENT)).filter((file) => file.endsWith('.ts'))
  const found = await Promise.all(
    files.map(async (file) => {
      const source = await readFile(new URL(file, CLIENT), 'utf8')
      return [...source.matchAll(/\* ```ts\n([\s\S]*?)\s*\* ```/g)].map(([, block = '']) => {
        const code = block.replace(/^\s*\* ?/gm, '')
        return { name: `${file}: ${code.split('\n').at(-1)}`, code }
      })
    }),
  )
  return found.flat()
}
