import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { latchkey, PRIVATE_KEY, temporaryFolder } from './latchkey.ts'

const API_KEY = `ck_live_${'k'.repeat(43)}${'c'.repeat(6)}`
const SESSION = `cs_${'k'.repeat(43)}${'c'.repeat(6)}`
const NOWHERE = 'http://127.0.0.1:65531'

const folder = temporaryFolder()

describe('help', () => {
  it('is shown when it is asked for, and for an empty line', async () => {
    const { exitCode, out, err } = await latchkey('help')
    expect([exitCode, err]).toEqual([0, ''])
    for (const command of ['keys create', 'orders execute <uuid>', 'wallet new', 'demo'])
      expect(out).toContain(command)
    expect(out).toContain('Exit codes: 0 done, 1 refused')
    for (const line of ['', '--help', '-h'])
      expect(await latchkey(line)).toEqual({ exitCode, out, err })
  })

  it('of a group is shown for the group alone, with --help and by help', async () => {
    const shown = await latchkey('keys')
    expect(shown).toMatchObject({ exitCode: 0, err: '' })
    expect(shown.out).toContain('keys revoke-all')
    expect(shown.out).not.toContain('orders')
    for (const line of ['keys --help', 'keys -h', 'help keys', 'keys help', 'keys help help'])
      expect(await latchkey(line)).toEqual(shown)
  })

  it('of a command names its options, and how to use it', async () => {
    const { out } = await latchkey('help orders create')
    expect(out).toContain('--input-token <id>')
    expect(out).toContain('Examples:')
    expect(await latchkey('orders create --help')).toMatchObject({ exitCode: 0, out })
  })

  it('and the version are documents with --json', async () => {
    expect(JSON.parse((await latchkey('keys --json')).out).help).toContain('keys revoke-all')
    const file = new URL('../../package.json', import.meta.url)
    const { version } = JSON.parse(readFileSync(file, 'utf8'))
    expect((await latchkey('--version')).out).toBe(`${version}\n`)
    expect(JSON.parse((await latchkey('--version --json')).out)).toEqual({ version })
  })
})

describe('a mistyped line is refused with the nearest name', () => {
  it.each([
    ['keyz', "Unknown command 'keyz'. Did you mean keys? See latchkey --help.\n"],
    ['keyz --help', "Unknown command 'keyz'. Did you mean keys? See latchkey --help.\n"],
    ['help keyz', "Unknown command 'keyz'. Did you mean keys? See latchkey --help.\n"],
    ['keys lst', "Unknown command 'lst'. Did you mean list? See latchkey keys --help.\n"],
    ['keys help lst', "Unknown command 'lst'. Did you mean list? See latchkey keys --help.\n"],
    ['help keys lst', "Unknown command 'lst'. Did you mean list? See latchkey keys --help.\n"],
    [
      'keys list --jsn',
      "Unknown option '--jsn'. Did you mean --json? See latchkey keys list --help.\n",
    ],
    [
      'keys rotate k --grace-second 1',
      "Unknown option '--grace-second'. Did you mean --grace-seconds? See latchkey keys rotate --help.\n",
    ],
  ])('%s', async (line, err) => {
    expect(await latchkey(line)).toEqual({ exitCode: 2, out: '', err })
  })
})

describe('the command line', () => {
  it.each([
    ['a key that is not named', 'keys rotate'],
    ['a limit that does not exist', 'keys update key_1 --lift colour'],
    ['a change of nothing', 'keys update key_1'],
    ['a rate limit that is no number', 'keys update key_1 --rate-limit many'],
    ['a grace that is too long', 'keys rotate key_1 --grace-seconds 604801'],
    ['usage by the minute', `keys usage key_1 --by minute --url ${NOWHERE}`],
    ['an audit that is a folder', `audit verify ${folder}`],
    ['amounts that are no JSON', 'keys create --name b --permissions create --max-amount-in 5,'],
    ['an option that does not exist', 'keys list --colour'],
    ['an argument that is missing', 'orders execute'],
    ['an argument too many', 'orders get a b'],
    ['a key without a name', 'keys create --permissions execute'],
    ['a permission that is no word', 'keys create --name bot --permissions 7'],
    ['an order without an amount', 'orders create --input-token a --output-token b'],
    ['an order status that does not exist', `orders list --status done --url ${NOWHERE}`],
    ['a network that does not exist', `wallet address --network moon --key-file ${folder}/none`],
    ['a file that is not there', `keys list --key-file ${folder}/none`],
    ['a wallet that is missing', `wallet address --url ${NOWHERE}`],
    ['a signature without a wallet', `keys list --url ${NOWHERE}`],
    ['an API key that is missing', `me --url ${NOWHERE}`],
    ['a session that is missing', `sessions end --url ${NOWHERE}`],
    ['a uuid that is none', `orders get ../x --url ${NOWHERE}`],
    ['a host that would read the key', 'info --url http://dex.example'],
    ['a wait that is no number', `orders wait a --timeout soon --url ${NOWHERE}`],
    ['a shell that does not exist', 'completion tcsh'],
  ])('refuses %s, with exit code 2 and a sentence', async (_, line) => {
    const { exitCode, out, err } = await latchkey(line)
    expect([exitCode, out]).toEqual([2, ''])
    expect(err).toMatch(/^[^\n]+\.\n$/)
    const asJson = await latchkey(`${line} --json`)
    expect([asJson.exitCode, asJson.out]).toEqual([2, ''])
    expect(JSON.parse(asJson.err)).toMatchObject({ code: expect.stringMatching(/^[A-Z_]+$/) })
  })

  it.each([
    ['--private-key', PRIVATE_KEY],
    [`--api-key=${API_KEY}`],
    ['--session', SESSION],
    [PRIVATE_KEY],
    [SESSION],
    [`0x${PRIVATE_KEY.slice(0, 64)}`],
    [`--key-file=${PRIVATE_KEY}`],
    ['--api-key-file', API_KEY],
  ])('refuses a secret as an argument, and does not repeat it: %#', async (...secret) => {
    const { exitCode, err } = await latchkey(['keys', 'list', ...secret])
    expect(exitCode).toBe(2)
    expect(err).toContain('A secret is never an argument')
    expect(err).not.toMatch(/1cf4469c|kkkk/)
  })

  it('takes the options of every command before its name as well', async () => {
    expect(await latchkey(`--url ${NOWHERE} info`)).toMatchObject({ exitCode: 3 })
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

  it.each([
    ['keys delete key_1', 'revokes the key for ever'],
    ['keys delete-self', 'revokes for ever the key that it is run with'],
    ['keys revoke-all', 'revokes every key of the wallet and ends its sessions, which'],
    [
      'keys revoke-all --cancel-open-orders',
      'the wallet, ends its sessions and cancels its open orders, which',
    ],
    ['keys rotate key_1 --grace-seconds 0', 'ends the present secret of the key at once'],
  ])('%s needs --yes where there is no terminal to ask on', async (line, what) => {
    const wallet = {
      LATCHKEY_PRIVATE_KEY: PRIVATE_KEY,
      LATCHKEY_API_KEY: API_KEY,
      LATCHKEY_URL: NOWHERE,
    }
    const { exitCode, out, err } = await latchkey(line, wallet)
    expect([exitCode, out]).toEqual([2, ''])
    expect(err).toContain(what)
    expect(err).toContain('add --yes')
    // With --json there is nothing that a person could be asked: stderr is one document.
    const asJson = await latchkey(`${line} --json`, wallet, { answer: 'y' })
    expect([asJson.exitCode, JSON.parse(asJson.err).code]).toEqual([2, 'USAGE'])
    expect((await latchkey(`${line} --yes`, wallet)).exitCode).toBe(3)
  })
})

describe('a wallet', () => {
  const path = join(folder, 'wallet.key')

  it('is a new file that only its owner can read, and its key is not shown', async () => {
    const { exitCode, out } = await latchkey(`wallet new --json --key-file ${path}`)
    expect(exitCode).toBe(0)
    const key = readFileSync(path, 'utf8')
    expect(key).toMatch(/^[0-9a-f]{64}01\n$/)
    expect(out).not.toContain(key.trim())
    for (const [network, address] of Object.entries(JSON.parse(out).addresses)) {
      const line = `wallet address --network ${network}`
      expect((await latchkey(`${line} --key-file ${path}`)).out).toBe(`${address}\n`)
      expect((await latchkey(line, { LATCHKEY_KEY_FILE: path })).out).toBe(`${address}\n`)
    }
  })
})
