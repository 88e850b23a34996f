import {
  Cl,
  cvToString,
  fetchAbi,
  fetchCallReadOnlyFunction,
  fetchNonce,
  makeContractCall,
  randomPrivateKey,
  signStructuredData,
} from '@stacks/transactions'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  DEVNET_CHAIN_ID,
  DEVNET_OPERATOR_ADDRESS,
  DEVNET_OPERATOR_PRIVATE_KEY,
  FAR_TOKEN,
  INPUT_TOKEN,
  INTENT_VERIFIER,
  OUTPUT_TOKEN,
  ROUTER,
  VAULTS,
} from '../../src/devnet/constants.ts'
import { type Devnet, intentOf, paysAtLeast, sends, spawnDevnet, splitId, swap } from './devnet.ts'

const operator = { privateKey: DEVNET_OPERATOR_PRIVATE_KEY, address: DEVNET_OPERATOR_ADDRESS }

// From ../shared/vectors/stacks.json, agreed with the verifier of the real chain.
const VECTORS = [
  {
    owner: 'ST1157C45DVAFH1TVP19XF5RVB1CQ9Y3TSVZM1WC8',
    inputToken: 'ST2D6RRAAZWG1N34S9QPADXN56HP4STX2H8VT2492.x-welsh',
    router: 'ST2D6RRAAZWG1N34S9QPADXN56HP4STX2H8VT2492.x-multihop-rc9',
    amountIn: 1_000_000n,
    uuid: '7d14db6a-b1fc-443e-8dc0-80958d878293',
    hash: '32caa237e49c22f8a4e2fcbebfbb862fbd099482339702a4dc1dc894a0caea48',
    signature:
      '0a14d9fdd6f00a318e7ac6a161c885ff59e6fd265d43ec0cb0f5e56a6f3631202bc536caa7f793aa14a00b9806f872a713b71d5eb4772a821cd849ceaa89889d01',
  },
  {
    owner: 'ST17NE99YMCQX82FZCJD7NG063BRGP3CQRE3QGY1K',
    inputToken: 'ST2D6RRAAZWG1N34S9QPADXN56HP4STX2H8VT2492.token-zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz',
    router: 'ST2D6RRAAZWG1N34S9QPADXN56HP4STX2H8VT2492.x-multihop-rc9',
    amountIn: 9_007_199_254_740_993n,
    uuid: 'uuid-164c71ca7',
    hash: '227ad1544125164ddf604b6f7ad07a20ebbde7d814ddc7cdad031b47b9d85fd9',
    signature:
      '5e533ee03b4cc4f9b68653a84cee4daf3b5a99090d94166dcb151e4b41355586135d112aed44abecb111621a6e7ab21e5f4739f2fab7b6cb610b4a436c5d0f3101',
  },
]

describe('the devnet', () => {
  let devnet: Devnet

  beforeAll(async () => {
    devnet = await spawnDevnet()
  }, 60_000)
  afterAll(() => devnet.stop())

  const verifier = (functionName: string, functionArgs: Parameters<typeof Cl.tuple>[0][string][]) =>
    fetchCallReadOnlyFunction({
      ...splitId(INTENT_VERIFIER),
      functionName,
      functionArgs,
      senderAddress: operator.address,
      network: 'devnet',
      client: { baseUrl: devnet.url },
    }).then(cvToString)

  const held = async (address: string, token: string) =>
    BigInt((await devnet.get(`/balances/${address}`)).tokens[token])

  test('pays an owner for an intent that the operator settles with stacks.js alone', async () => {
    const owner = await devnet.wallet()
    const client = { baseUrl: devnet.url }
    const nonce = Number(await fetchNonce({ address: operator.address, network: 'devnet', client }))
    const before = await held(owner.address, INPUT_TOKEN)
    const { amountOut, minimumReceived } = await devnet.quote()

    const postConditions = paysAtLeast(BigInt(minimumReceived))
    const tx = await swap({ owner, sender: operator, nonce, postConditions })
    const { txid } = await devnet.broadcast(tx)

    expect(txid).toBe(tx.txid())
    expect(await devnet.status(txid)).toMatchObject({
      status: 'success',
      canonical: true,
      result: { repr: `(ok (list (tuple (dk u0) (dx u1000000) (dy u${amountOut}))))` },
    })
    expect(await held(owner.address, INPUT_TOKEN)).toBe(before - 1_000_000n)
    expect(await held(owner.address, OUTPUT_TOKEN)).toBe(BigInt(amountOut))
  })

  test('charges the fee and takes the nonce, of a swap that aborts as well', async () => {
    const [owner, sender] = [await devnet.wallet(), await devnet.wallet()]
    const account = () => devnet.get(`/v2/accounts/${sender.address}?proof=0`)
    const { balance } = await account()

    await devnet.broadcast(await swap({ owner, sender, nonce: 0, fee: 700n }))
    await devnet.broadcast(await swap({ owner, sender, nonce: 1, fee: 800n, amount: 10n ** 12n }))

    const after = await account()
    expect(after.nonce).toBe(2)
    expect(BigInt(balance) - BigInt(after.balance)).toBe(1_500n)
  })

  test('aborts with u409000 when a uuid comes again', async () => {
    const [owner, sender] = [await devnet.wallet(), await devnet.wallet()]
    await devnet.broadcast(await swap({ owner, sender, nonce: 0, uuid: 'only-once' }))
    const { txid } = await devnet.broadcast(
      await swap({ owner, sender, nonce: 1, uuid: 'only-once', fee: 1_001n }),
    )
    expect(await devnet.status(txid)).toMatchObject({
      status: 'abort_by_response',
      result: { repr: '(err u409000)' },
    })
  })

  test('aborts with u401000 on the signature of a stranger and on one that recovers nobody', async () => {
    const [owner, sender] = [await devnet.wallet(), await devnet.wallet()]
    const stranger = { privateKey: randomPrivateKey(), address: '' }
    const uuid = 'never-used'
    const signatures = [intentOf({ owner: stranger, uuid }), `${'00'.repeat(64)}01`]
    for (const [nonce, signature] of signatures.entries()) {
      const { txid } = await devnet.broadcast(await swap({ owner, sender, nonce, uuid, signature }))
      expect(await devnet.status(txid)).toMatchObject({
        status: 'abort_by_response',
        result: { repr: '(err u401000)' },
      })
    }
  })

  test('lets a signature over one amount move no other', async () => {
    const [owner, sender] = [await devnet.wallet(), await devnet.wallet()]
    const signature = intentOf({ owner, uuid: 'small', amount: 1n })
    const { txid } = await devnet.broadcast(
      await swap({ owner, sender, nonce: 0, uuid: 'small', amount: 2_000_000n, signature }),
    )
    expect((await devnet.status(txid)).status).toBe('abort_by_response')
    expect(await held(owner.address, OUTPUT_TOKEN)).toBe(0n)
  })

  test('undoes a swap that breaks a post-condition, and leaves the intent unspent', async () => {
    const [owner, sender] = [await devnet.wallet(), await devnet.wallet()]
    const uuid = 'guarded'
    const before = await devnet.get(`/balances/${owner.address}`)
    const guards = [paysAtLeast(10n ** 12n), [sends(VAULTS[0].vault, 1n)], [sends(ROUTER, 1n)], []]
    for (const [nonce, postConditions] of guards.entries()) {
      const tx = await swap({ owner, sender, nonce, uuid, postConditions })
      const { txid } = await devnet.broadcast(tx)
      expect((await devnet.status(txid)).status).toBe('abort_by_post_condition')
    }
    expect(await devnet.get(`/balances/${owner.address}`)).toEqual(before)

    const { txid } = await devnet.broadcast(await swap({ owner, sender, nonce: 4, uuid }))
    expect((await devnet.status(txid)).status).toBe('success')
  }, 60_000)

  test('quotes what a route of two hops pays', async () => {
    const [owner, sender] = [await devnet.wallet(), await devnet.wallet()]
    const quote = await devnet.quote(5_000_000n, FAR_TOKEN)
    expect(quote.route.hops).toHaveLength(2)

    const uuid = 'two-hops'
    const tx = await makeContractCall({
      ...splitId(ROUTER),
      functionName: 'x-swap-2',
      functionArgs: [
        Cl.tuple({
          token: Cl.principal(INPUT_TOKEN),
          amount: Cl.uint(5_000_000n),
          signature: Cl.bufferFromHex(intentOf({ owner, uuid, amount: 5_000_000n })),
          uuid: Cl.stringAscii(uuid),
        }),
        ...quote.route.hops.map(({ vault, opcode }: { vault: string; opcode: string }) =>
          Cl.tuple({ vault: Cl.principal(vault), opcode: Cl.bufferFromHex(opcode) }),
        ),
        Cl.tuple({ token: Cl.principal(FAR_TOKEN), to: Cl.principal(owner.address) }),
      ],
      postConditionMode: 'allow',
      senderKey: sender.privateKey,
      network: 'devnet',
      fee: 1_000n,
      nonce: 0,
    })
    await devnet.broadcast(tx)
    expect(await held(owner.address, FAR_TOKEN)).toBe(BigInt(quote.amountOut))
  })

  test('routes through up to five vaults', async () => {
    const { functions } = await fetchAbi({
      ...splitId(ROUTER),
      network: 'devnet',
      client: { baseUrl: devnet.url },
    })
    const swaps = functions.filter(({ access }) => access === 'public')
    expect(swaps.map(({ name, args }) => [name, args.length])).toEqual([
      ['x-swap-1', 3],
      ['x-swap-2', 4],
      ['x-swap-3', 5],
      ['x-swap-4', 6],
      ['x-swap-5', 7],
    ])
  })

  test('answers a quote without a route as a failure', async () => {
    const quote = (query: string) => devnet.request(`/quote?${query}`)
    const none = await quote(`tokenIn=${INPUT_TOKEN}&tokenOut=${ROUTER}&amount=1000`)
    expect(none).toMatchObject({ status: 200, body: { success: false } })
    for (const amount of ['', '0', '-1', '1.5', '1e9', '9'.repeat(40)]) {
      const bad = await quote(`tokenIn=${INPUT_TOKEN}&tokenOut=${OUTPUT_TOKEN}&amount=${amount}`)
      expect(bad).toMatchObject({ status: 400, body: { success: false } })
    }
  })

  test('hashes and recovers an intent as the real verifier does', async () => {
    expect(await verifier('get-domain-hash', [])).toBe(
      '0xd2cb50eb7f4a93a8936d9a295f84dfc38456463ad57a1cb41cc55cf18d9b43d3',
    )
    for (const { owner, inputToken, router, amountIn, uuid, hash, signature } of VECTORS) {
      const intent = [
        Cl.principal(inputToken),
        Cl.stringAscii('TRANSFER_TOKENS'),
        Cl.none(),
        Cl.some(Cl.uint(amountIn)),
        Cl.some(Cl.principal(router)),
        Cl.stringAscii(uuid),
      ]
      expect(await verifier('hash', intent)).toBe(`0x${hash}`)
      const recovered = await verifier('recover', [Cl.bufferFromHex(signature), ...intent])
      expect(recovered).toBe(`(ok ${owner})`)
    }
  })

  test('takes an intent that stacks.js signs', async () => {
    const [owner, sender] = [await devnet.wallet(), await devnet.wallet()]
    const uuid = 'signed-by-stacks-js'
    const signature = signStructuredData({
      domain: Cl.tuple({
        name: Cl.stringAscii('BLAZE_PROTOCOL'),
        version: Cl.stringAscii('v1.0'),
        'chain-id': Cl.uint(DEVNET_CHAIN_ID),
      }),
      message: Cl.tuple({
        contract: Cl.principal(INPUT_TOKEN),
        intent: Cl.stringAscii('TRANSFER_TOKENS'),
        opcode: Cl.none(),
        amount: Cl.some(Cl.uint(1_000_000n)),
        target: Cl.some(Cl.principal(ROUTER)),
        uuid: Cl.stringAscii(uuid),
      }),
      privateKey: owner.privateKey,
    })
    const { txid } = await devnet.broadcast(
      await swap({ owner, sender, nonce: 0, uuid, signature }),
    )
    expect((await devnet.status(txid)).status).toBe('success')
  })

  test('grants a wallet enough to trade at once, and refuses what is no devnet address', async () => {
    const { address } = await devnet.wallet()
    const { stx, tokens } = await devnet.get(`/balances/${address}`)
    expect(BigInt(stx)).toBeGreaterThan(0n)
    expect(BigInt(tokens[INPUT_TOKEN])).toBeGreaterThan(0n)

    const mainnet = 'SP2ZNGJ85ENDY6QRHQ5P2D4FXKGZWCKTB2T0Z55KS'
    for (const bad of [undefined, 7, '', mainnet, `${address}.x`, address.toLowerCase()]) {
      expect((await devnet.postJson('/faucet', { address: bad })).status).toBe(400)
    }
  })
})
