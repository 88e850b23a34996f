import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { Hono } from 'hono'
import { docsPages } from '../http/docs.ts'

const FOLDER = dirname(createRequire(import.meta.url).resolve('swagger-ui-dist/package.json'))

/** /docs, from the installed package. */
export function docsFiles(): Hono {
  return docsPages(async (_, name) => Uint8Array.from(await readFile(join(FOLDER, name))))
}
