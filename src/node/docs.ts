import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { gzip as gzipBytes } from 'node:zlib'
import { type Docs, openDocs } from '../http/docs.ts'
import type { Gzip } from '../http/shared-document.ts'

const FOLDER = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))

/** /docs, from the installed package. */
export function docsFiles(): Docs {
  return openDocs(async (_, name) => Uint8Array.from(await readFile(join(FOLDER, name))), gzip)
}

const compress = promisify(gzipBytes)
export const gzip: Gzip = async (bytes) => Uint8Array.from(await compress(bytes))
