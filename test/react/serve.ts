import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type BuildOptions, build } from 'esbuild'
import { emptyFolder, ROOT } from '../node/entry.ts'

export type ReactVersion = '18' | '19'

/** Package names that are resolved to others. */
type Aliases = Record<string, string>

const REACT: Readonly<Record<ReactVersion, Aliases>> = {
  '18': { react: 'react-18', 'react-dom': 'react-dom-18' },
  '19': {},
}

/** Bundles TypeScript with one version of React, which must then be the only one. */
export async function bundle(
  code: string,
  react: ReactVersion,
  { alias, ...options }: BuildOptions = {},
): Promise<string> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: code, resolveDir: join(ROOT, 'test/react'), loader: 'tsx' },
    bundle: true,
    format: 'esm',
    jsx: 'automatic',
    jsxImportSource: 'react',
    define: { 'process.env.NODE_ENV': '"development"' },
    alias: { ...REACT[react], ...alias },
    write: false,
    metafile: true,
    logLevel: 'silent',
    // package.json says that no module of the SDK has side effects; those of the tests have.
    ignoreAnnotations: true,
    ...options,
  })
  const copies = new Set(
    Object.keys(metafile?.inputs ?? {}).flatMap(
      (file) => /node_modules\/(react(?:-18)?)\//.exec(file)?.[1] ?? [],
    ),
  )
  if (copies.size !== 1) throw new Error(`bundled: ${[...copies].join(' and ')}`)
  return outputFiles?.[0]?.text ?? ''
}

/** What a server renders of a module that prints its markup. */
export async function renderOnServer(file: string, react: ReactVersion): Promise<string> {
  const code = await bundle(`import './${file}'`, react, { platform: 'node', format: 'cjs' })
  const path = join(emptyFolder(), 'server.cjs')
  await writeFile(path, code)
  return (await promisify(execFile)(process.execPath, [path])).stdout
}

/** Serves files, by path, as pages of an origin of their own. */
export async function serveFiles(files: Readonly<Record<string, string>>) {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://page.test').pathname
    const body = files[path]
    const type = path.endsWith('.js') ? 'text/javascript' : 'text/html; charset=utf-8'
    response.writeHead(body === undefined ? 404 : 200, { 'Content-Type': type }).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** A page with a root for React, and a module that fills it. */
export function htmlOf(root: string, setup: object): string {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>dApp</title><link rel="icon" href="data:,">
<div id="app">${root}</div><script>globalThis.setup = ${JSON.stringify(setup)}</script>
<script type="module" src="/app.js"></script></html>`
}
