import { execFile } from 'node:child_process'
import { globSync, readFileSync, statSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { signMessage } from '../../src/stacks/sign.ts'
import { type Service, startService } from '../support/server.ts'
import { readComponents, readExamples, SURROUNDINGS } from './examples.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const tool = (name: string) => join(ROOT, 'node_modules/.bin', name)

const MAX_INSTALLED_BYTES = 15 * 1024 * 1024
/** 3 KB of it find what a service would refuse before a wallet is asked to sign it, and 4 KB are errors and what to do about them. */
const MAX_BUNDLE_BYTES = 40 * 1024

/** Folders of the sources that the client and the command line are made of. */
const FOLDERS =
  'actions|archive|audit|cli|cli/commands|client|crypto|db|keys|middleware|notices|orders|provenance|react|service-credentials|sessions|signed-requests|stacks|store|usage|wallets|webhooks|wire'

/** Runs a program; what it says when it fails is the test's message. */
async function run(cwd: string, program: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { cwd }).catch((error) => {
    throw new Error(`${program} ${args.join(' ')}\n${error.stdout}${error.stderr}`)
  })
  return stdout
}

/** An empty project, and in it what `npm publish ./dist` would publish. */
let folder: string
let tarball: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'latchkey-pack-'))
  await run(ROOT, 'npm', 'run', 'build')
  const packed = await run(ROOT, 'npm', 'pack', './dist', '--silent', '--pack-destination', folder)
  tarball = join(folder, packed.trim().split('\n').at(-1) ?? '')
  await writeFile(join(folder, 'package.json'), '{"private":true,"type":"module"}')
  await run(folder, 'npm', 'install', '--prefer-offline', '--ignore-scripts', '--no-audit', tarball)
}, 120_000)
afterAll(() => rm(folder, { recursive: true, force: true }))

async function writeAll(files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
}

describe('The package, as npm would publish it', () => {
  it('holds the client and the command line, and nothing of the service', async () => {
    const files = (await run(folder, 'tar', 'tzf', tarball)).trim().split('\n')
    for (const file of ['client/index.js', 'client/index.d.ts', 'cli/main.js', 'LICENSE'])
      expect(files).toContain(`package/${file}`)
    const code = new RegExp(`^package/((${FOLDERS})/)?[\\w-]+\\.(js|d\\.ts)$`)
    const pages = ['package/package.json', 'package/README.md', 'package/LICENSE']
    expect(files.filter((file) => !code.test(file) && !pages.includes(file))).toEqual([])
    expect(
      files.filter((file) =>
        /schema|routes|admin|operator|settlement|app\.|env\.|archive\/(?!format)/.test(file),
      ),
    ).toEqual([])
  })

  it('installs with its cryptography, the parsers of events and of its command line, and no other package', () => {
    const manifests = globSync('node_modules/{*,@*/*}/package.json', { cwd: folder })
    const packages = manifests.map((file) => file.split('/').slice(1, -1).join('/')).sort()
    const bytes = globSync('node_modules/**', { cwd: folder, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0)
    console.log(`installed: ${packages.length} packages, ${bytes} bytes`)
    expect(packages).toEqual([
      '@noble/hashes',
      '@noble/secp256k1',
      'commander',
      'eventsource-parser',
      'latchkey',
    ])
    expect(bytes).toBeLessThan(MAX_INSTALLED_BYTES)
  })

  it('depends on the versions that the service is tested with', async () => {
    const read = async (path: string) => JSON.parse(await readFile(path, 'utf8'))
    const { version, dependencies } = await read(join(ROOT, 'package.json'))
    const published = await read(join(folder, 'node_modules/latchkey/package.json'))
    expect(published).toMatchObject({ name: 'latchkey', version, type: 'module', license: 'MIT' })
    expect(published.private).toBeUndefined()
    for (const [name, pinned] of Object.entries(published.dependencies))
      expect(pinned).toBe(dependencies[name])
  })

  const script = `
const signer = privateKeySigner('${'12'.repeat(32)}01', 'testnet')
const client = createClient({ baseUrl: 'https://dex.example', signer })
console.log(typeof client.orders.execute, SCOPES.length, signer.address)`
  const names = '{ createClient, privateKeySigner, SCOPES }'

  it('has a store that needs no framework, also where React is not installed', async () => {
    const text = `import { createWalletStore } from 'latchkey/store'
console.log(createWalletStore({ baseUrl: 'https://dex.example' }).wallet.get().status)`
    await writeAll({ 'store.mjs': text })
    expect(await run(folder, process.execPath, 'store.mjs')).toBe('disconnected\n')
  })

  it.each([
    ['imported', 'esm.mjs', `import ${names} from 'latchkey/client'${script}`],
    ['imported by its name alone', 'name.mjs', `import ${names} from 'latchkey'${script}`],
    ['required', 'cjs.cjs', `const ${names} = require('latchkey/client')${script}`],
  ])('is %s by Node', async (_, name, text) => {
    await writeAll({ [name]: text })
    expect(await run(folder, process.execPath, name)).toMatch(/^function 4 ST[0-9A-Z]+\n$/)
  })

  it('is one module, however it is asked for', async () => {
    const text = `import { createRequire } from 'node:module'
import { LatchkeyError } from 'latchkey/client'
import * as whole from 'latchkey'
const required = createRequire(import.meta.url)('latchkey/client')
console.log(whole.LatchkeyError === LatchkeyError, required.LatchkeyError === LatchkeyError)`
    await writeAll({ 'same.mjs': text })
    expect(await run(folder, process.execPath, 'same.mjs')).toBe('true true\n')
  })

  it('is bundled for a page in 40 KB, gzipped, and signs there', async () => {
    const text = `import { createClient, privateKeySigner } from 'latchkey/client'
globalThis.signer = privateKeySigner('${'12'.repeat(32)}01', 'testnet')
globalThis.client = createClient({ baseUrl: 'https://dex.example', signer })
console.log((await signer.signMessage('hello', 'testnet')).signature)`
    await writeAll({ 'page.mjs': text })
    const { outputFiles, metafile } = await build({
      entryPoints: [join(folder, 'page.mjs')],
      bundle: true,
      minify: true,
      format: 'esm',
      platform: 'browser',
      write: false,
      metafile: true,
      external: ['./wallet-events.js'], // Loaded by a page that follows a wallet.
      outfile: join(folder, 'bundle.mjs'),
    })
    const bundle = outputFiles[0]?.contents ?? new Uint8Array()
    const bytes = gzipSync(bundle).length
    console.log(`bundled: ${bundle.length} bytes, ${bytes} gzipped`)
    expect(bytes).toBeLessThanOrEqual(MAX_BUNDLE_BYTES)
    expect(Object.keys(metafile.inputs).filter((file) => /\/cli\//.test(file))).toEqual([])
    await writeFile(join(folder, 'bundle.mjs'), bundle)
    const privateKey = `${'12'.repeat(32)}01`
    expect(await run(folder, process.execPath, 'bundle.mjs')).toBe(
      `${signMessage({ message: 'hello', privateKey })}\n`,
    )
  })

  it('has nothing that publint would change', async () => {
    await run(folder, tool('publint'), tarball, '--strict')
  })

  it('has types that resolve everywhere; an old CommonJS may only import it dynamically', async () => {
    await run(folder, tool('attw'), tarball, '--ignore-rules', 'cjs-resolves-to-esm', '--no-emoji')
  })
})

describe('The types of the package', () => {
  const options = {
    target: 'ES2022',
    lib: ['ES2022', 'DOM'],
    types: [],
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    jsx: 'react-jsx',
  }
  const mistake = `import { createClient } from 'latchkey/client'
const { keys } = createClient({ baseUrl: 'https://dex.example' })
// @ts-expect-error: permissions are a list
await keys.create({ name: 'bot', permissions: 'withdraw' })
`

  beforeAll(async () => {
    const examples = (await readExamples()).map(({ code }, at) => [`example-${at}.ts`, code])
    const components = (await readComponents()).map(({ code }, at) => [`component-${at}.tsx`, code])
    // React is the application's: here, its types.
    await mkdir(join(folder, 'node_modules/@types'), { recursive: true })
    await symlink(
      join(ROOT, 'node_modules/@types/react'),
      join(folder, 'node_modules/@types/react'),
    )
    await writeAll({
      ...Object.fromEntries(examples),
      ...Object.fromEntries(components),
      'mistake.ts': mistake,
      'surroundings.d.ts': SURROUNDINGS,
      'required.cts': `import { createClient } from 'latchkey/client'\ncreateClient({ baseUrl: '' })\n`,
    })
  })

  it.each([
    ['node16', { module: 'node16', moduleResolution: 'node16' }, ['*.ts', '*.tsx']],
    ['nodenext, and required', { module: 'nodenext' }, ['*.ts', '*.tsx', '*.cts']],
    ['bundler', { module: 'esnext', moduleResolution: 'bundler' }, ['*.ts', '*.tsx']],
  ])('fit its documentation and catch a mistake: %s', async (_, module, include) => {
    const compilerOptions = { ...options, ...module }
    await writeAll({ 'tsconfig.json': JSON.stringify({ compilerOptions, include }) })
    await run(folder, tool('tsc'), '-p', '.')
  })
})

describe('The command of the package', () => {
  let service: Service
  beforeAll(async () => {
    service = await startService()
  }, 60_000)
  afterAll(() => service?.stop())

  const latchkey = (...args: string[]) => run(folder, 'npx', '--no-install', 'latchkey', ...args)

  it('says its version', async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
    expect(await latchkey('--version')).toBe(`${version}\n`)
  })

  it('asks a service what it is', async () => {
    const told = JSON.parse(await latchkey('info', '--json', '--url', service.url))
    expect(told).toMatchObject({
      network: 'devnet',
      scopes: ['create', 'execute', 'cancel', 'read'],
    })
  })
})
