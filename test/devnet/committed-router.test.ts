import { Cl } from '@stacks/transactions'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { COMMITTED_ROUTER_ERRORS } from '../../src/contracts/committed-router.ts'
import {
  BASE_TOKEN,
  COMMITTED_ROUTER,
  DEPLOYER,
  DEVNET_DEPLOYER_PRIVATE_KEY,
  DEVNET_SECONDS_PER_BLOCK,
  FAR_TOKEN,
  INPUT_TOKEN,
  INTENT_VERIFIER,
  OUTPUT_TOKEN,
  ROUTER,
  VAULTS,
} from '../../src/devnet/constants.ts'
import { type CommittedTerms, committedUuid } from '../../src/stacks/committed.ts'
import { anyTerms } from '../stacks/terms.ts'
import committed from '../vectors/committed.json' with { type: 'json' }
import {
  type Actors,
  actorsOf,
  type CommittedOrder,
  commit,
  DIRECT,
  inputOf,
  literal,
  SELLS_A,
  SELLS_B,
  type Step,
  swapArgs,
  termsOf,
} from './committed.ts'
import {
  type Answer,
  type Devnet,
  intentOf,
  paysAtLeast,
  spawnDevnet,
  type Wallet,
} from './devnet.ts'
import {
  ACCOUNT,
  allowInside,
  COUNTING_OUTPUT,
  grab,
  hostileInput,
  LYING_OUTPUT,
  middleman,
  moveAndSwap,
  payOtherDebt,
  reenter,
  refundInside,
  refundMiddleman,
  vault,
} from './hostile-contracts.ts'

const deployer: Wallet = { privateKey: DEVNET_DEPLOYER_PRIVATE_KEY, address: DEPLOYER }

let devnet: Devnet
let actors: Actors
let owner: Wallet
let operator: Wallet
let thief: Wallet
let contracts = 0

beforeAll(async () => {
  devnet = await spawnDevnet()
  actors = actorsOf(devnet)
  owner = await devnet.wallet()
  operator = await devnet.wallet()
  thief = await devnet.wallet()
  await devnet.postJson('/faucet', { address: DEPLOYER })
}, 60_000)
afterAll(() => devnet.stop())

/** Deploys a contract of the thief's, under a name of its own. */
const plant = (source: string) => actors.deploy(thief, `hostile-${contracts++}`, source)

/** A vault of the thief's, which owns what it is to pay. */
async function plantVault(options: Parameters<typeof vault>[0]) {
  const id = await plant(vault(options))
  if (options.pays) {
    const { status } = await actors.send(await rich(), OUTPUT_TOKEN, 'transfer', [
      Cl.uint(options.pays),
      Cl.principal((await rich()).address),
      Cl.principal(id),
      Cl.none(),
    ])
    expect(status).toBe('success')
  }
  return id
}

let funded: Wallet | undefined
/** A wallet with some of the output token. */
async function rich(): Promise<Wallet> {
  if (funded !== undefined) return funded
  funded = await devnet.wallet()
  const order = commit(funded, {}, { amount: 1_000_000_000n })
  expect((await actors.execute(funded, order)).status).toBe('success')
  return funded
}

const succeeds = (done: Answer) => expect(done).toMatchObject({ status: 'success' })
const refuses = (done: Answer, code: keyof typeof COMMITTED_ROUTER_ERRORS | 409000 | 401000) =>
  expect(done).toMatchObject({ status: 'abort_by_response', result: { repr: `(err u${code})` } })
const chainTime = async () =>
  Number((await actors.read(COMMITTED_ROUTER, 'get-chain-time')).slice(1))
const holdings = async (principal: string) => (await devnet.get(`/balances/${principal}`)).tokens
const EMPTY = { [BASE_TOKEN]: '0', [INPUT_TOKEN]: '0', [OUTPUT_TOKEN]: '0', [FAR_TOKEN]: '0' }

const there = { vault: VAULTS[1].vault, token: FAR_TOKEN }
const back = { vault: VAULTS[1].vault, opcode: SELLS_B, token: OUTPUT_TOKEN }
const first = { vault: VAULTS[0].vault, token: OUTPUT_TOKEN }
const ROUTES: [hops: number, token: string, route: Step[]][] = [
  [1, OUTPUT_TOKEN, [first]],
  [2, FAR_TOKEN, [first, there]],
  [3, OUTPUT_TOKEN, [first, there, back]],
  [4, FAR_TOKEN, [first, there, back, there]],
  [5, OUTPUT_TOKEN, [first, there, back, there, back]],
]

describe('a committed order', () => {
  test('pays its recipient all that the route pays, whichever sender executes it', async () => {
    const to = (await devnet.wallet()).address
    const { amountOut } = await devnet.quote()
    const before = await actors.held(owner.address, INPUT_TOKEN)
    const order = commit(owner, { to })

    const done = await actors.execute(thief, order)

    succeeds(done)
    expect(done.result.repr).toBe(`(ok (list (tuple (dk u0) (dx u1000000) (dy u${amountOut}))))`)
    expect(await actors.held(to, OUTPUT_TOKEN)).toBe(BigInt(amountOut))
    expect(await actors.held(owner.address, INPUT_TOKEN)).toBe(before - 1_000_000n)
    expect(await holdings(COMMITTED_ROUTER)).toEqual(EMPTY)
    expect(await holdings(ACCOUNT)).toEqual(EMPTY)
  })

  test('is completed once, and its uuid is used', async () => {
    const order = commit(owner)
    const uuid = [Cl.stringAscii(order.uuid)]
    expect(await actors.read(COMMITTED_ROUTER, 'is-completed', uuid)).toBe('false')
    succeeds(await actors.execute(operator, order))
    expect(await actors.read(COMMITTED_ROUTER, 'is-completed', uuid)).toBe('true')
    for (const used of ['check', 'is-used']) {
      expect(await actors.read(INTENT_VERIFIER, used, uuid)).toBe('true')
    }
    refuses(await actors.execute(operator, order), 409000)
  })

  test.each(
    ROUTES,
  )('goes through %i vaults, with their tokens named or not', async (hops, token, route) => {
    for (const named of [true, false]) {
      const to = (await devnet.wallet()).address
      const order = commit(owner, { to, token })
      const steps = route.map((step) => ({ ...step, token: named ? (step.token ?? null) : null }))
      const done = await actors.execute(operator, order, steps)
      succeeds(done)
      expect(done.result.repr.match(/\(dy u/g)).toHaveLength(hops)
      const paid = /\(dy u(\d+)\)+$/.exec(done.result.repr)?.[1]
      expect(await actors.held(to, token)).toBe(BigInt(paid ?? 0))
      expect(await holdings(ACCOUNT)).toEqual(EMPTY)
    }
  })

  test('takes exactly the minimum, and not one less', async () => {
    const exact = commit(owner, { min: (await devnet.quote()).amountOut })
    succeeds(await actors.execute(operator, exact))
    const { amountOut } = await devnet.quote()
    const dearer = commit(owner, { min: (BigInt(amountOut) + 1n).toString() })
    refuses(await actors.execute(operator, dearer), 412101)
  })

  test('is executed in the last second of its time, and not after', async () => {
    // A call sees the time of the block before its own, which is the tip when it is sent.
    const timely = commit(owner, { until: (await chainTime()) + DEVNET_SECONDS_PER_BLOCK })
    succeeds(await actors.execute(operator, timely))
    const late = commit(owner, { until: (await chainTime()) + DEVNET_SECONDS_PER_BLOCK - 1 })
    refuses(await actors.execute(operator, late), 410101)
  })

  test('is worthless once its time has passed on the chain', async () => {
    const order = commit(owner, { until: (await chainTime()) + 3_600 })
    await devnet.postJson('/faults/clock', { seconds: 3_600 })
    refuses(await actors.execute(operator, order), 410101)
    refuses(await actors.execute(thief, order), 410101)
  })

  test('that names its sender is executed by no other', async () => {
    const order = commit(owner, { by: operator.address })
    refuses(await actors.execute(thief, order), 403101)
    refuses(await actors.execute(owner, order), 403101)
    succeeds(await actors.execute(operator, order))
  })

  test('that names its sender is not executed by a contract which that sender calls', async () => {
    const stingy = await plantVault({ pays: 1n })
    const order = commit(owner, { by: operator.address })
    const trap = await plant(middleman(order, [{ vault: stingy }]))
    refuses(await actors.send(operator, trap, 'claim-airdrop', []), 403101)
    succeeds(await actors.execute(operator, order))
  })
})

describe('terms other than those of the uuid are refused', () => {
  const mutated: [keyof CommittedTerms, (terms: CommittedTerms) => Partial<CommittedTerms>][] = [
    ['by', () => ({ by: thief.address })],
    ['min', (terms) => ({ min: (BigInt(terms.min) - 1n).toString() })],
    [
      'salt',
      (terms) => ({ salt: terms.salt.replace(/^../, (byte) => (byte === '00' ? '01' : '00')) }),
    ],
    ['to', () => ({ to: thief.address })],
    ['token', () => ({ token: BASE_TOKEN })],
    ['until', (terms) => ({ until: terms.until + 1 })],
  ]
  test.each(mutated)('%s', async (_, change) => {
    const order = commit(owner, { min: '1000', by: operator.address })
    const route = DIRECT
    refuses(
      await actors.execute(operator, order, route, { ...order.terms, ...change(order.terms) }),
      400101,
    )
    succeeds(await actors.execute(operator, order, route))
  })

  test('by that is left out', async () => {
    const order = commit(owner, { by: operator.address })
    refuses(await actors.execute(thief, order, DIRECT, { ...order.terms, by: null }), 400101)
  })

  test('a uuid that commits to nothing', async () => {
    const order = commit(owner, {}, { uuid: '7d14db6a-b1fc-443e-8dc0-80958d878293' })
    refuses(await actors.execute(operator, order), 400101)
  })

  test('a uuid of the right terms that another owner signed moves nothing of this owner', async () => {
    const order = commit(owner)
    const before = await holdings(owner.address)
    const copy = commit(await devnet.wallet(), order.terms)
    succeeds(await actors.execute(thief, copy))
    expect((await holdings(owner.address))[INPUT_TOKEN]).toBe(before[INPUT_TOKEN])
  })

  test('the router or its account as recipient', async () => {
    for (const to of [COMMITTED_ROUTER, ACCOUNT]) {
      refuses(await actors.execute(operator, commit(owner, { to })), 400102)
    }
  })
})

describe('a thief', () => {
  /** What is read of a transaction: the order, as any holder of its signature can send it. */
  const legacyArgs = (signature: string, uuid: string, to: string) => [
    Cl.tuple({
      token: Cl.principal(INPUT_TOKEN),
      amount: Cl.uint(1_000_000n),
      signature: Cl.bufferFromHex(signature),
      uuid: Cl.stringAscii(uuid),
    }),
    Cl.tuple({ vault: Cl.principal(VAULTS[0].vault), opcode: Cl.bufferFromHex(SELLS_A) }),
    Cl.tuple({ token: Cl.principal(OUTPUT_TOKEN), to: Cl.principal(to) }),
  ]

  test('takes the input of an aborted swap from the legacy router, and nothing from the committed one', async () => {
    const uuid = `exposed-${contracts++}`
    const signature = intentOf({ owner, uuid })
    const guarded = { postConditions: paysAtLeast(10n ** 12n) }
    const aborted = await actors.send(
      operator,
      ROUTER,
      'x-swap-1',
      legacyArgs(signature, uuid, owner.address),
      guarded,
    )
    expect(aborted.status).toBe('abort_by_post_condition')
    const gain = await actors.held(thief.address, OUTPUT_TOKEN)
    succeeds(
      await actors.send(thief, ROUTER, 'x-swap-1', legacyArgs(signature, uuid, thief.address)),
    )
    expect(await actors.held(thief.address, OUTPUT_TOKEN)).toBeGreaterThan(gain)

    const order = commit(owner, { min: '400000', by: operator.address })
    const again = await actors.execute(operator, order, DIRECT, order.terms, guarded)
    expect(again.status).toBe('abort_by_post_condition')
    const before = [await holdings(owner.address), await holdings(thief.address)]
    const stolen = { ...order.terms, to: thief.address }
    refuses(await actors.execute(thief, order, DIRECT, stolen), 400101)
    refuses(await actors.execute(thief, order), 403101)
    const legacy = legacyArgs(order.signature, order.uuid, thief.address)
    expect((await actors.send(thief, ROUTER, 'x-swap-1', legacy)).status).toBe('abort_by_response')
    expect([await holdings(owner.address), await holdings(thief.address)]).toEqual(before)
    succeeds(await actors.execute(operator, order))
  })

  test('gains nothing by overtaking a pending swap', async () => {
    await devnet.postJson('/faults/block-time', { ms: null })
    try {
      const order = commit(owner, { min: '400000' })
      const pending = await actors.execute(operator, order)
      expect(pending.status).toBe('pending')
      const seen = await devnet.get(
        `/extended/v3/transactions/${pending.txid}?include=function_args`,
      )
      expect(JSON.stringify(seen.contract_call.function_args)).toContain(order.signature)
      const before = await holdings(thief.address)
      const stolen = { ...order.terms, to: thief.address }
      const first = await actors.execute(thief, order, DIRECT, stolen, { fee: 100_000n })
      await devnet.postJson('/faults/mine', {})
      refuses(await devnet.status(first.txid), 400101)
      succeeds(await devnet.status(pending.txid))
      expect(await holdings(thief.address)).toEqual(before)
    } finally {
      await devnet.postJson('/faults/block-time', { ms: 0 })
    }
  })

  test('that executes an open order through its own pool pays the minimum', async () => {
    const order = commit(owner, { min: '400000' })
    const before = await actors.held(owner.address, OUTPUT_TOKEN)
    refuses(
      await actors.execute(thief, order, [{ vault: await plantVault({ pays: 399_999n }) }]),
      412101,
    )
    succeeds(await actors.execute(thief, order, [{ vault: await plantVault({ pays: 400_000n }) }]))
    expect(await actors.held(owner.address, OUTPUT_TOKEN)).toBe(before + 400_000n)
  })
})

describe('what the router holds for a refund is out of reach', () => {
  let victim: CommittedOrder

  beforeAll(async () => {
    victim = commit(await devnet.wallet(), {}, { amount: 5_000_000n })
    succeeds(await actors.strand(thief, victim))
  })
  const isThere = async () =>
    expect(await holdings(COMMITTED_ROUTER)).toEqual({ ...EMPTY, [INPUT_TOKEN]: '5000000' })
  const own = (terms: Partial<CommittedTerms> = {}, rest: Partial<CommittedOrder> = {}) =>
    commit(thief, terms, rest)

  test('of a vault that pays nothing and reports a fortune', async () => {
    const liar = await plantVault({ pays: 0n, reports: 10n ** 15n })
    const order = own({ token: INPUT_TOKEN })
    // On the last hop the account pays what it holds; before it, the next vault finds nothing to take.
    expect((await actors.execute(thief, order, [{ vault: liar }])).status).toBe('abort_by_response')
    const onward = [{ vault: liar, token: null }, { vault: VAULTS[1].vault }]
    const far = own({ token: FAR_TOKEN })
    expect((await actors.execute(thief, far, onward)).status).toBe('abort_by_response')
    await isThere()
  })

  test('of a route that swaps the same token more than once', async () => {
    const idle = await plantVault({ takes: 0n, pays: 0n, reports: 6_000_000n })
    const order = own({ token: OUTPUT_TOKEN })
    const route = [{ vault: idle, token: null }, { vault: VAULTS[0].vault }]
    expect((await actors.execute(thief, order, route)).status).toBe('abort_by_response')
    await isThere()
  })

  test('of a vault that moves tokens with the authority of its caller', async () => {
    const attack = grab(INPUT_TOKEN, 5_000_000n, thief.address, [COMMITTED_ROUTER, ACCOUNT])
    const grabber = await plantVault({ pays: 7n, attack })
    succeeds(await actors.execute(thief, own({ min: '7' }), [{ vault: grabber }]))
    await isThere()
  })

  test('of a vault that takes what the legacy router holds, which calls vaults itself', async () => {
    const amount = 5_000_000n
    const uuid = `stranded-${contracts++}`
    const moved = [
      Cl.bufferFromHex(intentOf({ owner, amount, uuid })),
      Cl.uint(amount),
      Cl.stringAscii(uuid),
      Cl.principal(ROUTER),
    ]
    succeeds(await actors.send(thief, INPUT_TOKEN, 'x-transfer', moved))
    const holders = [ROUTER, COMMITTED_ROUTER, ACCOUNT]
    const attack = grab(INPUT_TOKEN, amount, thief.address, holders)
    const grabber = await plantVault({ pays: 13n, attack })
    const own = commit(thief, {}, { uuid: `own-${contracts++}` })
    const legacy = { ...own, signature: intentOf({ owner: thief, uuid: own.uuid }) }
    const before = await actors.held(thief.address, INPUT_TOKEN)
    const done = await actors.send(thief, ROUTER, 'x-swap-1', [
      inputOf(legacy),
      Cl.tuple({ vault: Cl.principal(grabber), opcode: Cl.bufferFromHex(SELLS_A) }),
      Cl.tuple({ token: Cl.principal(OUTPUT_TOKEN), to: Cl.principal(thief.address) }),
    ])
    succeeds(done)
    expect(await actors.held(thief.address, INPUT_TOKEN)).toBe(before + amount - own.amount)
    expect(await actors.held(ROUTER, INPUT_TOKEN)).toBe(0n)
    await isThere()
  })

  test('of one transaction that strands an input and takes it through a vault', async () => {
    const fresh = commit(await devnet.wallet(), {}, { amount: 3_000_000n })
    const attack = grab(INPUT_TOKEN, 3_000_000n, thief.address, [COMMITTED_ROUTER, ACCOUNT])
    const route = [{ vault: await plantVault({ pays: 9n, attack }) }]
    const taker = await plant(moveAndSwap(fresh, own({ min: '9' }), route))
    const before = await actors.held(thief.address, INPUT_TOKEN)
    succeeds(await actors.send(thief, taker, 'take', []))
    expect(await actors.held(thief.address, INPUT_TOKEN)).toBe(before - 1_000_000n)
    expect(await actors.held(COMMITTED_ROUTER, INPUT_TOKEN)).toBe(8_000_000n)
    succeeds(await actors.refund(deployer, fresh))
    await isThere()
  })

  test('of an input token of the thief', async () => {
    const evil = await plant(hostileInput(INPUT_TOKEN, 5_000_000n, thief.address))
    const order = own({}, { inputToken: evil })
    refuses(await actors.execute(thief, order), 403102)
    await isThere()
  })

  test('of a vault that starts another order inside the first', async () => {
    const second = own()
    for (const inner of [
      DIRECT,
      [{ vault: VAULTS[0].vault, token: OUTPUT_TOKEN }, { vault: VAULTS[1].vault }],
    ]) {
      const nested = await plantVault({ pays: 11n, attack: reenter(second, inner) })
      for (const outer of [
        [{ vault: nested }],
        [{ vault: nested, token: null }, { vault: VAULTS[1].vault }],
      ]) {
        const done = await actors.execute(thief, own({ min: '11' }), outer)
        expect(done.status).toBe('abort_by_response')
        expect(done.vm_error).toMatch(/CircularReference|interdependent/)
      }
    }
    await isThere()
  })

  test('of a vault that asks for a refund inside an order', async () => {
    const asking = await plantVault({ pays: 12n, attack: refundInside(victim) })
    succeeds(await actors.execute(deployer, own({ min: '12' }), [{ vault: asking }]))
    await isThere()
  })

  test('of the account, which only the router calls', async () => {
    const { args } = swapArgs(own())
    const hop = Cl.tuple({
      vault: Cl.principal(VAULTS[0].vault),
      opcode: Cl.bufferFromHex(SELLS_A),
      token: Cl.none(),
    })
    expect(args).toHaveLength(3)
    for (const sender of [thief, deployer]) {
      const run = await actors.send(sender, ACCOUNT, 'run', [
        Cl.uint(1),
        Cl.principal(INPUT_TOKEN),
        Cl.list([hop]),
        Cl.principal(OUTPUT_TOKEN),
        Cl.principal(thief.address),
      ])
      refuses(run, 403104)
    }
  })

  test('and goes to its owner alone', async () => {
    const before = await actors.held(victim.owner.address, INPUT_TOKEN)
    succeeds(await actors.refund(deployer, victim))
    expect(await actors.held(victim.owner.address, INPUT_TOKEN)).toBe(before + 5_000_000n)
    expect(await holdings(COMMITTED_ROUTER)).toEqual(EMPTY)
  })
})

describe('what a swap leaves', () => {
  test('of the input goes to the recipient, when a vault takes less than it was given', async () => {
    const half = await plantVault({ takes: 50n, pays: 500n })
    const to = (await devnet.wallet()).address
    const before = await actors.held(to, INPUT_TOKEN)
    succeeds(await actors.execute(operator, commit(owner, { to }), [{ vault: half }]))
    expect(await actors.held(to, INPUT_TOKEN)).toBe(before + 500_000n)
    expect(await holdings(ACCOUNT)).toEqual(EMPTY)
  })

  test('of a named token goes on to the next vault, when one pays more than it reports', async () => {
    const modest = await plantVault({ pays: 1_000_000n, reports: 1n })
    const to = (await devnet.wallet()).address
    const route = [{ vault: modest, token: OUTPUT_TOKEN }, { vault: VAULTS[1].vault }]
    succeeds(await actors.execute(operator, commit(owner, { to, token: FAR_TOKEN }), route))
    expect(await actors.held(to, FAR_TOKEN)).toBeGreaterThan(200_000n)
    expect(await holdings(ACCOUNT)).toEqual(EMPTY)
  })

  test('of a named token goes to the recipient, when the next vault takes less than it was given', async () => {
    const [first, half] = [
      await plantVault({ pays: 1_000n }),
      await plantVault({ takes: 50n, pays: 600n, input: OUTPUT_TOKEN }),
    ]
    const to = (await devnet.wallet()).address
    const route = [{ vault: first, token: OUTPUT_TOKEN }, { vault: half }]
    const far = await plant(COUNTING_OUTPUT)
    succeeds(await actors.execute(operator, commit(owner, { to, token: far }), route))
    expect(await actors.held(to, OUTPUT_TOKEN)).toBe(500n + 600n)
    expect(await holdings(ACCOUNT)).toEqual(EMPTY)
  })

  test('of the output goes to the recipient, when a vault pays more than it reports', async () => {
    const modest = await plantVault({ pays: 777n, reports: 1n })
    const to = (await devnet.wallet()).address
    const done = await actors.execute(operator, commit(owner, { to }), [{ vault: modest }])
    expect(done.result.repr).toContain('(dy u777)')
    expect(await actors.held(to, OUTPUT_TOKEN)).toBe(777n)
  })
})

describe('the minimum', () => {
  test('is not met by what another contract owes the recipient', async () => {
    const uuid = `other-debt-${contracts++}`
    const debt = commit(owner, {}, { uuid })
    const legacy = { ...debt, signature: intentOf({ owner, uuid }) }
    const attack = payOtherDebt(
      literal(inputOf(legacy)),
      literal(
        Cl.tuple({ vault: Cl.principal(VAULTS[0].vault), opcode: Cl.bufferFromHex(SELLS_A) }),
      ),
      literal(Cl.tuple({ token: Cl.principal(OUTPUT_TOKEN), to: Cl.principal(owner.address) })),
    )
    const order = commit(owner, { min: '400000' })
    const double = await plantVault({ pays: 1n, reports: 500_000n, attack })
    refuses(await actors.execute(thief, order, [{ vault: double }]), 412101)
  })

  test('is not met by a token that says it moved', async () => {
    const liar = await plant(LYING_OUTPUT)
    const order = commit(owner, { token: liar, min: '1' })
    refuses(await actors.execute(thief, order), 412101)
  })
})

describe('a refund', () => {
  let stranded: CommittedOrder

  beforeAll(async () => {
    stranded = commit(owner)
    succeeds(await actors.strand(thief, stranded))
  })

  test('is paid by the deployer alone, called directly', async () => {
    for (const sender of [owner, thief, operator]) {
      refuses(await actors.refund(sender, stranded), 403103)
    }
    const trap = await plant(refundMiddleman(stranded))
    refuses(await actors.send(deployer, trap, 'claim-airdrop', []), 403103)
  })

  test('is not paid for an order that nothing has used', async () => {
    refuses(await actors.refund(deployer, commit(owner)), 404101)
  })

  test('is not paid for an order that was executed', async () => {
    const order = commit(owner)
    succeeds(await actors.execute(operator, order))
    refuses(await actors.refund(deployer, order), 409101)
  })

  test('is not paid to another owner, of another amount, token or uuid', async () => {
    const before = await holdings(COMMITTED_ROUTER)
    const other = commit(owner)
    succeeds(await actors.execute(operator, other))
    for (const claim of [
      { ...stranded, owner: thief },
      { ...stranded, amount: stranded.amount - 1n },
      { ...stranded, uuid: other.uuid },
      { ...stranded, signature: other.signature },
      { ...stranded, signature: commit(thief, stranded.terms).signature },
    ]) {
      refuses(await actors.refund(deployer, claim), 401101)
    }
    const noKey = { ...stranded, signature: `${'00'.repeat(64)}01` }
    refuses(await actors.refund(deployer, noKey), 401000)
    const inputToken = await plant(hostileInput(INPUT_TOKEN, 1n, thief.address))
    refuses(await actors.refund(deployer, { ...stranded, inputToken }), 403102)
    expect(await holdings(COMMITTED_ROUTER)).toEqual(before)
  })

  test('is paid once', async () => {
    const before = await actors.held(owner.address, INPUT_TOKEN)
    const done = await actors.refund(deployer, stranded)
    succeeds(done)
    expect(await actors.held(owner.address, INPUT_TOKEN)).toBe(before + stranded.amount)
    const uuid = [Cl.stringAscii(stranded.uuid)]
    expect(await actors.read(COMMITTED_ROUTER, 'is-refunded', uuid)).toBe('true')
    expect(await actors.read(COMMITTED_ROUTER, 'is-completed', uuid)).toBe('false')
    refuses(await actors.refund(deployer, stranded), 409102)
    refuses(await actors.execute(operator, stranded), 409000)
  })
})

describe('an input', () => {
  test('is allowed by the deployer alone, called directly', async () => {
    const input = await plant(hostileInput(INPUT_TOKEN, 1n, thief.address))
    refuses(
      await actors.send(thief, COMMITTED_ROUTER, 'allow-input', [Cl.principal(input)]),
      403103,
    )
    const trap = await plant(allowInside(input))
    refuses(await actors.send(deployer, trap, 'claim-airdrop', []), 403103)
    expect(await actors.read(COMMITTED_ROUTER, 'is-input', [Cl.principal(input)])).toBe('false')
    expect(await actors.read(COMMITTED_ROUTER, 'is-input', [Cl.principal(INPUT_TOKEN)])).toBe(
      'true',
    )
  })
})

test('a committed router says what it is', async () => {
  expect(await actors.read(COMMITTED_ROUTER, 'get-info')).toBe(
    `(tuple (account ${ACCOUNT}) (deployer ${DEPLOYER}) (verifier ${INTENT_VERIFIER}) (version "latchkey-committed-router-1"))`,
  )
})

describe('uuid-of', () => {
  const uuidOf = (terms: CommittedTerms) =>
    actors.read(COMMITTED_ROUTER, 'uuid-of', [termsOf(terms)])

  test.each(committed)('returns what the vectors say: $why', async ({ terms, uuid }) => {
    expect(await uuidOf(terms)).toBe(`"${uuid}"`)
  })

  test('returns what the owner computes, for any terms', async () => {
    await fc.assert(
      fc.asyncProperty(anyTerms(DEPLOYER), async (terms) => {
        expect(await uuidOf(terms)).toBe(`"${committedUuid(terms, 'devnet')}"`)
      }),
      { numRuns: 200 },
    )
  })
})

describe('the cost of a call, of a block of 5,000,000,000 and 15,000 reads', () => {
  test.each(ROUTES)('is below 2 per cent for %i hops', async (_, token, route) => {
    const { execution_cost: cost } = await actors.execute(operator, commit(owner, { token }), route)
    expect(cost.runtime).toBeGreaterThan(100_000)
    expect(cost.runtime).toBeLessThan(100_000_000)
    expect(cost.read_count).toBeLessThan(300)
    expect(cost.write_count).toBeLessThan(300)
  })
})
