import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify, stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { run } from '../../src/cli/run.ts'
import { createClient } from '../../src/client/index.ts'
import { type Service, startService } from '../support/server.ts'

const PRIVATE_KEY = '1cf4469c146ca09479758b592ec41826e35e3ebbc127a568826a21d752d1abe701'
const API_KEY = `ck_live_${'k'.repeat(43)}${'c'.repeat(6)}`
const NOWHERE = 'http://127.0.0.1:65531'

const folder = mkdtempSync(join(tmpdir(), 'latchkey-cli-'))
afterAll(() => rmSync(folder, { recursive: true }))

async function latchkey(
  line: string | string[],
  env: Record<string, string> = {},
  isColourful = false,
) {
  let [out, err] = ['', '']
  const exitCode = await run({
    args: typeof line === 'string' ? line.split(' ').filter((arg) => arg !== '') : line,
    env,
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
    isColourful,
  })
  return { exitCode, out, err }
}

describe('The command line', () => {
  it('shows what there is, when asked and when given nothing', async () => {
    const { exitCode, out } = await latchkey('help')
    expect(exitCode).toBe(0)
    for (const command of ['keys create', 'orders execute UUID', 'wallet new', 'demo'])
      expect(out).toContain(command)
    expect(out).toContain('Exit codes: 0 done, 1 refused')
    expect((await latchkey('')).out).toBe(out)
    expect((await latchkey('--help')).out).toBe(out)
  })

  it('shows the options of a command', async () => {
    const { out } = await latchkey('help orders create')
    expect(out).toContain('--input-token VALUE')
    expect((await latchkey('orders create --help')).out).toBe(out)
  })

  it('shows the version of the package', async () => {
    const file = new URL('../../package.json', import.meta.url)
    const { version } = JSON.parse(readFileSync(file, 'utf8'))
    expect((await latchkey('--version')).out).toBe(`${version}\n`)
  })

  it.each([
    ['a command that does not exist', 'keys paint'],
    ['a key that is not named', 'keys rotate'],
    ['a limit that is none', 'keys update key_1 --lift colour'],
    ['usage by the minute', `keys usage key_1 --by minute --url ${NOWHERE}`],
    ['an audit that is none', `audit verify ${folder}`],
    ['amounts that are no JSON', 'keys create --name b --permissions create --max-amount-in {'],
    ['amounts that are none', 'keys create --name b --permissions create --max-amount-in 5'],
    // As null, it would lift the limit that it should set.
    ['a rate that is no number', 'keys update key_1 --rate-limit fast'],
    ['a permission that is no scope', 'keys create --name b --permissions CREATE'],
    ['an option before the command', '--url http://127.0.0.1:65531 keys list'],
    ['an option that does not exist', 'keys list --colour'],
    ['an argument that is missing', 'orders execute'],
    ['an argument too many', 'orders get a b'],
    ['a key without a name', 'keys create --permissions execute'],
    ['a permission that does not exist', 'keys create --name bot --permissions withdraw'],
    ['an order without an amount', 'orders create --input-token a --output-token b'],
    ['a network that does not exist', `wallet address --network moon --key-file ${folder}/none`],
    ['a file that is not there', `keys list --key-file ${folder}/none`],
    ['a wallet that is missing', `wallet address --url ${NOWHERE}`],
    ['a signature without a wallet', `keys list --url ${NOWHERE}`],
    ['a uuid that is none', `orders get ../x --url ${NOWHERE}`],
    ['a host that would read the key', 'info --url http://dex.example'],
  ])('refuses %s, with exit code 2', async (_, line) => {
    const { exitCode, out, err } = await latchkey(line)
    expect([exitCode, out]).toEqual([2, ''])
    expect(err).toMatch(/\.\n({.*}\n)?$/)
  })

  it.each([
    ['--private-key', PRIVATE_KEY],
    [`--api-key=${API_KEY}`],
    [PRIVATE_KEY],
    [`0x${PRIVATE_KEY.slice(0, 64)}`],
    [`--key-file=${PRIVATE_KEY}`],
    ['--api-key-file', API_KEY],
  ])('refuses a secret as an argument, and does not repeat it: %#', async (...secret) => {
    const { exitCode, err } = await latchkey(['keys', 'list', ...secret])
    expect(exitCode).toBe(2)
    expect(err).toContain('A secret is never an argument')
    expect(err).not.toMatch(/1cf4469c|kkkk/)
  })

  it('says that a service cannot be reached, with exit code 3', async () => {
    const { exitCode, err } = await latchkey(`info --url ${NOWHERE}`)
    expect(exitCode).toBe(3)
    expect(err).toMatch(/^UNREACHABLE: Cannot reach http:\/\/127\.0\.0\.1:65531\/api\/v1: connect/)
  })

  it('writes an error as JSON too, when it is asked for JSON', async () => {
    const { out, err } = await latchkey(`info --json --url ${NOWHERE}`)
    expect(out).toBe('')
    expect(JSON.parse(err)).toMatchObject({ code: 'UNREACHABLE', message: expect.any(String) })
  })
})

describe('A throw-away wallet', () => {
  const path = join(folder, 'wallet.key')

  it('is a new file that only its owner can read, and its key is not shown', async () => {
    const { exitCode, out } = await latchkey(`wallet new --json --key-file ${path}`)
    expect(exitCode).toBe(0)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const key = readFileSync(path, 'utf8').trim()
    expect(key).toMatch(/^[0-9a-f]{64}01$/)
    expect(out).not.toContain(key)
    const { addresses } = JSON.parse(out)
    for (const [network, address] of Object.entries(addresses)) {
      const shown = await latchkey(`wallet address --network ${network} --key-file ${path}`)
      expect(shown.out).toBe(`${address}\n`)
    }
  })

  it('never replaces a file', async () => {
    const before = readFileSync(path, 'utf8')
    const { exitCode, err } = await latchkey(`wallet new --key-file ${path}`)
    expect(exitCode).toBe(2)
    expect(err).toContain('it exists already')
    expect(readFileSync(path, 'utf8')).toBe(before)
  })

  it('whose file others can read is pointed out', async () => {
    const open = join(folder, 'open.key')
    writeFileSync(open, PRIVATE_KEY, { mode: 0o644 })
    const { exitCode, err } = await latchkey(`wallet address --network devnet --key-file ${open}`)
    expect(exitCode).toBe(0)
    expect(err).toContain(`chmod 600 ${open}`)
  })
})

describe('Against the service itself', () => {
  let service: Service
  let wallet: Record<string, string>
  let tokens: { inputToken: string; outputToken: string }
  beforeAll(async () => {
    service = await startService()
    const path = join(folder, 'service.key')
    await latchkey(`wallet new --key-file ${path}`)
    wallet = { LATCHKEY_URL: service.url, LATCHKEY_PRIVATE_KEY: readFileSync(path, 'utf8').trim() }
    tokens = (await json('info', wallet)).devnet
  }, 60_000)
  afterAll(() => service?.stop())

  async function json(line: string, env: Record<string, string>) {
    const { exitCode, out, err } = await latchkey(`${line} --json`, env)
    expect([exitCode, err]).toEqual([0, ''])
    return JSON.parse(out)
  }

  const newOrder = () =>
    `orders create --input-token ${tokens.inputToken} --output-token ${tokens.outputToken} --amount-in 1000`

  it('creates a key, shows it in lists without its secret, and revokes it', async () => {
    const permissions = '--permissions execute,cancel'
    const created = await json(`keys create --name bot-1 ${permissions}`, wallet)
    expect(created.apiKey).toMatch(/^ck_live_/)
    const listed = await latchkey('keys list', wallet)
    expect(listed.out).toMatch(/^id +name +key +status +permissions +requests/)
    expect(listed.out).toMatch(new RegExp(`${created.keyId} +bot-1 .* active +execute,cancel +0`))
    expect(listed.out).not.toContain(created.apiKey)
    expect(await json(`keys get ${created.keyId}`, wallet)).toMatchObject({ name: 'bot-1' })
    const revoked = await latchkey(`keys delete ${created.keyId}`, wallet)
    expect(revoked.out).toBe("API key 'bot-1' has been revoked\n")
    expect((await latchkey(`keys get ${created.keyId}`, wallet)).out).toMatch(/status +revoked/)
  })

  it('saves the secret of a key into a new file, and shows it nowhere', async () => {
    const path = join(folder, 'bot.key')
    const line = `keys create --name bot-2 --permissions execute --save ${path}`
    const { exitCode, out } = await latchkey(line, wallet)
    expect(exitCode).toBe(0)
    const apiKey = readFileSync(path, 'utf8').trim()
    expect(apiKey).toMatch(/^ck_live_/)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(out).not.toContain(apiKey)
    const { uuid } = await json(newOrder(), wallet)
    const bot = { LATCHKEY_URL: service.url }
    const refused = await latchkey(`orders cancel ${uuid} --api-key-file ${path}`, bot)
    expect(refused.exitCode).toBe(1)
    expect(refused.err).toMatch(/^PERMISSION_DENIED: /)
  })

  it('goes with a key through its life, and proves it from files alone', async () => {
    const at = (name: string) => join(folder, `life.${name}`)
    const bot = (file: string) => ({
      line: (command: string) => `${command} --api-key-file ${at(file)}`,
      env: { LATCHKEY_URL: service.url },
    })
    const own = `wallet new --key-file ${at('wallet')}`
    expect((await latchkey(own)).exitCode).toBe(0)
    const owner = {
      LATCHKEY_URL: service.url,
      LATCHKEY_PRIVATE_KEY: readFileSync(at('wallet'), 'utf8').trim(),
    }
    const { inputToken, outputToken } = tokens
    const { keyId } = JSON.parse(
      (
        await latchkey(
          [
            ...['keys', 'create', '--name', 'bot', '--permissions', 'create,execute', '--json'],
            ...['--tokens', `${inputToken},${outputToken}`, '--rate-limit', '60'],
            ...['--max-amount-in', JSON.stringify({ [inputToken]: { perOrder: '1000' } })],
            ...['--ip-allowlist', '127.0.0.1', '--own-orders-only', '--save', at('one')],
            ...['--max-open-orders', '5'],
          ],
          owner,
        )
      ).out,
    )
    const beyond = newOrder().replace(/1000$/, '1001')
    const refused = await latchkey(bot('one').line(beyond), owner)
    expect(refused.err).toMatch(/^KEY_LIMIT_EXCEEDED: .*\n.*"allowed":"1000"/)
    await json(bot('one').line(newOrder()), owner)

    await latchkey(`keys certificate ${keyId} --out ${at('end')}`, owner)
    expect(statSync(at('end')).mode & 0o777).toBe(0o600)
    await latchkey(`keys rotate ${keyId} --grace-seconds 60 --save ${at('two')}`, owner)
    for (const file of ['one', 'two']) {
      const { line, env } = bot(file)
      const limits = { ownOrdersOnly: true, maxOpenOrders: 5 }
      expect(await json(line('me'), env)).toMatchObject({ keyId, limits })
    }
    const lifted = await json(
      `keys update ${keyId} --lift rate-limit,own-orders-only,max-open-orders`,
      owner,
    )
    expect(lifted).toMatchObject({ rateLimit: 100 })
    expect(lifted).not.toHaveProperty('maxOpenOrders')
    expect((await latchkey(`keys suspend ${keyId}`, owner)).out).toMatch(/status +suspended/)
    expect((await latchkey(`keys resume ${keyId}`, owner)).out).toMatch(/status +active/)
    const usage = await latchkey(`keys usage ${keyId} --by hour`, owner)
    expect(usage.out).toMatch(/OK \d+/)
    expect(usage.out).toMatch(/^127\.0\.0\.1 +\d+ /m)

    await latchkey(`audit export --out ${at('before')}`, owner)
    const ended = await latchkey(`keys use-certificate ${at('end')}`, { LATCHKEY_URL: service.url })
    expect(ended.out).toBe("API key 'bot' has been revoked\n")
    const all = await latchkey('keys revoke-all --cancel-open-orders', owner)
    expect(all.out).toMatch(/^revoked +no key\ncancelledOrders +1\n$/)
    await latchkey(`audit export --out ${at('after')}`, owner)
    const verify = (line: string) => latchkey(`audit verify ${line}`)
    const proven = await verify(`${at('after')} --older ${at('before')}`)
    expect(proven.out).toMatch(/^wallet +ST\w+\nok +true\nevents +8\n/)
    expect(proven.exitCode).toBe(0)
    expect((await verify(`${at('before')} --older ${at('after')}`)).exitCode).toBe(1)
    writeFileSync(at('edited'), readFileSync(at('after'), 'utf8').replace('60', '90'))
    expect((await verify(at('edited'))).exitCode).toBe(1)
  })

  it('leaves no file behind when the key is refused', async () => {
    const path = join(folder, 'refused.key')
    const line = `keys create --name bot-3 --permissions execute --expires-at 2020-01-01T00:00:00Z`
    expect((await latchkey(`${line} --save ${path}`, wallet)).exitCode).toBe(1)
    expect(() => statSync(path)).toThrow()
  })

  it('places, shows, lists, cancels and executes orders', async () => {
    const first = await json(newOrder(), wallet)
    const second = await json(newOrder(), wallet)
    expect(await json(`orders get ${first.uuid}`, wallet)).toEqual(first)
    const mine = await json('orders list --mine --status open --limit 2', wallet)
    expect(mine.orders.map(({ uuid }: { uuid: string }) => uuid)).toEqual([second.uuid, first.uuid])
    expect(await json(`orders cancel ${first.uuid}`, wallet)).toMatchObject({ status: 'cancelled' })
    const { apiKey } = await json('keys create --name bot-4 --permissions execute', wallet)
    const bot = { LATCHKEY_URL: service.url, LATCHKEY_API_KEY: apiKey }
    expect(await json(`orders execute ${second.uuid}`, bot)).toMatchObject({
      txid: expect.any(String),
    })
  })

  it('waits for an order, and tells how it goes: to a log in plain lines, to a person in shorter ones', async () => {
    const { address } = await json('wallet address', wallet)
    await createClient({ baseUrl: service.url }).devnet.faucet(address)
    const { uuid } = await json(newOrder(), wallet)
    const plain = await latchkey(`orders execute ${uuid} --wait --timeout 60`, wallet)
    expect(plain.exitCode).toBe(0)
    expect(plain.out).toMatch(/^status +confirmed$/m)
    const lines = plain.err.trimEnd().split('\n')
    for (const line of lines) expect(line).toMatch(new RegExp(`^2\\S+Z order ${uuid} \\w+`))
    expect(lines.at(-1)).toMatch(/ confirmed block \d+, paid \d+$/)
    const pretty = await latchkey(`orders wait ${uuid}`, wallet, true)
    expect(stripVTControlCharacters(pretty.err)).toMatch(
      /^✓ confirmed +0\.\d s {2}block \d+, paid \d+\n$/,
    )
    expect(pretty.err).not.toBe(stripVTControlCharacters(pretty.err))
    expect(await json(`orders wait ${uuid}`, wallet)).toMatchObject({ uuid, status: 'confirmed' })
  })

  it('waits no longer than it was told, and not for what has ended otherwise', async () => {
    const { uuid } = await json(newOrder(), wallet)
    const late = await latchkey(`orders wait ${uuid} --timeout 1`, wallet)
    expect(late.exitCode).toBe(3)
    expect(late.err).toMatch(/\nTIMEOUT: The order is open after 1 s/)
    await json(`orders cancel ${uuid}`, wallet)
    const ended = await latchkey(`orders wait ${uuid}`, wallet)
    expect([ended.exitCode, ended.out]).toEqual([1, ''])
    expect(ended.err).toMatch(/\nORDER_NOT_SETTLED: The order is cancelled\./)
    expect((await latchkey(`orders wait ${uuid} --timeout soon`, wallet)).exitCode).toBe(2)
  })

  it('says why it was refused, and exits with 1', async () => {
    const { uuid } = await json(newOrder(), wallet)
    await json(`orders cancel ${uuid}`, wallet)
    const { exitCode, out, err } = await latchkey(`orders execute ${uuid}`, wallet)
    expect([exitCode, out]).toEqual([1, ''])
    expect(err).toMatch(/^ORDER_NOT_OPEN: Order not open\. .*\n\{"status":"cancelled"\}\nrequest /)
  })

  it('signs for the network that was agreed, and no other', async () => {
    const { exitCode, err } = await latchkey('keys list --network mainnet', wallet)
    expect(exitCode).toBe(2)
    expect(err).toMatch(/^WRONG_NETWORK/)
  })

  it('tells the whole story, and shows no secret', async () => {
    const { exitCode, out } = await latchkey('demo', { LATCHKEY_URL: service.url })
    expect(out).not.toContain('✗')
    expect(out.match(/^✓ /gm)).toHaveLength(13)
    expect(out).toMatch(/-1,000,000 key-token-subnet, \+[\d,]+ usd-token/)
    expect(out).not.toMatch(/ck_live_\w{20}|[0-9a-f]{64}01/)
    expect(exitCode).toBe(0)
  }, 90_000)

  it('is one process away', async () => {
    const main = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
    const { stdout } = await promisify(execFile)(process.execPath, [main, 'info', '--json'], {
      env: { PATH: process.env.PATH, LATCHKEY_URL: service.url },
    })
    expect(JSON.parse(stdout)).toMatchObject({ network: 'devnet' })
  })
})

describe('The demo', () => {
  it('says what it needs where there is no devnet', async () => {
    const info = { network: 'mainnet', version: '1.0.0' }
    let err = ''
    const exitCode = await run({
      args: ['demo', '--url', 'https://dex.example'],
      env: {},
      out: () => expect.unreachable(),
      err: (text) => {
        err += text
      },
      isColourful: false,
      fetch: async () => Response.json(info),
    })
    expect(exitCode).toBe(2)
    expect(err).toContain('the demo needs a devnet')
    expect(err).toContain('npm start')
  })
})
