import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { globSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, createClient, privateKeySigner } from '../../src/client/index.ts'
import { COMMITTED_ROUTER, INPUT_TOKEN } from '../../src/devnet/constants.ts'
import { blocksIn, commandsIn, curlIn, tableOf, wordsOf } from '../architecture/pages.ts'
import { type Service, startService } from '../support/server.ts'
import { freshDatabase } from '../support/service.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const PAGES = ['README.md', 'src/devnet/README.md', ...globSync('docs/*.md', { cwd: ROOT }).sort()]
/** Where a service and its devnet are by default. */
const LOCAL = 'http://127.0.0.1:8787'
const LOCAL_DEVNET = 'http://127.0.0.1:8788'
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const { scripts, exports } = JSON.parse(read('package.json')) as Record<
  'scripts' | 'exports',
  Record<string, string>
>
const run = promisify(execFile)

const folder = mkdtempSync(join(tmpdir(), 'latchkey-docs-'))
const PRIVATE_KEY = newPrivateKey()
let service: Service
let owner: Client
beforeAll(async () => {
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  service = await startService()
  owner = ownerOf(PRIVATE_KEY)
}, 60_000)
afterAll(async () => {
  await service?.stop()
  rmSync(folder, { recursive: true, force: true })
})

function newPrivateKey(): string {
  return `${randomBytes(32).toString('hex')}01`
}

function ownerOf(privateKey: string): Client {
  return createClient({ baseUrl: service.url, signer: privateKeySigner(privateKey, 'devnet') })
}

describe('the TypeScript of the pages', () => {
  const programs = PAGES.flatMap((page) =>
    programsIn(read(page)).map((code, at) => {
      const name = `${page.replaceAll(/\W/g, '-')}-${at + 1}`
      return { name, file: join(folder, `${name}.ts`), code }
    }),
  )

  beforeAll(() => {
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
    writeFileSync(join(folder, 'connect.ts'), browserWallet(PRIVATE_KEY))
    for (const { file, code } of programs)
      writeFileSync(
        file,
        code
          .replaceAll(
            /'latchkey\/([\w/]+)'/g,
            (_, entry) => `'${join(ROOT, exports[`./${entry}`] ?? entry)}'`,
          )
          .replaceAll("'@stacks/connect'", "'./connect.ts'")
          .replaceAll(LOCAL, service.url),
      )
    const compilerOptions = { types: ['node'] }
    const config = { extends: join(ROOT, 'tsconfig.json'), compilerOptions, include: ['*.ts'] }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ ...config, exclude: [] }))
  })

  it('is found', () => {
    expect(programs.map(({ name }) => name)).toContain('README-md-1')
    expect(programs.length).toBeGreaterThan(4)
  })

  it('compiles', async () => {
    const tsc = join(ROOT, 'node_modules/.bin/tsc')
    const faults = await run(tsc, ['-p', '.'], { cwd: folder }).then(
      () => '',
      ({ stdout }) => stdout,
    )
    expect(faults).toBe('')
  })

  it.each(programs)('runs: $name', async ({ file }) => {
    const { stdout } = await run(process.execPath, [file], {
      cwd: folder,
      env: { PATH: process.env.PATH, WALLET_PRIVATE_KEY: PRIVATE_KEY },
    })
    expect(stdout).not.toBe('')
    expect(stdout).not.toMatch(/undefined|NaN|ck_live_/)
  })
})

describe('the shell of the pages', () => {
  const commands = PAGES.flatMap((page) =>
    blocksIn(read(page))
      .filter(({ language }) => language === 'sh')
      .flatMap(commandsIn)
      .map((command) => ({ page, command })),
  )
  const those = (test: (command: string) => boolean) => commands.filter((one) => test(one.command))

  it('is of kinds that are run here, or elsewhere, or need an account', () => {
    expect(those((command) => !isKnown(command))).toEqual([])
  })

  it.each(
    those((command) => /^http:\/\/127\.0\.0\.1:/.test(curlIn(command)?.url ?? '')),
  )('gets a response to: $command', async ({ command }) => {
    const { apiKey, uuid } = await grantAndOrder(owner)
    const { url, method, headers, body } = curlIn(
      command.replaceAll('$LATCHKEY_API_KEY', apiKey).replaceAll('$UUID', uuid),
    ) ?? { url: '', method: '', headers: {}, body: undefined }
    const init = { method, headers, ...(body !== undefined && { body }) }
    const { stacksApiUrl = '' } = (await owner.info()).devnet ?? {}
    const target = url.replace(LOCAL, service.url).replace(LOCAL_DEVNET, stacksApiUrl)
    const response = await fetch(target, init)
    expect([response.status, await response.text()]).toEqual([200, expect.any(String)])
  })

  it('runs latchkey from the first command to the last', async () => {
    const lines = those((command) => command.startsWith('npm run -s latchkey '))
    expect(lines.length).toBeGreaterThan(5)
    for (const { command } of lines) {
      const filled = await fillIn(command)
      const words = wordsOf(filled.replace('npm run -s latchkey ', '')).filter(
        (word) => word !== '--',
      )
      expect([command, await latchkey(...words)]).toEqual([command, expect.any(String)])
    }
  }, 120_000)

  it('runs latchkey-admin', async () => {
    const { address } = privateKeySigner(PRIVATE_KEY, 'devnet')
    const env = {
      PATH: process.env.PATH,
      DATABASE_URL: await freshDatabase('Postgres'),
      ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      OPERATOR_PRIVATE_KEY: PRIVATE_KEY,
      STACKS_API_URL: (await owner.info()).devnet?.stacksApiUrl,
    }
    const lines = those((command) => command.startsWith('npm run latchkey-admin '))
    expect(lines.length).toBeGreaterThan(3)
    for (const { command } of lines) {
      const words = wordsOf(
        command
          .replace('npm run latchkey-admin ', '')
          .replace('ADDRESS', address)
          .replace('ROUTER', COMMITTED_ROUTER)
          .replace('/var/lib/latchkey-archives', join(folder, 'archives'))
          .replace('TOKEN', INPUT_TOKEN),
      )
      const args = words.filter((word) => word !== '--')
      const options = { env, cwd: folder }
      const admin = run(process.execPath, [entryOf('latchkey-admin'), ...args], options)
      expect([command, (await admin).stderr]).toEqual([command, ''])
    }
  }, 300_000)

  it('names in docs/cli.md every command of latchkey, and lists no other', async () => {
    const commands = [...(await latchkey('help')).matchAll(/^ {2}([a-z][a-z-]*( [a-z-]+)*)(?= )/gm)]
      .map(([, name = '']) => name)
      .filter((name) => name !== 'help' && !name.startsWith('latchkey'))
    expect(commands).toContain('keys create')
    const page = read('docs/cli.md').split('## The operator')[0] ?? ''
    expect(commands.filter((name) => !page.includes(`\`${name}`))).toEqual([])
    const listed = tableOf(page, 'command').rows.map(([command]) => command ?? '')
    const names = listed.map((command) => command.replace(/ [A-Z_]+$/, ''))
    expect(names.filter((name) => !commands.includes(name))).toEqual([])
  })

  /** Puts what exists into the places that a reader fills in. */
  async function fillIn(command: string): Promise<string> {
    if (!/\b(UUID|KEY_ID|INPUT_TOKEN)\b/.test(command)) return command
    const client = ownerOf(readFileSync(join(folder, 'wallet.key'), 'utf8').trim())
    const { devnet } = await client.info()
    const [key] = await client.keys.list()
    const audit = await client.audit.export()
    if (command.includes('orders create')) await client.devnet.faucet(audit.walletAddress)
    const page = await client.orders.list(
      { owner: audit.walletAddress, limit: 1 },
      { auth: 'signature' },
    )
    return command
      .replaceAll('INPUT_TOKEN', devnet?.inputToken ?? '')
      .replaceAll('OUTPUT_TOKEN', devnet?.outputToken ?? '')
      .replaceAll('KEY_ID', key?.keyId ?? '')
      .replaceAll('UUID', page.orders[0]?.uuid ?? '')
  }

  async function latchkey(...args: string[]): Promise<string> {
    const env = { PATH: process.env.PATH, LATCHKEY_URL: service.url }
    const options = { cwd: folder, env }
    return (await run(process.execPath, [entryOf('latchkey'), ...args], options)).stdout
  }
})

/** The file that an npm script runs with Node. */
function entryOf(script: string): string {
  return join(ROOT, /src\/\S+\.ts/.exec(scripts[script] ?? '')?.[0] ?? '')
}

/**
 * The programs of a page. A block that imports a client or a signer begins one; the blocks after it go on with what it
 * has declared.
 */
function programsIn(page: string): string[] {
  const programs: string[] = []
  for (const { language, code } of blocksIn(page)) {
    if (language !== 'ts') continue
    const isBeginning = /^import .*\b(createClient|privateKeySigner|walletSigner)\b/m.test(code)
    if (isBeginning || programs.length === 0) programs.push(code)
    else programs.push(`${programs.pop()}\n${code}`)
  }
  return programs
}

/** What @stacks/connect shows of a wallet's extension, of which there is none in Node. */
function browserWallet(privateKey: string): string {
  const { address } = privateKeySigner(privateKey, 'devnet')
  return `import { signMessage } from '${join(ROOT, 'src/stacks/sign.ts')}'
export async function request(method: string, params: { message: string }) {
  if (method === 'getAddresses') return { addresses: [{ address: '${address}' }] }
  return { signature: signMessage({ message: params.message, privateKey: '${privateKey}' }) }
}
`
}

async function grantAndOrder(client: Client): Promise<{ apiKey: string; uuid: string }> {
  await client.keys.revokeAll(false)
  const { inputToken = '', outputToken = '' } = (await client.info()).devnet ?? {}
  await client.devnet.faucet(privateKeySigner(PRIVATE_KEY, 'devnet').address)
  const permissions = ['create', 'execute', 'cancel'] as const
  const name = randomBytes(8).toString('hex')
  const { apiKey } = await client.keys.create({ name, permissions })
  const { uuid = '' } = await client.orders.create({ inputToken, outputToken, amountIn: '1000000' })
  return { apiKey, uuid }
}

/**
 * Kinds of commands: run here; run by tests of their own, as backups by test/node/backup.test.ts and the examples of the wire by
 * test/docs/wire.test.ts; or in need of Docker, of a Cloudflare account or of another database.
 */
const KINDS = [
  /^npm (ci|start|test)$/,
  /^npm run (-s )?[\w:-]+( .*)?$/,
  /^curl .*$/,
  /^npx wrangler .*$/,
  /^openssl rand -base64 32$/,
  /^export WALLET_PRIVATE_KEY=\$\(openssl rand -hex 32\)01$/,
  /^(python3|bash|npx node) examples\/[\w/.-]+$/,
  /^(pg_dump|pg_restore|cp -a) .*$/,
  /^(cd deploy|cat \.env\.example \.\.\/\.env\.example > \.env|docker compose .*)$/,
]

function isKnown(command: string): boolean {
  const bare = command.replace(/^([A-Z][A-Z_]*=\S+ )+/, '')
  return bare.split(/ && | \| /).every((part) => KINDS.some((kind) => kind.test(part)))
}
