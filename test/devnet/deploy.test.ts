import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Cl, fetchAbi, makeContractDeploy } from '@stacks/transactions'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { RouterClarityVersion } from '../../src/contracts/committed-router.ts'
import { committedRouterSources } from '../../src/contracts/sources.ts'
import {
  DEVNET_GENESIS_TIME,
  DEVNET_SECONDS_PER_BLOCK,
  FAR_TOKEN,
  INPUT_TOKEN,
  INTENT_VERIFIER,
  OUTPUT_TOKEN,
  VAULTS,
} from '../../src/devnet/constants.ts'
import { type SignedTransaction, signDeployment } from '../../src/settlement/transaction.ts'
import { swapAccountOf } from '../../src/stacks/committed.ts'
import { type Actors, actorsOf, commit } from './committed.ts'
import { type Devnet, spawnDevnet, splitId, type Wallet } from './devnet.ts'

let folder: string
let devnet: Devnet
let actors: Actors
let deployer: Wallet

async function start() {
  devnet = await spawnDevnet('--data', folder)
  actors = actorsOf(devnet)
}
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'latchkey-deploy-'))
  await start()
  deployer = await devnet.wallet()
}, 60_000)
afterAll(async () => {
  await devnet.stop()
  await rm(folder, { recursive: true })
})

const nonceOf = async () => Number((await devnet.get(`/v2/accounts/${deployer.address}`)).nonce)
const signing = async (ahead = 0) => ({
  privateKey: deployer.privateKey,
  nonce: (await nonceOf()) + ahead,
  feeInMicroStx: 20_000,
  network: 'devnet' as const,
})
const sources = (name: string, clarityVersion?: RouterClarityVersion) =>
  committedRouterSources({
    network: 'devnet',
    router: `${deployer.address}.${name}`,
    verifier: INTENT_VERIFIER,
    clarityVersion,
  })
async function mined({ raw, txid }: SignedTransaction) {
  expect(await devnet.postBytes(raw)).toEqual({ status: 200, body: txid })
  return devnet.status(txid)
}
const chainTime = async (router: string) =>
  Number((await actors.read(router, 'get-chain-time')).slice(1))

describe('a deployment', () => {
  test('of a committed router is mined, read back to the letter, and outlives a restart', async () => {
    const router = `${deployer.address}.router-one`
    const both = await sources('router-one')
    for (const contract of both) {
      expect(await mined(await signDeployment(contract, await signing()))).toMatchObject({
        status: 'success',
        type: 'smart_contract',
        smart_contract: {
          clarity_version: 3,
          contract_id: `${deployer.address}.${contract.name}`,
        },
        result: { repr: '(ok true)' },
      })
    }
    const input = [Cl.principal(INPUT_TOKEN)]
    expect((await actors.send(deployer, router, 'allow-input', input)).status).toBe('success')

    await devnet.stop()
    await start()

    for (const { name, source } of both) {
      const url = `/v2/contracts/source/${deployer.address}/${name}`
      expect((await devnet.get(url)).source).toBe(source)
    }
    expect(await actors.read(router, 'is-input', input)).toBe('true')
    expect(await actors.read(router, 'get-info')).toContain(
      `(account ${swapAccountOf(router)}) (deployer ${deployer.address})`,
    )
    const abi = await fetchAbi({
      ...splitId(router),
      network: 'devnet',
      client: { baseUrl: devnet.url },
    })
    const swaps = abi.functions.filter(({ access }) => access === 'public')
    expect(swaps.map(({ name, args }) => [name, args.length])).toEqual([
      ['allow-input', 1],
      ['refund', 2],
      ['x-swap-1', 3],
      ['x-swap-2', 4],
      ['x-swap-3', 5],
      ['x-swap-4', 6],
      ['x-swap-5', 7],
    ])
  })

  test('of a committed router in Clarity 6 swaps and refunds as that in Clarity 3', async () => {
    const router = `${deployer.address}.router-six`
    for (const contract of await sources('router-six', 6)) {
      expect(await mined(await signDeployment(contract, await signing()))).toMatchObject({
        status: 'success',
        smart_contract: { clarity_version: 6 },
      })
    }
    const owner = await devnet.wallet()
    const [swapped, moved] = [
      commit(owner, { token: FAR_TOKEN }, { router }),
      commit(owner, {}, { router }),
    ]
    const allow = [Cl.principal(INPUT_TOKEN)]
    expect((await actors.send(deployer, router, 'allow-input', allow)).status).toBe('success')
    const route = [{ vault: VAULTS[0].vault, token: OUTPUT_TOKEN }, { vault: VAULTS[1].vault }]
    expect((await actors.execute(deployer, swapped, route)).status).toBe('success')
    expect(await actors.held(owner.address, FAR_TOKEN)).toBeGreaterThan(0n)
    expect((await actors.strand(deployer, moved)).status).toBe('success')
    expect(await actors.held(router, INPUT_TOKEN)).toBe(moved.amount)
    expect((await actors.refund(deployer, moved)).status).toBe('success')
    expect(await actors.held(router, INPUT_TOKEN)).toBe(0n)
  })

  test('of a router that names no Clarity version comes to nothing, as on mainnet', async () => {
    const [{ source }] = await sources('router-two')
    const transaction = await makeContractDeploy({
      contractName: 'unversioned',
      codeBody: source,
      clarityVersion: null as never,
      senderKey: deployer.privateKey,
      network: 'devnet',
      nonce: await nonceOf(),
      fee: 20_000n,
    })
    const { txid } = await devnet.broadcast(transaction)
    const done = await devnet.status(txid)
    expect(done).toMatchObject({ status: 'abort_by_response', smart_contract: {} })
    expect(done.vm_error).toContain('as-contract')
    const url = `/v2/contracts/source/${deployer.address}/unversioned`
    expect((await devnet.request(url)).status).toBe(404)
  })

  test('that does not parse costs its fee and nothing else', async () => {
    const contract = { name: 'broken', source: '(define-public (f) (ok (nope)))' } as const
    const before = BigInt((await devnet.get(`/v2/accounts/${deployer.address}`)).balance)
    const done = await mined(
      await signDeployment({ ...contract, clarityVersion: 3 }, await signing()),
    )
    expect(done).toMatchObject({ status: 'abort_by_response', result: { repr: '(err none)' } })
    const after = BigInt((await devnet.get(`/v2/accounts/${deployer.address}`)).balance)
    expect(before - after).toBe(20_000n)
  })

  test('of a name that is taken is refused, and aborts when the name is taken meanwhile', async () => {
    const contract = {
      name: 'twice',
      source: '(define-public (f) (ok true))',
      clarityVersion: 3,
    } as const
    await devnet.postJson('/faults/block-time', { ms: null })
    const both = [
      await signDeployment(contract, await signing()),
      await signDeployment({ ...contract, source: `${contract.source} ` }, await signing(1)),
    ]
    for (const { raw } of both) expect((await devnet.postBytes(raw)).status).toBe(200)
    await devnet.postJson('/faults/block-time', { ms: 0 })
    const statuses = await Promise.all(both.map(({ txid }) => devnet.status(txid)))
    expect(statuses.map(({ status }) => status)).toEqual(['success', 'abort_by_response'])
    const again = await signDeployment(contract, await signing())
    expect(await devnet.postBytes(again.raw)).toMatchObject({
      status: 400,
      body: {
        reason: 'ContractAlreadyExists',
        reason_data: { contract_identifier: `${deployer.address}.twice` },
      },
    })
    expect((await devnet.get('/v2/info')).is_fully_synced).toBe(true)
  })
})

describe("the chain's clock", () => {
  test('adds the same to every block, moves on when it is told to, and outlives a restart', async () => {
    const [account, router] = await sources('clocked')
    for (const contract of [account, router]) {
      await mined(await signDeployment(contract, await signing()))
    }
    const id = `${deployer.address}.clocked`
    const first = await chainTime(id)
    expect(first).toBeGreaterThanOrEqual(DEVNET_GENESIS_TIME)
    expect(first).toBeLessThan(DEVNET_GENESIS_TIME + 86_400)
    await devnet.postJson('/faucet', { address: deployer.address })
    expect(await chainTime(id)).toBe(first + DEVNET_SECONDS_PER_BLOCK)

    for (const seconds of [10, 599, 600, 601, 86_400]) {
      const before = await chainTime(id)
      await devnet.postJson('/faults/clock', { seconds })
      // What is read is the block before the newest, which ends within the time that passed.
      await devnet.postJson('/faucet', { address: deployer.address })
      const passed = (await chainTime(id)) - before
      expect(passed).toBeGreaterThanOrEqual(seconds)
      expect(passed).toBeLessThan(seconds + 3 * DEVNET_SECONDS_PER_BLOCK)
    }

    const last = await chainTime(id)
    const { stacks_tip_height: height } = await devnet.get('/v2/info')
    await devnet.stop()
    await start()
    expect(await chainTime(id)).toBe(last)
    expect((await devnet.get('/v2/info')).stacks_tip_height).toBe(height)
  })

  test('goes on by whole seconds, and not for ever', async () => {
    for (const seconds of [-1, 1.5, '1', null, 1e12, undefined]) {
      expect((await devnet.postJson('/faults/clock', { seconds })).status).toBe(400)
    }
  })
})
