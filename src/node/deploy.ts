import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { askWrangler, startWrangler } from './wrangler.ts'

/** Deploys with wrangler.toml, once Hyperdrive's query cache is known to be off. Arguments are passed to wrangler. */
async function main(given: string[]): Promise<void> {
  const { config, 'dry-run': isRehearsal } = parseArgs({
    args: given,
    options: {
      config: { type: 'string', default: 'wrangler.toml' },
      'dry-run': { type: 'boolean', default: false },
    },
    strict: false,
  }).values
  const id = hyperdriveIn(readFileSync(String(config), 'utf8'))
  if (id !== undefined) requireFresh(id, await askWrangler(['hyperdrive', 'get', id]))
  else if (isRehearsal !== true)
    throw new Error(
      'wrangler.toml names no Hyperdrive yet. Create one, and write its id there:\n  npx wrangler hyperdrive create latchkey --caching-disabled --connection-string="postgres://.."',
    )
  const child = startWrangler(['deploy', ...given])
  const [code] = (await once(child, 'exit')) as [number | null]
  process.exitCode = code ?? 1
}

/** The id of the Hyperdrive binding; undefined while it is the repository's placeholder of zeros. */
function hyperdriveIn(toml: string): string | undefined {
  const id = /^\[\[hyperdrive\]\][^[]*^id = "([0-9a-f]{32})"/m.exec(toml)?.[1]
  return id === undefined || /^0+$/.test(id) ? undefined : id
}

/** A cached query result would show a revoked key as live and an executed order as open, for a minute and longer. */
function requireFresh(id: string, told: string): void {
  const hyperdrive = JSON.parse(told.slice(told.indexOf('{'))) as {
    caching?: { disabled?: boolean }
  }
  if (hyperdrive.caching?.disabled !== true)
    throw new Error(
      `Hyperdrive ${id} caches query results, which this service must never see. Turn it off:\n  npx wrangler hyperdrive update ${id} --caching-disabled`,
    )
}

main(process.argv.slice(2)).catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
