import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readExamples } from './examples.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const tool = (name: string) => join(ROOT, 'node_modules/.bin', name)

/** Runs a program; what it says when it fails is the test's message. */
async function run(cwd: string, program: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { cwd }).catch((error) => {
    throw new Error(`${program} ${args.join(' ')}\n${error.stdout}${error.stderr}`)
  })
  return stdout
}

let folder: string
let tarball: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'latchkey-pack-'))
  const packed = await run(ROOT, 'npm', 'pack', '--silent', '--pack-destination', folder)
  tarball = join(folder, packed.trim().split('\n').at(-1) ?? '')
  await writeFile(join(folder, 'package.json'), '{"private":true,"type":"module"}')
  await run(folder, 'npm', 'install', '--prefer-offline', '--ignore-scripts', '--no-audit', tarball)
}, 120_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('The package, as npm would publish it', () => {
  it('holds the client and the command line, and nothing of the service', async () => {
    const files = (await run(folder, 'tar', 'tzf', tarball)).trim().split('\n')
    expect(files).toContain('package/dist/client/index.js')
    expect(files).toContain('package/dist/client/index.d.ts')
    expect(files).toContain('package/dist/cli/main.js')
    const strange = files.filter(
      (file) =>
        !/^package\/(dist\/(client|cli|stacks|keys|orders|actions|audit|sessions|usage)\/[\w-]+|dist\/\w+)\.(js|d\.ts)$/.test(
          file,
        ) && !/^package\/(package\.json|\w+\.md|LICENSE)$/.test(file),
    )
    expect(strange).toEqual([])
    expect(files.filter((file) => /schema|routes|app\.|env\./.test(file))).toEqual([])
  })

  it('is imported by Node', async () => {
    const script = `import { createClient, privateKeySigner, SCOPES } from 'latchkey/client'
      const signer = privateKeySigner('${'12'.repeat(32)}01', 'testnet')
      const client = createClient({ baseUrl: 'https://dex.example', signer })
      console.log(typeof client.orders.execute, SCOPES.length, signer.address)`
    await writeFile(join(folder, 'consumer.mjs'), script)
    const out = await run(folder, process.execPath, 'consumer.mjs')
    expect(out).toMatch(/^function 3 ST[0-9A-Z]+\n$/)
  })

  it('has types that fit its documentation, and catch a mistake', async () => {
    for (const [index, { code }] of (await readExamples()).entries())
      await writeFile(join(folder, `example-${index}.ts`), code)
    await writeFile(
      join(folder, 'surroundings.d.ts'),
      `declare const process: { env: Record<string, string | undefined> }
declare module '@stacks/connect' {
  export function request<M extends 'stx_signMessage'>(method: M, params?: { message: string }): Promise<{ signature: string }>
  export function request<M extends 'stx_signMessage'>(options: object, method: M, params?: object): Promise<{ signature: string }>
}
`,
    )
    await writeFile(
      join(folder, 'mistake.ts'),
      `import { createClient } from 'latchkey/client'
const { keys } = createClient({ baseUrl: 'https://dex.example' })
// @ts-expect-error: permissions are a list
await keys.create({ name: 'bot', permissions: 'withdraw' })
`,
    )
    const compilerOptions = {
      target: 'ES2022',
      lib: ['ES2022', 'DOM'],
      module: 'NodeNext',
      types: [],
      strict: true,
      exactOptionalPropertyTypes: true,
      noUnusedLocals: true,
      noEmit: true,
    }
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, include: ['*.ts'] }),
    )
    await run(folder, tool('tsc'), '-p', '.')
  }, 60_000)

  it('brings the command', async () => {
    const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'))
    expect(await run(folder, 'npx', '--no-install', 'latchkey', '--version')).toBe(`${version}\n`)
  })

  it('has nothing that publint would change', async () => {
    await run(folder, tool('publint'), tarball, '--strict')
  })

  it('has types that resolve wherever ES modules do', async () => {
    await run(folder, tool('attw'), tarball, '--profile', 'esm-only', '--no-emoji')
  })
})
