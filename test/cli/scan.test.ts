import { spawnSync } from 'node:child_process'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findSecrets } from '../../src/client/index.ts'
import { ROOT } from '../node/entry.ts'
import { unknownSecret } from '../support/secrets.ts'
import { type Service, startService } from '../support/server.ts'
import { unknownCredential } from '../support/service-credentials.ts'
import { latchkey, temporaryFolder } from './latchkey.ts'

const folder = temporaryFolder()
const scan = async (path: string, more = '') => {
  const { exitCode, out } = await latchkey(`scan ${path} ${more} --json`)
  return { exitCode, found: JSON.parse(out).found as { file: string; line: number; key: string }[] }
}

describe('scan', () => {
  it('finds a key by its checksum, in text, binary and UTF-16, across the pieces that a file is read in', async () => {
    const secret = unknownSecret()
    const key = `${secret.slice(0, 12)}...${secret.slice(-4)}`
    const tree = join(folder, 'tree')
    mkdirSync(join(tree, 'deep', '.git'), { recursive: true })
    writeFileSync(join(tree, 'a.env'), `A=1\nLATCHKEY_API_KEY=${secret}\n`)
    writeFileSync(
      join(tree, 'b.bin'),
      Buffer.concat([Buffer.from([0, 255, 10, 254]), Buffer.from(secret), Buffer.from([0])]),
    )
    writeFileSync(join(tree, 'c.txt'), Buffer.from(`\ufeffx\r\n${secret}`, 'utf16le'))
    writeFileSync(
      join(tree, 'deep', 'near.txt'),
      `ck_live_${'a'.repeat(49)} ${secret.slice(0, -1)}\n`,
    )
    writeFileSync(join(tree, 'deep', '.git', 'packed'), secret)
    symlinkSync(join(tree, 'a.env'), join(tree, 'link'))
    symlinkSync(tree, join(tree, 'deep', 'loop'))
    const pieces = 1_048_576
    for (const [at, name] of [-57, -30, -1, 0, 1].map((at) => [at, `e${at}.log`] as const))
      writeFileSync(join(tree, 'deep', name), `${'\n'.repeat(pieces + at)}${secret}${secret}`)
    const { exitCode, found } = await scan(tree)
    expect(exitCode).toBe(1)
    expect(found.map((one) => [one.file.slice(tree.length + 1), one.line, one.key])).toEqual([
      ['a.env', 2, key],
      ['b.bin', 2, key],
      ['c.txt', 2, key],
      ...[-1, -30, -57, 0, 1].flatMap((at) => [
        [`deep/e${at}.log`, pieces + at + 1, key],
        [`deep/e${at}.log`, pieces + at + 1, key],
      ]),
    ])
    expect(JSON.stringify(found)).not.toContain(secret)
  })

  it('finds a service credential as well, which the operator alone revokes', async () => {
    const secret = unknownCredential()
    const file = join(folder, 'proxy.env')
    writeFileSync(file, `A=1\nCREDENTIAL=${secret}\n`)
    const key = `ck_service_${secret.slice(11, 15)}...${secret.slice(-4)}`
    expect(await scan(file)).toEqual({ exitCode: 1, found: [{ file, line: 2, key }] })
    const { exitCode, out } = await latchkey(`scan ${file} --revoke --yes`)
    expect([exitCode, out]).toEqual([1, expect.stringContaining('ask the operator')])
  })

  it('finds nothing in this repository but what its tests hold on purpose', async () => {
    for (const part of ['src', 'docs', 'examples', 'README.md'])
      expect(await scan(join(ROOT, part))).toEqual({ exitCode: 0, found: [] })
  })

  it('reads standard input, as of git log -p', () => {
    const secret = unknownSecret()
    const ran = spawnSync(process.execPath, [join(ROOT, 'src/cli/main.ts'), 'scan', '-'], {
      input: `+++ b/.env\n+KEY=${secret}\n`,
      encoding: 'utf8',
    })
    expect(ran.status).toBe(1)
    expect(ran.stdout).toMatch(/^file +line +key\n- +2 +ck_live_/)
    expect(ran.stdout).not.toContain(secret)
  })

  it('refuses what it cannot read, in place of calling it clean', async () => {
    const { exitCode, err } = await latchkey(`scan ${join(folder, 'absent')}`)
    expect(exitCode).toBe(2)
    expect(err).toMatch(/absent cannot be read/)
    expect((await latchkey('scan --prefix a/b .')).exitCode).toBe(2)
  })

  it('has the same eyes in the SDK', () => {
    const secret = unknownSecret()
    expect(findSecrets('ck_live_', `${secret},ck_live_${secret}`)).toEqual([
      { secret, at: 0 },
      { secret, at: secret.length + 9 },
    ])
    expect(findSecrets('xk_', secret)).toEqual([])
  })
})

describe('scan --revoke', () => {
  let service: Service
  beforeAll(async () => {
    service = await startService()
  }, 180_000)
  afterAll(() => service?.stop())

  it('revokes each key with its own secret, and says of each what became of it', async () => {
    const keyFile = join(folder, 'wallet.key')
    await latchkey(`wallet new --key-file ${keyFile}`)
    const env = { LATCHKEY_URL: service.url, LATCHKEY_KEY_FILE: keyFile }
    const saved = join(folder, 'bot.key')
    await latchkey(`keys create --name bot --permissions execute --save ${saved}`, env)
    const line = `scan ${saved} --revoke`
    expect((await latchkey(line, env)).exitCode).toBe(2)
    expect((await latchkey(`me --api-key-file ${saved}`, env)).exitCode).toBe(0)
    const ran = await latchkey(`${line} --yes`, env)
    expect(ran.out).toMatch(/revoked/)
    expect(ran.exitCode).toBe(0)
    const again = await latchkey(`${line} --yes`, env)
    expect(again.out).toMatch(/API_KEY_INACTIVE/)
    expect(again.exitCode).toBe(1)
  })
})
