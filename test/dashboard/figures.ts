import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { CHROMIUM, openPage } from '../node/chromium.ts'
import { startService } from '../support/server.ts'
import { type Figures, measure } from './measure.ts'
import { DESKTOP, PHONE } from './visitor.ts'

/** Prints what the page costs a visitor: bytes, requests, times on a slow phone, layout shift, findings of axe, bundles. */
async function main(): Promise<void> {
  if (CHROMIUM === undefined) throw new Error('No Chromium: apt-get install chromium')
  const service = await startService()
  try {
    for (const [width, size] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
      const page = await openPage(CHROMIUM)
      await page.show(size)
      const { first, connected } = await measure(page, service.url)
      await page.close()
      print(`${width}, first visit`, first)
      print(`${width}, connected`, connected)
    }
  } finally {
    await service.stop()
  }
  const assets = fileURLToPath(new URL('../../build/site/assets', import.meta.url))
  for (const file of readdirSync(assets).sort()) {
    const bytes = readFileSync(join(assets, file))
    const gzipped = gzipSync(bytes, { level: 9 }).length
    process.stdout.write(`${file.padEnd(34)} ${bytes.length} bytes, ${gzipped} gzipped\n`)
  }
}

function print(what: string, { axe, layoutShift, requests, bytes, ...times }: Figures): void {
  const inMs = Object.entries(times).map(([name, ms]) => `${name} ${Math.round(ms)} ms`)
  const facts = [`${requests} requests`, `${bytes} bytes`, ...inMs]
  const rest = `layout shift ${layoutShift.toFixed(4)}, axe ${axe.length === 0 ? 'finds nothing' : axe}`
  process.stdout.write(`${what}: ${facts.join(', ')}, ${rest}\n`)
}

await main()
