import { execFile } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClient, generateSigningKey, privateKeySigner } from '../../src/client/index.ts'
import { type Service, startService } from '../support/server.ts'
import { readExamples, SURROUNDINGS } from './examples.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const STACKS = new URL('../../src/stacks/sign.ts', import.meta.url).href
const run = promisify(execFile)

/** A clone without dist/: its manifest, its sources and what the client depends on. */
let clone: string
let service: Service
beforeAll(async () => {
  clone = await mkdtemp(join(tmpdir(), 'latchkey-clone-'))
  await copyFile(join(ROOT, 'package.json'), join(clone, 'package.json'))
  await mkdir(join(clone, 'node_modules'))
  for (const part of ['src', 'node_modules/@noble', 'node_modules/eventsource-parser'])
    await symlink(join(ROOT, part), join(clone, part))
  service = await startService()
}, 60_000)
afterAll(async () => {
  await service?.stop()
  await rm(clone, { recursive: true, force: true })
})

/** @stacks/connect, as far as a message goes: its wallet has one account and says yes. */
async function installConnect(address: string, privateKey: string): Promise<void> {
  const folder = join(clone, 'node_modules/@stacks/connect')
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'package.json'), '{"type":"module","exports":"./index.js"}')
  await writeFile(
    join(folder, 'index.js'),
    `import { signMessage } from '${STACKS}'
export async function request(method, params) {
  if (method === 'getAddresses') return { addresses: [{ address: '${address}', publicKey: '' }] }
  return { signature: signMessage({ message: params.message, privateKey: '${privateKey}' }), publicKey: '' }
}
`,
  )
}

describe('Every example of README and of the client, in a clone that was not built,', async () => {
  const examples = await readExamples()

  it('is found', () => {
    expect(examples.filter(({ name }) => name.startsWith('README.md')).length).toBeGreaterThan(1)
    expect(examples.length).toBeGreaterThan(25)
  })

  it('compiles', async () => {
    for (const [index, { code }] of examples.entries())
      await writeFile(join(clone, `example-${index}.ts`), code)
    await writeFile(join(clone, 'surroundings.d.ts'), SURROUNDINGS)
    const tsconfig = { extends: join(ROOT, 'tsconfig.json'), include: ['*.ts'], exclude: [] }
    const compilerOptions = { noUnusedLocals: false }
    await writeFile(join(clone, 'tsconfig.json'), JSON.stringify({ ...tsconfig, compilerOptions }))
    const tsc = join(ROOT, 'node_modules/.bin/tsc')
    const { stdout } = await run(tsc, ['-p', clone]).catch((error) => error)
    expect(stdout).toBe('')
  })

  it.each(examples)('runs: $name', async ({ code }) => {
    const privateKey = `${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')}01`
    const signer = privateKeySigner(privateKey, 'devnet')
    const owner = createClient({ baseUrl: service.url, signer })
    await owner.devnet.faucet(signer.address)
    const permissions = ['create', 'execute', 'cancel', 'read'] as const
    const { apiKey, keyId } = await owner.keys.create({ name: 'Of the example', permissions })
    const { publicKey, privateKey: signingKey } = await generateSigningKey()
    const signs = await owner.keys.create({ name: 'Named by the test', permissions, publicKey })
    const grant = { name: 'Named by the test too', permissions, requireSignature: true }
    const signsBySecret = await owner.keys.create(grant)
    const { devnet: { inputToken = '', outputToken = '' } = {} } = await owner.info()
    const { uuid = '' } = await owner.orders.create({
      inputToken,
      outputToken,
      amountIn: '1000000',
    })

    await installConnect(signer.address, privateKey)
    const example = join(clone, 'example.ts')
    await writeFile(
      example,
      code
        .replaceAll(/https:\/\/dex\.example|http:\/\/127\.0\.0\.1:8787/g, service.url)
        .replaceAll('7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162', uuid)
        .replaceAll('key_4Yc1xQ7mB2', signs.keyId)
        .replaceAll('key_8Zd2yR3nC4', signsBySecret.keyId)
        .replaceAll('key_123abc', keyId),
    )
    const { stdout } = await run(process.execPath, [example], {
      cwd: clone,
      env: {
        PATH: process.env.PATH,
        WALLET_PRIVATE_KEY: privateKey,
        LATCHKEY_API_KEY: apiKey,
        SIGNING_KEY: signingKey,
        API_KEY: signsBySecret.apiKey,
      },
    })
    expect(stdout).not.toBe('')
    expect(stdout).not.toMatch(/undefined|NaN|ck_live_\w{20}/)
  })
})
