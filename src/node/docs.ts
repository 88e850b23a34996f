import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzip as gzipBytes } from 'node:zlib'
import type { ReadDocsFile } from '../http/docs.ts'
import type { Gzip } from '../http/shared-document.ts'

/** What the build writes beside the page. */
const FOLDER = fileURLToPath(new URL('../../build/site/docs', import.meta.url))

/** Reads the files of /docs. Without the build the reference is shown all the same, plain and without trying. */
export const readDocsFile: ReadDocsFile = async (_, name) => {
  const bytes = await readFile(join(FOLDER, name)).catch(() => undefined)
  return bytes && Uint8Array.from(bytes)
}

const compress = promisify(gzipBytes)
export const gzip: Gzip = async (bytes) => Uint8Array.from(await compress(bytes))
