import {
  makeContractCall,
  makeUnsignedSTXTokenTransfer,
  privateKeyToPublic,
  randomPrivateKey,
  type StacksTransactionWire,
  TransactionSigner,
} from '@stacks/transactions'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { DEVNET_CHAIN_ID, ROUTER } from '../../src/devnet/constants.ts'
import {
  type Answer,
  type Devnet,
  spawnDevnet,
  splitId,
  swap,
  transfer,
  type Wallet,
} from './devnet.ts'

const ORDER = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n

describe('the mempool', () => {
  let devnet: Devnet

  beforeAll(async () => {
    devnet = await spawnDevnet()
  }, 60_000)
  afterAll(() => devnet.stop())

  const nonces = (address: string) => devnet.get(`/extended/v3/principals/${address}/nonces`)

  async function refuses(tx: StacksTransactionWire, reason: string, data?: Answer) {
    const expected = { error: 'transaction rejected', reason, txid: tx.txid() }
    const shape = data === undefined ? expected : { ...expected, reason_data: data }
    expect(await devnet.broadcast(tx)).toMatchObject(shape)
    expect(await devnet.postBytes(tx.serializeBytes())).toMatchObject({ status: 400, body: shape })
    expect((await devnet.request(`/extended/v3/transactions/${tx.txid()}`)).status).toBe(404)
  }

  test('takes the same bytes again and answers the same txid, mined or not', async () => {
    const sender = await devnet.wallet()
    for (const nonce of [0, 5]) {
      const tx = await transfer(sender, nonce)
      for (const _ of [1, 2, 3]) {
        const answer = await devnet.postBytes(tx.serializeBytes())
        expect(answer).toEqual({ status: 200, body: tx.txid() })
      }
    }
    expect((await devnet.get(`/v2/accounts/${sender.address}`)).nonce).toBe(1)
  })

  test('holds a transaction over a gap in the nonces and mines it once the gap is filled', async () => {
    const [owner, sender] = [await devnet.wallet(), await devnet.wallet()]
    const [first, second] = [
      await swap({ owner, sender, nonce: 0 }),
      await swap({ owner, sender, nonce: 1 }),
    ]
    await devnet.broadcast(second)
    expect(await devnet.status(second.txid())).toMatchObject({ status: 'pending' })
    expect(await nonces(sender.address)).toEqual({
      next_nonce: 2,
      last_confirmed_nonce: null,
      mempool: { last_nonce: 1, pending_nonces: [1], missing_nonces: [0] },
    })

    await devnet.broadcast(first)
    const [one, two] = [await devnet.status(first.txid()), await devnet.status(second.txid())]
    expect([one.status, two.status]).toEqual(['success', 'success'])
    expect(two.block.height).toBe(one.block.height + 1)
  })

  test('refuses a nonce that is spent', async () => {
    const sender = await devnet.wallet()
    await devnet.broadcast(await transfer(sender, 0))
    await refuses(await transfer(sender, 0, { amount: 2n }), 'BadNonce', {
      expected: 1,
      actual: 0,
      principal: sender.address,
      is_origin: true,
    })
  })

  test('refuses a nonce more than 26 ahead', async () => {
    const sender = await devnet.wallet()
    expect(await devnet.broadcast(await transfer(sender, 26))).toHaveProperty('txid')
    await refuses(await transfer(sender, 27), 'TooMuchChaining', { expected: 26, actual: 27 })
  })

  test('refuses a fee below one micro-STX a byte', async () => {
    const sender = await devnet.wallet()
    const size = (await transfer(sender, 0)).serializeBytes().length
    const cheap = await transfer(sender, 0, { fee: BigInt(size - 1) })
    await refuses(cheap, 'FeeTooLow', { expected: size, actual: size - 1 })
    const enough = await devnet.broadcast(await transfer(sender, 0, { fee: BigInt(size) }))
    expect(enough).not.toHaveProperty('error')
  })

  test('refuses what the sender cannot pay', async () => {
    const pauper = { privateKey: randomPrivateKey(), address: '' }
    await refuses(await transfer(pauper, 0), 'NotEnoughFunds', {
      expected: `0x${(401).toString(16).padStart(32, '0')}`,
      actual: `0x${'0'.repeat(32)}`,
    })
  })

  test('refuses another network and another chain', async () => {
    const sender = await devnet.wallet()
    const mainnet = await transfer(sender, 0, {
      network: 'mainnet',
      recipient: 'SP2ZNGJ85ENDY6QRHQ5P2D4FXKGZWCKTB2T0Z55KS',
    })
    await refuses(mainnet, 'BadTransactionVersion')
    await refuses(await signedForChain(sender, 1), 'SignatureValidation', {
      message: `invalid chain ID 1 (expected ${DEVNET_CHAIN_ID})`,
    })
  })

  test('refuses a signature of other content, of another key, and its high-S twin', async () => {
    const sender = await devnet.wallet()
    const altered = await transfer(sender, 0)
    altered.setFee(500n)
    await refuses(altered, 'SignatureValidation')

    const foreign = await transfer(sender, 0)
    const other = await transfer({ privateKey: randomPrivateKey(), address: '' }, 0)
    foreign.auth.spendingCondition.signer = other.auth.spendingCondition.signer
    await refuses(foreign, 'SignatureValidation')

    const twin = await transfer(sender, 0)
    if (!('signature' in twin.auth.spendingCondition)) throw new Error('not a single signature')
    twin.auth.spendingCondition.signature.data = toHighS(twin.auth.spendingCondition.signature.data)
    await refuses(twin, 'SignatureValidation')
  })

  test('refuses bytes that are no transaction, or more than one', async () => {
    const bytes = (await transfer(await devnet.wallet(), 0)).serializeBytes()
    const faulty = [
      new Uint8Array([...bytes, 0]),
      bytes.slice(0, -1),
      new Uint8Array([1, 2, 3]),
      new Uint8Array(),
    ]
    for (const sent of faulty) {
      const { status, body } = await devnet.postBytes(sent)
      expect(status).toBe(400)
      expect(body).toMatchObject({ error: 'transaction rejected', reason: 'Deserialization' })
    }
    for (const body of [{}, { tx: 7 }, { tx: 'zz' }, [], null]) {
      expect((await devnet.postJson('/v2/transactions', body)).status).toBe(400)
    }
  })

  test('refuses calls that the chain could not make', async () => {
    const sender = await devnet.wallet()
    const call = (contract: string, functionName: string) =>
      makeContractCall({
        ...splitId(contract),
        functionName,
        functionArgs: [],
        senderKey: sender.privateKey,
        network: 'devnet',
        fee: 1_000n,
        nonce: 0,
      })
    await refuses(await call(`${ROUTER}-two`, 'x-swap-1'), 'NoSuchContract')
    await refuses(await call(ROUTER, 'x-swap-6'), 'NoSuchPublicFunction')
    await refuses(await call(ROUTER, 'pull'), 'NoSuchPublicFunction')
    await refuses(await call(ROUTER, 'x-swap-1'), 'BadFunctionArgument')
  })

  test('refuses a rival of a pending transaction, unless it pays more', async () => {
    const sender = await devnet.wallet()
    const first = await transfer(sender, 1)
    await devnet.broadcast(first)
    await refuses(await transfer(sender, 1, { amount: 2n }), 'ConflictingNonceInMempool')

    const richer = await transfer(sender, 1, { amount: 2n, fee: 401n })
    expect(await devnet.broadcast(richer)).toEqual({ txid: richer.txid() })
    expect(await devnet.status(first.txid())).toMatchObject({
      status: 'dropped_replace_by_fee',
      replaced_by_tx_id: `0x${richer.txid()}`,
    })
    await devnet.broadcast(await transfer(sender, 0))
    expect((await devnet.status(richer.txid())).status).toBe('success')
    expect((await devnet.status(first.txid())).status).toBe('dropped_replace_by_fee')
  })

  test('answers the old addresses for transactions and nonces too', async () => {
    const sender = await devnet.wallet()
    const tx = await transfer(sender, 0)
    await devnet.broadcast(tx)
    expect(await devnet.get(`/extended/v1/tx/${tx.txid()}`)).toMatchObject({
      tx_id: `0x${tx.txid()}`,
      tx_status: 'success',
      canonical: true,
      tx_result: { repr: '(ok true)', hex: '0x0703' },
    })
    expect(await devnet.get(`/extended/v1/address/${sender.address}/nonces`)).toMatchObject({
      last_executed_tx_nonce: 0,
      possible_next_nonce: 1,
    })
  })

  test('answers strange requests with JSON and lives on', async () => {
    const strange = ['/nowhere', '/v2/accounts/x', '/extended/v3/transactions/x', '/balances/(ok)']
    for (const path of strange) {
      expect((await devnet.request(path)).status).toBeOneOf([400, 404])
    }
    const read = '/v2/contracts/call-read/x/y/z'
    expect((await devnet.postJson(read, { sender: 'x' })).status).toBe(400)
    const { address: sender } = await devnet.wallet()
    expect(await devnet.postJson(read, { sender, arguments: [] })).toMatchObject({
      status: 200,
      body: { okay: false },
    })
    expect((await devnet.get('/v2/info')).network_id).toBe(DEVNET_CHAIN_ID)
  })
})

async function signedForChain(sender: Wallet, chainId: number) {
  const tx = await makeUnsignedSTXTokenTransfer({
    recipient: 'ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG',
    amount: 1n,
    fee: 400n,
    nonce: 0,
    network: 'devnet',
    publicKey: privateKeyToPublic(sender.privateKey) as string,
  })
  tx.chainId = chainId
  new TransactionSigner(tx).signOrigin(sender.privateKey)
  return tx
}

function toHighS(vrs: string): string {
  const s = ORDER - BigInt(`0x${vrs.slice(66)}`)
  const recovery = Number(`0x${vrs.slice(0, 2)}`) ^ 1
  return `0${recovery}${vrs.slice(2, 66)}${s.toString(16).padStart(64, '0')}`
}
