/*
 * Builds the page into build/site: its files, and beside them, in docs/, those of /docs.
 *
 * It runs at the end of `npm ci` (`prepare`): then `npm start` serves the page at once, needs no development package, and
 * a start never waits for a build, which takes about a second. It is JavaScript, because `npm ci --omit=dev` runs it with
 * whatever Node there is; without Vite it builds nothing and fails nothing.
 */
import { copyFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const SITE = join(ROOT, 'build/site')
const REFERENCE = join(ROOT, 'src/reference')

const started = Date.now()
const vite = await import('vite').catch((error) => {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
})
if (vite === undefined) {
  process.stdout.write('The page is not built: its builder is a development package.\n')
} else {
  await vite.build({
    root: join(ROOT, 'src/dashboard'),
    configFile: false,
    logLevel: 'warn',
    build: {
      outDir: SITE,
      emptyOutDir: true,
      target: 'es2022',
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
      chunkSizeWarningLimit: 2_000,
      // The licences of what is bundled ask for their text beside each copy.
      license: { fileName: 'licenses.md' },
    },
    worker: { format: 'es' },
  })
  await vite.build({
    root: REFERENCE,
    configFile: false,
    logLevel: 'warn',
    build: {
      outDir: join(SITE, 'docs'),
      emptyOutDir: false,
      target: 'es2022',
      modulePreload: { polyfill: false },
      reportCompressedSize: false,
      rollupOptions: {
        input: join(REFERENCE, 'try.ts'),
        output: { entryFileNames: 'try.js' },
      },
    },
  })
  for (const file of ['style.css', 'icon.svg'])
    await copyFile(join(REFERENCE, file), join(SITE, 'docs', file))
  process.stdout.write(`The page is built, in ${((Date.now() - started) / 1000).toFixed(1)} s.\n`)
}
