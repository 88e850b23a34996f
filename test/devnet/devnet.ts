import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import {
  broadcastTransaction,
  Cl,
  getAddressFromPrivateKey,
  makeContractCall,
  makeSTXTokenTransfer,
  Pc,
  type PostCondition,
  randomPrivateKey,
  type StacksTransactionWire,
} from '@stacks/transactions'
import { ASSETS, INPUT_TOKEN, OUTPUT_TOKEN, ROUTER, VAULTS } from '../../src/devnet/constants.ts'
import { signIntent } from '../../src/stacks/sign.ts'

const MAIN = fileURLToPath(new URL('../../src/devnet/main.ts', import.meta.url))

// biome-ignore lint/suspicious/noExplicitAny: what a test reads out of JSON, it asserts
export type Answer = Record<string, any>

/** A devnet in a process of its own, as the service meets it. */
export async function spawnDevnet(...args: string[]) {
  const child = spawn(process.execPath, [MAIN, '--port', '0', ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const stdout: string[] = []
  const lines = createInterface(child.stdout).on('line', (line) => stdout.push(line))
  const exited = once(child, 'exit') as Promise<[code: number | null, signal: string | null]>
  await Promise.race([
    once(lines, 'line'),
    exited.then(([code]) => {
      throw new Error(`the devnet exited with ${code}`)
    }),
  ])
  const { url } = JSON.parse(stdout[0] ?? '') as { url: string }

  const request = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${url}${path}`, init)
    return { status: response.status, body: (await response.json()) as Answer }
  }
  const get = async (path: string) => (await request(path)).body
  const postJson = (path: string, body: unknown) =>
    request(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })

  return {
    url,
    child,
    stdout,
    exited,
    request,
    get,
    postJson,
    stop: async () => {
      child.kill()
      await exited
    },
    postBytes: (bytes: Uint8Array) =>
      request('/v2/transactions', {
        method: 'POST',
        headers: { 'content-type': 'application/octet-stream' },
        body: new Uint8Array(bytes),
      }),
    broadcast: (transaction: StacksTransactionWire) =>
      broadcastTransaction({ transaction, network: 'devnet', client: { baseUrl: url } }) as Promise<
        { txid: string } & Answer
      >,
    /** As version 3 of the API has it, or, where it has none, as version 1 has it. */
    status: async (txid: string): Promise<Answer> => {
      const found = await request(`/extended/v3/transactions/0x${txid}?include=result`)
      if (found.status !== 404) return found.body
      const old = await get(`/extended/v1/tx/0x${txid}`)
      return { ...old, status: old.tx_status }
    },
    quote: async (amount = 1_000_000n, tokenOut: string = OUTPUT_TOKEN) =>
      (await get(`/quote?tokenIn=${INPUT_TOKEN}&tokenOut=${tokenOut}&amount=${amount}`)).data,
    wallet: async () => {
      const privateKey = randomPrivateKey()
      const address = getAddressFromPrivateKey(privateKey, 'devnet')
      await postJson('/faucet', { address })
      return { privateKey, address }
    },
  }
}

export type Devnet = Awaited<ReturnType<typeof spawnDevnet>>
export type Wallet = { privateKey: string; address: string }

let uuids = 0

export interface SwapOptions {
  owner: Wallet
  sender: Wallet
  nonce: number
  amount?: bigint
  fee?: bigint
  uuid?: string
  signature?: string
  postConditions?: PostCondition[]
}

export function intentOf({ owner, amount = 1_000_000n, uuid = '' }: Partial<SwapOptions>) {
  return signIntent({
    network: 'devnet',
    privateKey: owner?.privateKey ?? '',
    inputToken: INPUT_TOKEN,
    amountIn: amount.toString(),
    router: ROUTER,
    uuid,
  })
}

/** x-swap-1, as the service builds it. */
export function swap(options: SwapOptions) {
  const { owner, sender, nonce, amount = 1_000_000n, fee = 1_000n } = options
  const uuid = options.uuid ?? `swap-${process.pid}-${uuids++}`
  const signature = options.signature ?? intentOf({ owner, amount, uuid })
  return makeContractCall({
    ...splitId(ROUTER),
    functionName: 'x-swap-1',
    functionArgs: [
      Cl.tuple({
        token: Cl.principal(INPUT_TOKEN),
        amount: Cl.uint(amount),
        signature: Cl.bufferFromHex(signature),
        uuid: Cl.stringAscii(uuid),
      }),
      Cl.tuple({
        vault: Cl.principal(VAULTS[0].vault),
        opcode: Cl.bufferFromHex('00'.repeat(16)),
      }),
      Cl.tuple({ token: Cl.principal(OUTPUT_TOKEN), to: Cl.principal(owner.address) }),
    ],
    postConditionMode: 'deny',
    postConditions: options.postConditions ?? paysAtLeast(1n),
    senderKey: sender.privateKey,
    network: 'devnet',
    fee,
    nonce,
  })
}

export function transfer(sender: Wallet, nonce: number, options: Answer = {}) {
  return makeSTXTokenTransfer({
    recipient: 'ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG',
    amount: 1n,
    fee: 400n,
    network: 'devnet',
    ...options,
    senderKey: sender.privateKey,
    nonce,
  })
}

/** The guard on what the vault pays, and the movement that it makes through the router. */
export function paysAtLeast(minimum: bigint): PostCondition[] {
  return [VAULTS[0].vault, ROUTER].map((principal) => sends(principal, minimum))
}

export function sends(principal: string, minimum: bigint): PostCondition {
  const [contract = '', asset = ''] = (ASSETS[OUTPUT_TOKEN] ?? '').split('::')
  return Pc.principal(principal)
    .willSendGte(minimum)
    .ft(contract as `${string}.${string}`, asset)
}

export function splitId(id: string) {
  const [contractAddress = '', contractName = ''] = id.split('.')
  return { contractAddress, contractName }
}
