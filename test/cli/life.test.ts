import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Service, startService } from '../support/server.ts'
import { latchkey, temporaryFolder } from './latchkey.ts'

const folder = temporaryFolder()
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
  const { exitCode, out } = await latchkey(`${line} --json`, env)
  expect(exitCode).toBe(0)
  return JSON.parse(out)
}

function newOrder(amount = '1000'): string {
  const { inputToken, outputToken } = tokens
  return `orders create --input-token ${inputToken} --output-token ${outputToken} --amount-in ${amount}`
}

async function newWallet(name: string): Promise<Record<string, string>> {
  const path = join(folder, name)
  await latchkey(`wallet new --key-file ${path}`)
  return { LATCHKEY_URL: service.url, LATCHKEY_KEY_FILE: path }
}

describe('keys', () => {
  it('are created, shown in lists without their secret, and revoked', async () => {
    const created = await json('keys create --name bot-1 --permissions execute,cancel', wallet)
    expect(created.apiKey).toMatch(/^ck_live_/)
    const listed = await latchkey('keys list', wallet)
    expect(listed.out).toMatch(/^id +name +key +status +permissions +requests/)
    expect(listed.out).toMatch(new RegExp(`${created.keyId} +bot-1 .* active +execute,cancel +0`))
    expect(listed.out).not.toContain(created.apiKey)
    expect(await json(`keys get ${created.keyId}`, wallet)).toMatchObject({ name: 'bot-1' })
    const revoked = await latchkey(`keys delete ${created.keyId} --yes`, wallet)
    expect(revoked.out).toBe("API key 'bot-1' has been revoked\n")
    expect((await latchkey(`keys get ${created.keyId}`, wallet)).out).toMatch(/status +revoked/)
  })

  it('are saved into a new file, which alone has the secret', async () => {
    const path = join(folder, 'bot.key')
    const line = `keys create --name bot-2 --permissions execute --save ${path}`
    const { exitCode, out } = await latchkey(line, wallet)
    expect(exitCode).toBe(0)
    const apiKey = readFileSync(path, 'utf8')
    expect(apiKey).toMatch(/^ck_live_\w+\n$/)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(out).not.toContain(apiKey.trim())
    const { uuid } = await json(newOrder(), wallet)
    const bot = { LATCHKEY_URL: service.url, LATCHKEY_API_KEY_FILE: path }
    const refused = await latchkey(`orders cancel ${uuid}`, bot)
    expect(refused.exitCode).toBe(1)
    expect(refused.err).toMatch(/^PERMISSION_DENIED: /)
  })

  it.each([
    ['before anything is sent', '--expires-at 2020-01-01T00:00:00Z', '', 2],
    ['by the service', '', '/no-such-route', 1],
  ])('that are refused %s leave no file behind', async (_, terms, route, exitCode) => {
    const path = join(folder, 'refused.key')
    const line = `keys create --name bot-3 --permissions execute ${terms} --save ${path}`
    const refused = await latchkey(line.replaceAll(/ +/g, ' '), {
      ...wallet,
      LATCHKEY_URL: `${service.url}${route}`,
    })
    expect(refused.exitCode, refused.err).toBe(exitCode)
    expect(() => statSync(path)).toThrow()
  })

  it('go through their life, and are proven from files alone', async () => {
    const at = (name: string) => join(folder, `life.${name}`)
    const owner = await newWallet('life.wallet')
    const bot = (file: string) => ({ LATCHKEY_URL: service.url, LATCHKEY_API_KEY_FILE: at(file) })
    const { inputToken, outputToken } = tokens
    const { out } = await latchkey(
      [
        ...['keys', 'create', '--name', 'bot', '--permissions', 'create,execute', '--json'],
        ...['--tokens', `${inputToken},${outputToken}`, '--rate-limit', '60'],
        ...['--max-amount-in', JSON.stringify({ [inputToken]: { perOrder: '1000' } })],
        ...['--ip-allowlist', '127.0.0.1', '--own-orders-only', '--save', at('one')],
        ...['--max-open-orders', '5'],
      ],
      owner,
    )
    const { keyId } = JSON.parse(out)
    const both = { ...owner, ...bot('one') }
    const refused = await latchkey(newOrder('1001'), both)
    expect(refused.err).toMatch(/^KEY_LIMIT_EXCEEDED: .*\n.*"allowed":"1000"/)
    await json(newOrder(), both)

    await latchkey(`keys certificate ${keyId} --out ${at('end')}`, owner)
    expect(statSync(at('end')).mode & 0o777).toBe(0o600)
    await latchkey(`keys rotate ${keyId} --grace-seconds 60 --save ${at('two')}`, owner)
    const repeated = `keys rotate ${keyId} --grace-seconds 60 --save ${at('three')}`
    expect((await latchkey(repeated, owner)).err).toMatch(/^ROTATION_IN_GRACE: /)
    for (const file of ['one', 'two'])
      expect(await json('me', bot(file))).toMatchObject({
        keyId,
        limits: { ownOrdersOnly: true, maxOpenOrders: 5 },
      })
    const lifted = await json(
      `keys update ${keyId} --lift rate-limit,own-orders-only,max-open-orders`,
      owner,
    )
    expect(lifted).toMatchObject({ rateLimit: 100 })
    for (const limit of ['ownOrdersOnly', 'maxOpenOrders']) expect(lifted).not.toHaveProperty(limit)
    expect((await latchkey(`keys suspend ${keyId}`, owner)).out).toMatch(/status +suspended/)
    expect((await latchkey(`keys resume ${keyId}`, owner)).out).toMatch(/status +active/)
    const usage = await latchkey(`keys usage ${keyId} --by hour`, owner)
    expect(usage.out).toMatch(/OK \d+/)
    expect(usage.out).toMatch(/^127\.0\.0\.1 +\d+ /m)

    await latchkey(`audit export --out ${at('before')}`, owner)
    const anyone = { LATCHKEY_URL: service.url }
    const ended = await latchkey(`keys use-certificate ${at('end')} --yes`, anyone)
    expect(ended.out).toBe("API key 'bot' has been revoked\n")
    const all = await latchkey('keys revoke-all --cancel-open-orders --yes', owner)
    expect(all.out).toMatch(/^revoked +no key\ncancelledOrders +1\n$/)
    await latchkey(`audit export --out ${at('after')}`, owner)
    const audited = JSON.parse(readFileSync(at('after'), 'utf8'))
    const proven = await latchkey(`audit verify ${at('after')} --older ${at('before')}`)
    expect(proven.out).toMatch(/^wallet +ST\w+\nok +true\nevents +8\n/)
    expect(proven.exitCode).toBe(0)
    expect((await latchkey(`audit verify ${at('before')} --older ${at('after')}`)).exitCode).toBe(1)
    const heads = `--audit-heads ${at('heads')}`
    await latchkey(`keys create --name headed --permissions execute ${heads}`, owner)
    expect(JSON.parse(readFileSync(at('heads'), 'utf8'))).toMatchObject({
      [service.url]: { [audited.walletAddress]: { sequence: 9 } },
    })
    const cut = await latchkey(`audit verify ${at('after')} ${heads}`, {
      LATCHKEY_URL: service.url,
    })
    expect([cut.exitCode, cut.out]).toEqual([1, expect.stringContaining('the head names')])
    writeFileSync(at('none'), '[]')
    const wrong = await latchkey(`keys list --audit-heads ${at('none')}`, owner)
    expect([wrong.exitCode, wrong.err]).toEqual([2, expect.stringContaining('is no file of heads')])
    writeFileSync(at('edited'), readFileSync(at('after'), 'utf8').replace('60', '90'))
    expect((await latchkey(`audit verify ${at('edited')}`)).exitCode).toBe(1)
  })

  it('send signs of life, as their owner has them watched', async () => {
    const rules = `--heartbeat {"seconds":60,"then":"suspend"} --alerts {"newAddress":{"action":"notify"}}`
    const { apiKey, keyId } = await json(
      `keys create --name alive --permissions execute ${rules}`,
      wallet,
    )
    const bot = { LATCHKEY_URL: service.url, LATCHKEY_API_KEY: apiKey }
    const sent = await latchkey('keys heartbeat', bot)
    expect(sent.out).toMatch(new RegExp(`keyId +${keyId}\na silence +suspends it\ndeadline +20`))
    expect(await json(`keys update ${keyId} --lift heartbeat,alerts`, wallet)).not.toHaveProperty(
      'heartbeat',
    )
    expect(await json('keys heartbeat', bot)).toMatchObject({ heartbeat: null, deadline: null })
    const faulty = await latchkey(
      `keys update ${keyId} --heartbeat {"seconds":9,"then":"cancel"}`,
      wallet,
    )
    expect([faulty.exitCode, faulty.err]).toEqual([2, expect.stringContaining('heartbeat')])
  })

  it('with read show the account, and follow the wallet as lines of JSON', async () => {
    const { apiKey } = await json('keys create --name reader --permissions read', wallet)
    const bot = { LATCHKEY_URL: service.url, LATCHKEY_API_KEY: apiKey }
    expect(await json('account', bot)).toMatchObject({ chain: { isCurrent: true } })
    const shown = await latchkey('account', bot)
    expect(shown.out).toMatch(/^wallet +ST\w+\nchain +current\nnonce +\d+\nopen orders +\d+\n/)
    expect(shown.out).toMatch(/^\.stx +STX +6 +\d+ +\d+$/m)
    for (const transport of ['sse', 'websocket']) {
      const [start] = (await latchkey(`watch --count 1 --transport ${transport}`, bot)).out
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line))
      expect(start).toMatchObject({ type: 'start' })
      const { uuid } = await json(newOrder(), wallet)
      const after = `watch --count 1 --transport ${transport} --after ${start.id} --json`
      expect(JSON.parse((await latchkey(after, bot)).out)).toMatchObject({ uuid, status: 'open' })
    }
    const refused = await latchkey('watch --count 1', { LATCHKEY_URL: service.url })
    expect([refused.exitCode, refused.err]).toEqual([2, expect.stringContaining('API key')])
  })

  it('revoke themselves', async () => {
    const { apiKey } = await json('keys create --name self --permissions execute', wallet)
    const bot = { LATCHKEY_URL: service.url, LATCHKEY_API_KEY: apiKey }
    expect((await latchkey('keys delete-self --yes', bot)).exitCode).toBe(0)
    expect((await latchkey('me', bot)).err).toMatch(/^API_KEY_INACTIVE/)
  })
})

describe('on a terminal, what cannot be undone', () => {
  let owner: Record<string, string>
  let keyId: string
  beforeAll(async () => {
    owner = await newWallet('asked.wallet')
    keyId = (await json('keys create --name asked --permissions execute', owner)).keyId
    await latchkey(`keys certificate ${keyId} --out ${join(folder, 'asked.end')}`, owner)
  })
  const lines: [string, () => string, RegExp][] = [
    [
      'delete',
      () => `keys delete ${keyId}`,
      /revokes the API key 'asked' \(key_\w+, ck_live_.* never used\)/,
    ],
    [
      'revoke-all',
      () => 'keys revoke-all --cancel-open-orders',
      /every live API key of the wallet \('asked'\).* cancels its open orders/,
    ],
    [
      'rotate',
      () => `keys rotate ${keyId} --grace-seconds 0`,
      /ends the present secret ck_live_\S+ of the API key 'asked'/,
    ],
    [
      'use-certificate',
      () => `keys use-certificate ${join(folder, 'asked.end')}`,
      /revokes the API key key_\w+ /,
    ],
  ]

  it.each(lines)('is named, and not done unless the answer is yes: %s', async (_, line, what) => {
    for (const answer of ['', 'n', 'yellow']) {
      const { exitCode, out, err } = await latchkey(line(), owner, { answer })
      expect([exitCode, out]).toEqual([2, ''])
      expect(err).toMatch(what)
      expect(err).toContain('Go on? [y/N] Not confirmed: nothing was done.')
    }
    expect(await json(`keys get ${keyId}`, owner)).toMatchObject({ status: 'active' })
  })

  it('is done after a yes', async () => {
    expect((await latchkey(`keys delete ${keyId}`, owner, { answer: 'y' })).exitCode).toBe(0)
    expect(await json(`keys get ${keyId}`, owner)).toMatchObject({ status: 'revoked' })
  })
})

it('a session reads without the private key, and changes nothing', async () => {
  const owner = await newWallet('session.wallet')
  const file = join(folder, 'session')
  const { out } = await latchkey(`sessions open --ttl-seconds 60 --save ${file}`, owner)
  expect(readFileSync(file, 'utf8')).toMatch(/^cs_\w+\n$/)
  expect(out).not.toContain(readFileSync(file, 'utf8').trim())
  const page = { LATCHKEY_URL: service.url, LATCHKEY_SESSION_FILE: file }
  expect(await json('keys list', page)).toEqual([])
  expect((await latchkey('keys create --name a --permissions create', page)).exitCode).toBe(2)
  expect((await latchkey('sessions end', page)).exitCode).toBe(0)
  expect((await latchkey('keys list', page)).err).toMatch(/^INVALID_SESSION/)
})

describe('orders', () => {
  it('are placed, shown, listed, cancelled and executed', async () => {
    await json('faucet', wallet)
    const first = await json(newOrder(), wallet)
    const second = await json(newOrder(), wallet)
    expect(await json(`orders get ${first.uuid}`, wallet)).toEqual(first)
    const mine = await json('orders list --mine --status open --limit 2', wallet)
    expect(mine.orders.map(({ uuid }: { uuid: string }) => uuid)).toEqual([second.uuid, first.uuid])
    const page = await latchkey('orders list --limit 1', wallet)
    expect(page.out).toMatch(/^uuid +status .*\n.*\nMore: --cursor \S+\n$/)
    expect(await json(`orders cancel ${first.uuid}`, wallet)).toMatchObject({ status: 'cancelled' })
    const { apiKey } = await json('keys create --name bot-4 --permissions execute', wallet)
    const bot = { LATCHKEY_URL: service.url, LATCHKEY_API_KEY: apiKey }
    const executed = await latchkey(`orders execute ${second.uuid} --json`, bot)
    expect(executed).toMatchObject({ exitCode: 0, err: '' })
    expect(JSON.parse(executed.out)).toMatchObject({ txid: expect.any(String) })
  })

  it('are committed to a minimum, cancelled, and burnt on chain when that is asked for', async () => {
    await json('faucet', wallet)
    const deadline = '2099-01-01T00:00:00Z'
    const line = `${newOrder()} --min-amount-out 1 --deadline ${deadline}`
    const { operators } = await json('info', wallet)
    const first = await json(`${line} --executor ${operators[0]}`, wallet)
    const shown = await latchkey(`orders get ${first.uuid}`, wallet)
    expect(shown.out).toMatch(/^minAmountOut +1$/m)
    expect(shown.out).toMatch(/^deadline +2099-01-01T00:00:00.000Z$/m)
    expect(shown.out).toMatch(new RegExp(`^executor +${operators[0]}$`, 'm'))
    expect(shown.out).toMatch(/^routerContract +\S+\.committed-router$/m)
    const settled = await latchkey(`orders execute ${first.uuid} --wait --timeout 60`, wallet)
    expect(settled.out).toMatch(/^status +confirmed$/m)
    const second = await json(line, wallet)
    const cancelled = await latchkey(`orders cancel ${second.uuid} --on-chain`, wallet)
    expect(cancelled.out).toMatch(/^burn +(requested|mined)$/m)
  })

  it('are waited for: with plain lines for a log, with shorter ones for a person', async () => {
    await json('faucet', wallet)
    const { uuid } = await json(newOrder(), wallet)
    const plain = await latchkey(`orders execute ${uuid} --wait --timeout 60`, wallet)
    expect(plain.exitCode).toBe(0)
    expect(plain.out).toMatch(/^status +confirmed$/m)
    const lines = plain.err.trimEnd().split('\n')
    for (const line of lines) expect(line).toMatch(new RegExp(`^2\\S+Z order ${uuid} \\w+`))
    expect(lines.at(-1)).toMatch(/ confirmed block \d+, paid \d+$/)
    const pretty = await latchkey(`orders wait ${uuid}`, wallet, { isTerminal: true })
    expect(stripVTControlCharacters(pretty.err)).toMatch(
      /^✓ confirmed +0\.\d s {2}block \d+, paid \d+\n$/,
    )
    expect(pretty.err).not.toBe(stripVTControlCharacters(pretty.err))
    expect(await json(`orders wait ${uuid}`, wallet)).toMatchObject({ uuid, status: 'confirmed' })
  })

  it('are waited for no longer than told, and not when they have ended otherwise', async () => {
    const { uuid } = await json(newOrder(), wallet)
    const late = await latchkey(`orders wait ${uuid} --timeout 1`, wallet)
    expect(late.exitCode).toBe(3)
    expect(late.err).toMatch(/\nTIMEOUT: The order is open after 1 s/)
    await json(`orders cancel ${uuid}`, wallet)
    const ended = await latchkey(`orders wait ${uuid}`, wallet)
    expect([ended.exitCode, ended.out]).toEqual([1, ''])
    expect(ended.err).toMatch(/\nORDER_NOT_SETTLED: The order is cancelled\./)
  })

  it('that are refused say why, with exit code 1', async () => {
    const { uuid } = await json(newOrder(), wallet)
    await json(`orders cancel ${uuid}`, wallet)
    const { exitCode, out, err } = await latchkey(`orders execute ${uuid}`, wallet)
    expect([exitCode, out]).toEqual([1, ''])
    expect(err).toMatch(/^ORDER_NOT_OPEN: Order not open\. .*\n\{"status":"cancelled"\}\nrequest /)
  })

  it('are signed for the network that was agreed, and no other', async () => {
    const { exitCode, err } = await latchkey('keys list --network mainnet', wallet)
    expect(exitCode).toBe(2)
    expect(err).toMatch(/^WRONG_NETWORK/)
  })
})

describe('the faucet of a devnet', () => {
  it('is advised when an order is refused for lack of funds, and mends it', async () => {
    const poor = await newWallet('poor.wallet')
    const { uuid, owner } = await json(newOrder(), poor)
    const advice = new RegExp(`${owner} holds 0 of the 1000 .*: latchkey faucet ${owner} `)
    const refused = await latchkey(`orders execute ${uuid} --json`, poor)
    expect(refused.exitCode).toBe(1)
    const { code, notes } = JSON.parse(refused.err)
    expect([code, notes]).toEqual(['EXECUTION_FAILED', [expect.stringMatching(advice)]])

    const filled = await latchkey(`faucet ${owner}`, { LATCHKEY_URL: service.url })
    expect(filled.out).toMatch(new RegExp(`^${owner} holds [1-9][0-9]+ of ${tokens.inputToken}\n$`))
    expect((await latchkey(`orders execute ${uuid}`, poor)).err).toBe('')
    expect((await latchkey(`orders wait ${uuid}`, poor)).exitCode).toBe(0)
  })

  it('fills the wallet itself, and needs one or an address', async () => {
    const own = await newWallet('own.wallet')
    const { address } = await json('faucet', own)
    expect(await json('wallet address', own)).toMatchObject({ address })
    expect((await latchkey('faucet', { LATCHKEY_URL: service.url })).exitCode).toBe(2)
  })
})

describe('the demo', () => {
  it('plays the whole story, and shows no secret', async () => {
    const { exitCode, out } = await latchkey('demo', { LATCHKEY_URL: service.url })
    expect(out).not.toContain('✗')
    expect(out.match(/^✓ /gm)).toHaveLength(13)
    expect(out).toMatch(/-1,000,000 key-token-subnet, \+[\d,]+ usd-token/)
    expect(out).not.toMatch(/ck_live_\w{20}|[0-9a-f]{64}01/)
    expect(exitCode).toBe(0)
  }, 90_000)

  it('finds a service by its PORT, and reports as one document', async () => {
    const { port } = new URL(service.url)
    const { exitCode, out, err } = await latchkey('demo --json', { PORT: port })
    expect([exitCode, err]).toEqual([0, ''])
    expect(JSON.parse(out)).toMatchObject({ ok: true })
  }, 90_000)
})
