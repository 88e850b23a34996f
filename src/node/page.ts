import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import type { Context, Hono } from 'hono'
import { pageFiles } from '../http/page.ts'

/** What `npm run build:page` writes, also at the end of `npm ci`. */
const FOLDER = fileURLToPath(new URL('../../build/site', import.meta.url))

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.md': 'text/markdown; charset=utf-8',
}

const MISSING = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Latchkey</title>
<p>The page is not built. Run <code>npm run build:page</code> with the development packages installed.
The API works without it: <a href="/docs">/docs</a>.
`

type Encoding = 'br' | 'gzip' | 'identity'

interface PageFile {
  type: string
  etag: string
  bodies: Record<Encoding, Uint8Array<ArrayBuffer>>
}

/** `/`, from the files that the build wrote. Each is read and compressed once, for its first request. */
export function pageOfFolder(folder = FOLDER): Hono {
  const files = new Map<string, Promise<PageFile | undefined>>()

  async function respondWith(c: Context, path: string): Promise<Response> {
    let found = files.get(path)
    if (found === undefined) {
      found = readPageFile(folder, path)
      files.set(path, found)
    }
    const file = await found
    if (file === undefined) {
      files.delete(path) // Only what exists is remembered, and a build may come later.
      return path === 'index.html' ? c.html(MISSING, 200) : c.body(null, 404)
    }
    const encoding = encodingFor(c.req.header('accept-encoding') ?? '')
    const etag = `"${file.etag}-${encoding}"`
    const headers = { 'Content-Type': file.type, ETag: etag, Vary: 'Accept-Encoding' }
    if (c.req.header('if-none-match') === etag) return c.body(null, 304, headers)
    return c.body(file.bodies[encoding], 200, {
      ...headers,
      ...(encoding !== 'identity' && { 'Content-Encoding': encoding }),
    })
  }

  return pageFiles(respondWith)
}

async function readPageFile(folder: string, path: string): Promise<PageFile | undefined> {
  const type = TYPES[extname(path)]
  if (type === undefined) return undefined
  const bytes = await readFile(join(folder, path)).catch(() => undefined)
  if (bytes === undefined) return undefined
  const identity = Uint8Array.from(bytes)
  const [br, zipped] = await Promise.all([
    promisify(brotliCompress)(identity, {
      params: { [constants.BROTLI_PARAM_SIZE_HINT]: identity.length },
    }),
    promisify(gzip)(identity, { level: 9 }),
  ])
  return {
    type,
    etag: createHash('sha256').update(identity).digest('base64url').slice(0, 22),
    bodies: { identity, br: Uint8Array.from(br), gzip: Uint8Array.from(zipped) },
  }
}

/** The best encoding that the client names, unless it refuses it with `q=0`. */
function encodingFor(accepted: string): Encoding {
  const named = accepted.split(',').map((part) => part.trim())
  const takes = (name: string) =>
    named.some(
      (part) => part === name || (part.startsWith(`${name};`) && !/q=0(\.0*)?$/.test(part)),
    )
  if (takes('br')) return 'br'
  return takes('gzip') ? 'gzip' : 'identity'
}
