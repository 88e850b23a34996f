import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { administer } from '../../src/cli/admin.ts'
import {
  COMMITTED_ROUTER,
  FAR_TOKEN,
  INPUT_TOKEN,
  OUTPUT_TOKEN,
  ROUTER,
} from '../../src/devnet/constants.ts'
import { type Actors, actorsOf, commit } from '../devnet/committed.ts'
import { type Devnet, spawnDevnet, type Wallet } from '../devnet/devnet.ts'
import { collectingTerminal, temporaryFolder } from './latchkey.ts'

const folder = temporaryFolder()
const keyFile = join(folder, 'deployer.key')
let devnet: Devnet
let actors: Actors
let deployer: Wallet
let router: string
beforeAll(async () => {
  devnet = await spawnDevnet()
  actors = actorsOf(devnet)
  deployer = await devnet.wallet()
  router = `${deployer.address}.mine`
  writeFileSync(keyFile, `${deployer.privateKey}\n`, { mode: 0o600 })
})
afterAll(() => devnet.stop())

async function run(line: string, env: Record<string, string> = {}) {
  const { terminal, written } = collectingTerminal({ env: { STACKS_API_URL: devnet.url, ...env } })
  const exitCode = await administer({ ...terminal, args: line.split(' ') }, () => Date.now())
  return { exitCode, ...written }
}
const json = async (line: string) => {
  const { exitCode, out, err } = await run(`${line} --json`)
  return { exitCode, ...JSON.parse(out || err) }
}
const heightOf = async () => (await devnet.get('/v2/info')).stacks_tip_height

describe('latchkey-admin router', () => {
  it('deploys the account and then the router, shows both being mined, and deploys nothing twice', async () => {
    const line = `router deploy --name mine --key-file ${keyFile}`
    const { exitCode, out, err } = await run(line)
    expect([exitCode, out]).toEqual([0, expect.stringContaining(router)])
    const progress = err.trimEnd().split('\n')
    expect(progress).toEqual([
      expect.stringMatching(/\.mine-account: sent as \w{64}, for \d+ micro-STX/),
      expect.stringMatching(/\.mine-account: in block \d+/),
      expect.stringMatching(/\.mine: sent as \w{64}, for \d+ micro-STX/),
      expect.stringMatching(/\.mine: in block \d+/),
    ])
    const { tx_status: status, smart_contract: contract } = await devnet.get(
      `/extended/v1/tx/0x${/(?<=mine: sent as )\w+/.exec(err)?.[0]}`,
    )
    expect([status, contract]).toEqual(['success', { clarity_version: 3, contract_id: router }])
    const height = await heightOf()
    expect((await json(line)).transactions).toEqual([
      { contract: `${router}-account`, txid: null },
      { contract: router, txid: null },
    ])
    expect(await heightOf()).toBe(height)
    const other = await json(`${line} --clarity-version 6`)
    expect(other).toMatchObject({ exitCode: 1, code: 'CONTRACT_DIFFERS' })
  })

  it('allows inputs, once, for the deployer only', async () => {
    expect(await json(`router check ${router} ${INPUT_TOKEN}`)).toMatchObject({
      exitCode: 1,
      routerContract: null,
      faults: [`it does not take ${INPUT_TOKEN}`],
    })
    const line = `router allow-input ${router} ${INPUT_TOKEN}`
    expect((await run(`${line} --key-file ${keyFile}`)).out).toBe(`${INPUT_TOKEN} is allowed\n`)
    expect((await json(`${line} --key-file ${keyFile}`)).transactions).toEqual([
      { token: INPUT_TOKEN, txid: null },
    ])
    const { privateKey } = await devnet.wallet()
    const stranger = await run(line, { LATCHKEY_PRIVATE_KEY: privateKey })
    expect([stranger.exitCode, stranger.err]).toEqual([
      1,
      expect.stringContaining('did not deploy'),
    ])
  })

  it('knows a router of this release in either version, and says how to list it', async () => {
    const six = `router deploy --name six --clarity-version 6 --key-file ${keyFile}`
    expect((await run(six)).exitCode).toBe(0)
    for (const [id, clarityVersion] of [
      [router, 3],
      [COMMITTED_ROUTER, 3],
      [`${deployer.address}.six`, 6],
    ] as const)
      expect(await json(`router check ${id}`)).toMatchObject({
        exitCode: 0,
        routerContract: `committed:${id}`,
        clarityVersion,
        deployer: id.split('.')[0],
        account: `${id}-account`,
      })
    const { out } = await run(`router check ${router} ${INPUT_TOKEN}`)
    expect(out).toContain(`List it in ROUTER_CONTRACT as committed:${router}`)
  })

  it('does not advise a router of other code, or with another verifier', async () => {
    const { out, exitCode } = await run(`router check ${ROUTER}`)
    expect([exitCode, out]).toEqual([1, expect.stringContaining('Do not list it')])
    const source = async (id: string) => {
      const found = await devnet.get(`/v2/contracts/source/${id.replace('.', '/')}`)
      return found.source.replaceAll('.committed-router', '.fake') as string
    }
    await actors.deploy(deployer, 'fake-account', await source(`${COMMITTED_ROUTER}-account`))
    const weak = (await source(COMMITTED_ROUTER)).replace(
      '(>= (get paid done) (get min out))',
      'true',
    )
    await actors.deploy(deployer, 'fake', weak)
    expect(weak).toContain('(asserts! true ERR_MINIMUM)')
    const info = await actors.read(`${deployer.address}.fake`, 'get-info')
    expect(info).toContain(`(account ${deployer.address}.fake-account)`)
    expect(await json(`router check ${deployer.address}.fake`)).toMatchObject({
      exitCode: 1,
      routerContract: null,
      clarityVersion: null,
    })
    const elsewhere = { INTENT_VERIFIER_CONTRACT: `${deployer.address}.verifier` }
    const other = await run(`router check ${router} --json`, elsewhere)
    expect(JSON.parse(other.out)).toMatchObject({
      faults: [expect.stringContaining('its verifier is')],
      routerContract: null,
    })
    expect(await json(`router check ${deployer.address}.none`)).toMatchObject({
      code: 'CONTRACT_NOT_FOUND',
    })
  })

  it('refunds what a stranger moved to the router, once, and nothing that was only burnt or swapped', async () => {
    const [owner, stranger] = [await devnet.wallet(), await devnet.wallet()]
    const order = commit(owner, { token: FAR_TOKEN }, { router })
    const before = await actors.held(owner.address, INPUT_TOKEN)
    const { txid } = await actors.strand(stranger, order)
    expect(await actors.held(owner.address, INPUT_TOKEN)).toBe(before - order.amount)
    const line = (id: string) => `router refund ${router} --txid ${id} --key-file ${keyFile}`
    expect(await json(line(txid))).toMatchObject({
      exitCode: 0,
      owner: owner.address,
      inputToken: INPUT_TOKEN,
      amountIn: String(order.amount),
      uuid: order.uuid,
    })
    expect(await actors.held(owner.address, INPUT_TOKEN)).toBe(before)
    const again = await json(line(txid))
    expect(again).toMatchObject({ exitCode: 1, code: 'ABORTED' })
    expect(again.message).toContain('(err u409102), the input was paid back before')

    const swapped = commit(owner, { token: OUTPUT_TOKEN }, { router })
    const swap = await actors.execute(stranger, swapped)
    const { txid: failed } = await actors.strand(stranger, swapped)
    for (const id of [swap.txid, failed, '1f'.repeat(32)])
      expect(await json(line(id))).toMatchObject({ exitCode: 1, code: 'NOTHING_TO_REFUND' })
  })

  it.each([
    ['deploy without a key', 'router deploy', 2],
    ['refund without a transaction', `router refund ${COMMITTED_ROUTER}`, 2],
    ['check of no contract', 'router check committed-router', 2],
    ['allow of nothing', `router allow-input ${COMMITTED_ROUTER}`, 2],
    [
      'a private key in place of a transaction',
      `router refund ${COMMITTED_ROUTER} --txid ${'1f'.repeat(32)}01`,
      2,
    ],
  ])('refuses a %s', async (_, line, exitCode) => {
    const { out, err, exitCode: code } = await run(line)
    expect([out, code, err]).toEqual(['', exitCode, expect.stringMatching(/\S/)])
    expect(err).not.toContain('1f1f')
  })

  it('says so when it has no chain', async () => {
    const nowhere = { STACKS_API_URL: 'http://127.0.0.1:65531' }
    const { exitCode, err } = await run(`router check ${router}`, nowhere)
    expect([exitCode, err]).toEqual([1, 'The Stacks API does not respond.\n'])
    const unnamed = await run(`router check ${router}`, {
      STACKS_NETWORK: 'testnet',
      STACKS_API_URL: '',
    })
    expect([unnamed.exitCode, unnamed.err]).toEqual([1, expect.stringContaining('STACKS_API_URL')])
  })
})
