import { readFile } from 'node:fs/promises'
import { getSDK } from '@stacks/clarinet-sdk'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { RouterClarityVersion } from '../../src/contracts/committed-router.ts'
import { committedRouterSources } from '../../src/contracts/sources.ts'
import { COMMITTED_ROUTER, DEPLOYER, INTENT_VERIFIER } from '../../src/devnet/constants.ts'

// The SDK adds it on import, and prints what it is doing.
Reflect.deleteProperty(BigInt.prototype, 'toJSON')
beforeAll(() => void vi.spyOn(console, 'log').mockImplementation(() => {}))
afterAll(() => void vi.restoreAllMocks())

/** Deploys a router, written in one version of Clarity, as another. */
async function deploy(epoch: string, written: RouterClarityVersion, as: number = written) {
  const simnet = await getSDK()
  await simnet.initEmptySession({ enabled: false })
  simnet.deployer = DEPLOYER
  simnet.setEpoch(epoch as Parameters<typeof simnet.setEpoch>[0])
  const verifier = new URL('../../src/devnet/contracts/intent-verifier.clar', import.meta.url)
  const sources = await committedRouterSources({
    network: 'devnet',
    router: COMMITTED_ROUTER,
    verifier: INTENT_VERIFIER,
    clarityVersion: written,
  })
  const put = (name: string, source: string, clarityVersion: number) =>
    simnet.deployContract(name, source, { clarityVersion }, DEPLOYER)
  put('intent-verifier', await readFile(verifier, 'utf8'), 3)
  for (const { name, source } of sources) put(name, source, as)
  return simnet.getContractsInterfaces().get(COMMITTED_ROUTER)?.clarity_version
}

test.each([
  '3.0',
  '3.1',
  '3.2',
  '3.3',
  '3.4',
  '4.0',
])('a committed router deploys in epoch %s as Clarity 3', async (epoch) => {
  expect(await deploy(epoch, 3)).toBe('Clarity3')
})

test('a committed router deploys in epoch 4.0 as Clarity 6', async () => {
  expect(await deploy('4.0', 6)).toBe('Clarity6')
})

test.each([4, 5, 6])('what is written in Clarity 3 does not deploy as Clarity %i', async (as) => {
  await expect(deploy('4.0', 3, as)).rejects.toThrow(/as-contract/)
})
