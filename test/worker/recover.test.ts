import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, it } from 'vitest'
import { toHex } from '../../src/crypto/bytes.ts'
import { loadNative } from '../../src/node/recover.ts'
import { verifyIntent } from '../../src/stacks/intent.ts'
import { nobleRecover, type Recover } from '../../src/stacks/recover.ts'
import { type MessageClaim, verifyMessage } from '../../src/stacks/signature.ts'
import { openWasmRecover } from '../../src/worker/recover.ts'
import { mutation } from '../stacks/mutations.ts'
import vectors from '../vectors/stacks.json' with { type: 'json' }
import type { Case, EngineName } from './engines.ts'
import { bundleOf, ROOT, startWorkerd, type Workerd } from './workerd.ts'

/** As many as the portable engine checks in a few seconds; ENGINE_CASES=100000 in the soak. */
const CASES = Number(process.env.ENGINE_CASES ?? 2_000)
const BATCH = 500

const WASM = 'node_modules/@bitauth/libauth/build/lib/bin/secp256k1/secp256k1.wasm'
const wasm = openWasmRecover(new WebAssembly.Module(readFileSync(join(ROOT, WASM))))
const native = loadNative() as Recover

let workerd: Workerd
beforeAll(async () => {
  workerd = await startWorkerd(await bundleOf(inject('runFolder'), 'test/worker/engines.ts'))
})
afterAll(() => workerd.stop())

async function inWorkerd(engine: EngineName, cases: Case[], times = 1): Promise<string[]> {
  const response = await workerd.fetch('/', {
    method: 'POST',
    body: JSON.stringify({ engine, cases, times }),
  })
  return (await response.json()) as string[]
}

it('gives the verdict of the portable engine on every vector', () => {
  for (const { message, cases } of vectors.plain)
    for (const signed of cases) {
      const claim = { message, ...signed } as MessageClaim
      expect(verifyMessage({ ...claim, recover: wasm })).toEqual(verifyMessage(claim))
    }
  for (const intent of vectors.intents) {
    const claim = intent as Parameters<typeof verifyIntent>[0]
    expect(verifyIntent({ ...claim, recover: wasm })).toEqual(verifyIntent(claim))
  }
})

it(`recovers what the portable and the native engine recover, on Node and in workerd, in ${CASES} generated mutations`, {
  timeout: 600_000,
}, async () => {
  for (let start = 0; start < CASES; start += BATCH) {
    const mutations = Array.from({ length: Math.min(BATCH, CASES - start) }, (_, at) =>
      mutation(start + at),
    )
    const cases = mutations.map(
      ([digest, compact, recovery]): Case => [toHex(digest), toHex(compact), recovery],
    )
    const expected = mutations.map((one) => hexOf(nobleRecover(...one)))
    expect(mutations.map((one) => hexOf(native(...one)))).toEqual(expected)
    expect(mutations.map((one) => hexOf(wasm(...one)))).toEqual(expected)
    expect(await inWorkerd('wasm', cases)).toEqual(expected)
    expect(await inWorkerd('noble', cases.slice(0, 50))).toEqual(expected.slice(0, 50))
  }
})

it.runIf(process.platform === 'linux')(
  'costs half of the portable engine in workerd, or less, and under a millisecond of CPU',
  async () => {
    const cases: Case[] = [5, 11, 17, 23].map((valid) => {
      const [digest, compact, recovery] = mutation(valid)
      return [toHex(digest), toHex(compact), recovery]
    })
    const msOf = async (engine: EngineName, times: number) => {
      await inWorkerd(engine, cases, 50)
      const before = workerd.cpuMs()
      await inWorkerd(engine, cases, times)
      return (workerd.cpuMs() - before) / (times * cases.length)
    }
    const [portable, fast] = [await msOf('noble', 100), await msOf('wasm', 1_000)]
    console.log(
      `a signature check in workerd: ${fast.toFixed(3)} ms CPU, ${portable.toFixed(3)} ms with noble`,
    )
    expect(fast).toBeLessThan(Math.min(1, portable / 2))
  },
)

function hexOf(key: Uint8Array | undefined): string {
  return key === undefined ? 'no key' : toHex(key)
}
