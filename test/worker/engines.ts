import libsecp256k1 from '@bitauth/libauth/build/lib/bin/secp256k1/secp256k1.wasm'
import { fromHex, toHex } from '../../src/crypto/bytes.ts'
import { nobleRecover, type Recover } from '../../src/stacks/recover.ts'
import { openWasmRecover } from '../../src/worker/recover.ts'

export type EngineName = 'wasm' | 'noble'

/** Digest, r and s, recovery id: hex, hex and a number. */
export type Case = [digest: string, compact: string, recovery: number]

const ENGINES: Record<EngineName, Recover> = {
  wasm: openWasmRecover(libsecp256k1),
  noble: nobleRecover,
}

/** Recovers keys in workerd, for tests: as often as it is told, so that its work can be measured from outside. */
export default {
  async fetch(request: Request): Promise<Response> {
    const { engine, cases, times } = (await request.json()) as {
      engine: EngineName
      cases: Case[]
      times: number
    }
    const recover = ENGINES[engine]
    const parsed = cases.map(
      ([digest, compact, recovery]) => [fromHex(digest), fromHex(compact), recovery] as const,
    )
    let keys: (Uint8Array | undefined)[] = []
    for (let time = 0; time < times; time++) keys = parsed.map((one) => recover(...one))
    return Response.json(keys.map((key) => (key === undefined ? 'no key' : toHex(key))))
  },
}

/** wrangler.toml declares it. */
export class GateObject {}
