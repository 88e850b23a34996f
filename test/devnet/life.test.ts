import { spawn } from 'node:child_process'
import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getAddressFromPrivateKey } from '@stacks/transactions'
import { afterEach, expect, test } from 'vitest'
import { DEVNET_OPERATOR_ADDRESS, DEVNET_OPERATOR_PRIVATE_KEY } from '../../src/devnet/constants.ts'
import { paysAtLeast, spawnDevnet, swap, transfer } from './devnet.ts'

const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step()
})

async function start(...args: string[]) {
  const devnet = await spawnDevnet(...args)
  undo.push(devnet.stop)
  return devnet
}

async function folder() {
  const made = await mkdtemp(join(tmpdir(), 'latchkey-devnet-'))
  undo.push(() => rm(made, { recursive: true }))
  return made
}

test('keeps balances, nonces, statuses and pending transactions over a restart', async () => {
  const data = await folder()
  const before = await start('--data', data)
  const [owner, sender] = [await before.wallet(), await before.wallet()]
  const swaps = [
    await swap({ owner, sender, nonce: 0 }),
    await swap({ owner, sender, nonce: 1, postConditions: paysAtLeast(10n ** 12n) }),
    await swap({ owner, sender, nonce: 2, amount: 10n ** 12n }),
    await swap({ owner, sender, nonce: 3 }),
    await swap({ owner, sender, nonce: 5 }),
  ]
  for (const tx of swaps) await before.broadcast(tx)

  const view = async (devnet: typeof before) => ({
    owner: await devnet.get(`/balances/${owner.address}`),
    sender: await devnet.get(`/v2/accounts/${sender.address}`),
    nonces: await devnet.get(`/extended/v3/principals/${sender.address}/nonces`),
    quote: await devnet.quote(),
    height: (await devnet.get('/v2/info')).stacks_tip_height,
    swaps: await Promise.all(swaps.map((tx) => devnet.status(tx.txid()))),
  })
  const seen = await view(before)
  expect(seen.swaps.map(({ status }) => status)).toEqual([
    'success',
    'abort_by_post_condition',
    'abort_by_response',
    'success',
    'pending',
  ])
  before.child.kill('SIGKILL')
  await before.exited
  await appendFile(join(data, 'devnet.jsonl'), '{"granted":"ST')

  const after = await start('--data', data)
  expect(await view(after)).toEqual(seen)
  await after.broadcast(await swap({ owner, sender, nonce: 4 }))
  expect((await after.status(swaps[4]?.txid() ?? '')).status).toBe('success')
}, 60_000)

test('delays blocks when it is told to', async () => {
  const devnet = await start('--block-ms', '300')
  const sender = await devnet.wallet()
  const tx = await transfer(sender, 0)
  await devnet.broadcast(tx)
  expect((await devnet.status(tx.txid())).status).toBe('pending')
  await expect
    .poll(async () => (await devnet.status(tx.txid())).status, { timeout: 20_000 })
    .toBe('success')
}, 60_000)

test('prints one line, ends at once on SIGTERM, and has the operator funded', async () => {
  const devnet = await start()
  const operator = await devnet.get(`/v2/accounts/${DEVNET_OPERATOR_ADDRESS}`)
  expect(BigInt(operator.balance)).toBeGreaterThan(0n)
  expect(getAddressFromPrivateKey(DEVNET_OPERATOR_PRIVATE_KEY, 'devnet')).toBe(
    DEVNET_OPERATOR_ADDRESS,
  )
  expect(devnet.stdout).toEqual([JSON.stringify({ ready: true, url: devnet.url })])

  const asked = performance.now()
  devnet.child.kill('SIGTERM')
  expect(await devnet.exited).toEqual([0, null])
  expect(performance.now() - asked).toBeLessThan(20_000)
}, 60_000)

test('ends when the process that started it is gone', async () => {
  const devnet = await start('--exit-with-parent')
  devnet.child.stdin.end()
  expect(await devnet.exited).toEqual([0, null])
}, 60_000)

test('refuses options that it does not know', async () => {
  const main = new URL('../../src/devnet/main.ts', import.meta.url).pathname
  for (const args of [['--port', 'x'], ['--block-ms', '-1'], ['--nonsense']]) {
    const child = spawn(process.execPath, [main, ...args], { stdio: 'ignore' })
    const code = await new Promise((resolve) => child.once('exit', resolve))
    expect(code).toBe(1)
  }
}, 60_000)
