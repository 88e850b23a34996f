import { Cl, signStructuredData, type TupleCV } from '@stacks/transactions'
import { describe, expect, it } from 'vitest'
import { type WalletRequest, walletSigner } from '../../src/client/index.ts'
import { verifyIntent } from '../../src/stacks/intent.ts'
import { addressOf, publicKeyOf, signMessage } from '../../src/stacks/sign.ts'
import { DRAFT, PRIVATE_KEY, ROUTER, scripted, signer } from './scripted.ts'

const OTHER_KEY = 'ea528235e03ac155d9dea28e4d07cb15b396f0f9f4c07f968c4e578fb9c5b80201'

/**
 * A browser wallet: its methods, what they take and what they return. Clarity values are serialized: @stacks/connect 8
 * passes such texts on, and the providers of Leather and Xverse take nothing else.
 */
interface ConnectMethods {
  getAddresses: { params: { network?: string }; result: { addresses: Entry[] } }
  stx_getAddresses: { params: { network?: string }; result: { addresses: Entry[] } }
  stx_signMessage: { params: { message: string; publicKey?: string }; result: Signed }
  stx_signStructuredMessage: { params: { message: string; domain: string }; result: Signed }
}
interface Entry {
  symbol?: string
  address: string
  publicKey: string
}
interface Signed {
  signature: string
  publicKey: string
}
type ConnectRequest = <Method extends keyof ConnectMethods>(
  method: Method,
  params?: ConnectMethods[Method]['params'],
) => Promise<ConnectMethods[Method]['result']>

function browserWallet(privateKey = PRIVATE_KEY, change: Record<string, () => unknown> = {}) {
  const asked: string[] = []
  const publicKey = publicKeyOf(privateKey)
  const addresses = [
    { symbol: 'BTC', address: 'bc1qexample', publicKey: '' },
    { symbol: 'STX', address: addressOf(privateKey, 'mainnet'), publicKey },
    { symbol: 'STX', address: addressOf(privateKey, 'devnet'), publicKey },
  ]
  // biome-ignore lint/suspicious/noExplicitAny: a wallet is given whatever the method takes
  const methods: Record<string, (params: any) => unknown> = {
    getAddresses: () => ({ addresses }),
    stx_getAddresses: () => ({ addresses }),
    stx_signMessage: ({ message }) => ({
      signature: signMessage({ message, privateKey }),
      publicKey,
    }),
    stx_signStructuredMessage: ({ message, domain }) => ({
      signature: signStructuredData({
        message: Cl.deserialize(message),
        domain: Cl.deserialize<TupleCV>(domain),
        privateKey,
      }),
      publicKey,
    }),
    ...change,
  }
  const request = (async (method: string, params: unknown) => {
    asked.push(method)
    // Parameters reach an extension as a structured clone or as JSON.
    return methods[method]?.(params === undefined ? undefined : JSON.parse(JSON.stringify(params)))
  }) as ConnectRequest
  return { request, asked }
}

const fails = (code: number, message: string) => () => {
  throw Object.assign(new Error(message), { code })
}

describe('A browser wallet', () => {
  it('manages keys and places orders', async () => {
    const { request, asked } = browserWallet()
    const script = [
      { status: 201, body: { keyId: 'key_1' } },
      { status: 201, body: { data: { uuid: 'uuid-1' } } },
    ]
    const { client, sent } = scripted(script, { signer: walletSigner(request) })
    await client.keys.create({ name: 'bot', permissions: ['execute'] })
    await client.orders.create(DRAFT)
    expect(asked).toEqual(['stx_getAddresses', 'stx_signMessage', 'stx_signStructuredMessage'])
    expect(sent[0]?.body).toMatchObject({
      walletAddress: signer.address,
      publicKey: publicKeyOf(PRIVATE_KEY),
    })
    const order = sent[1]?.body
    expect(order.owner).toBe(signer.address)
    expect(verifyIntent({ ...order, router: ROUTER, network: 'devnet' })).toMatchObject({
      ok: true,
    })
  })

  it('is handed the domain and the intent as the hex of serialized Clarity values', async () => {
    const handed: unknown[] = []
    const { request } = browserWallet()
    const wallet = walletSigner((method, params) => {
      handed.push(params)
      return request(method, params)
    })
    const { inputToken, amountIn, uuid } = DRAFT
    await wallet.signIntent({ inputToken, amountIn, uuid, router: ROUTER }, 'devnet')
    const [deployer = '', router = ''] = ROUTER.split('.')
    const message = Cl.tuple({
      contract: Cl.contractPrincipal(deployer, 'token-a'),
      intent: Cl.stringAscii('TRANSFER_TOKENS'),
      opcode: Cl.none(),
      amount: Cl.some(Cl.uint(1_000_000)),
      target: Cl.some(Cl.contractPrincipal(deployer, router)),
      uuid: Cl.stringAscii('uuid-1'),
    })
    const domain = Cl.tuple({
      name: Cl.stringAscii('BLAZE_PROTOCOL'),
      version: Cl.stringAscii('v1.0'),
      'chain-id': Cl.uint(2_147_483_648),
    })
    expect(handed.at(-1)).toEqual({
      domain: Cl.serialize(domain),
      message: Cl.serialize(message),
    })
  })

  it('may answer in the envelope of JSON-RPC, as bare providers do', async () => {
    const { request } = browserWallet()
    const bare: WalletRequest = async (method, params) => ({
      jsonrpc: '2.0',
      id: '1',
      result: await request(method, params),
    })
    expect(await walletSigner(bare).getAddress('mainnet')).toBe(addressOf(PRIVATE_KEY, 'mainnet'))
    await walletSigner(bare).signMessage('{}', 'devnet')
  })

  it('may put the recovery id first', async () => {
    const { request } = browserWallet(PRIVATE_KEY, {
      stx_signMessage: () => {
        const rsv = signMessage({ message: '{}', privateKey: PRIVATE_KEY })
        return { signature: `0x${rsv.slice(128)}${rsv.slice(0, 128)}` }
      },
    })
    const signed = await walletSigner(request).signMessage('{}', 'devnet')
    expect(signed.signature).toMatch(/^0x0[01]/)
  })

  describe('that demands the public key beside what it signs', () => {
    const publicKey = publicKeyOf(PRIVATE_KEY)
    const demanding = (change: Record<string, () => unknown> = {}) => {
      const { request, asked } = browserWallet(PRIVATE_KEY, change)
      const wallet = (async (method: string, params: { publicKey?: string } = {}) => {
        const isSigning = method.startsWith('stx_sign')
        if (isSigning && params.publicKey !== publicKey) fails(-32602, 'Invalid parameters')()
        return request(method as 'stx_signMessage', params as { message: string })
      }) as WalletRequest
      return { wallet, asked }
    }

    it('gets it, whether its address was asked for or given', async () => {
      for (const options of [{}, { address: signer.address }]) {
        const { wallet, asked } = demanding()
        const script = [{ status: 201, body: { data: { uuid: 'uuid-1' } } }]
        const { client } = scripted([{ body: { apiKeys: [] } }, ...script], {
          signer: walletSigner(wallet, options),
        })
        await client.keys.list()
        await client.orders.create(DRAFT)
        expect(asked).toEqual(['stx_getAddresses', 'stx_signMessage', 'stx_signStructuredMessage'])
      }
    })

    it('and does not name it, fails with what it said', async () => {
      const { wallet } = demanding({
        stx_getAddresses: () => ({ addresses: [{ address: signer.address, publicKey: '' }] }),
      })
      await expect(walletSigner(wallet).signMessage('{}', 'devnet')).rejects.toMatchObject({
        code: 'SIGNING_FAILED',
        details: { walletCode: -32602 },
      })
    })
  })

  it('that refuses a public key beside what it signs is asked without it', async () => {
    const { request } = browserWallet()
    const strict: WalletRequest = async (method, params) => {
      if (params?.publicKey !== undefined) fails(-32602, 'Invalid parameters')()
      return request(method, params)
    }
    await walletSigner(strict).signMessage('{}', 'devnet')
  })

  it('whose user refuses is not asked to sign a second time', async () => {
    const { request, asked } = browserWallet(PRIVATE_KEY, {
      stx_signMessage: fails(-31001, 'User canceled'),
    })
    await expect(walletSigner(request).signMessage('{}', 'devnet')).rejects.toThrow('User canceled')
    expect(asked).toEqual(['stx_getAddresses', 'stx_signMessage'])
  })

  it('is asked for its address once, by the older name when it does not know the newer', async () => {
    const { request, asked } = browserWallet(PRIVATE_KEY, {
      stx_getAddresses: fails(-32601, 'Method not found'),
    })
    const wallet = walletSigner(request)
    expect(await wallet.getAddress('devnet')).toBe(signer.address)
    expect(await wallet.getAddress('devnet')).toBe(signer.address)
    expect(asked).toEqual(['stx_getAddresses', 'getAddresses'])
  })

  it('is not asked twice when its user says no, and may be asked again later', async () => {
    const { request, asked } = browserWallet(PRIVATE_KEY, {
      stx_getAddresses: fails(4001, 'User rejected the request'),
    })
    const wallet = walletSigner(request)
    await expect(wallet.getAddress('devnet')).rejects.toMatchObject({
      code: 'SIGNING_FAILED',
      message: expect.stringContaining('User rejected the request'),
    })
    expect(asked).toEqual(['stx_getAddresses'])
    await expect(wallet.getAddress('devnet')).rejects.toMatchObject({ code: 'SIGNING_FAILED' })
    expect(asked).toHaveLength(2)
  })

  it('of another network is told to switch', async () => {
    const { request } = browserWallet(PRIVATE_KEY, {
      stx_getAddresses: () => ({ addresses: [{ address: addressOf(PRIVATE_KEY, 'mainnet') }] }),
    })
    await expect(walletSigner(request).getAddress('testnet')).rejects.toThrow(
      'Switch the wallet to testnet',
    )
    const address = addressOf(PRIVATE_KEY, 'mainnet')
    await expect(walletSigner(request, { address }).getAddress('devnet')).rejects.toMatchObject({
      code: 'WRONG_NETWORK',
    })
  })

  it('whose account was switched sends nothing, and its user learns why', async () => {
    const { request } = browserWallet(OTHER_KEY)
    const wallet = walletSigner(request, { address: signer.address })
    const { client, sent } = scripted([], { signer: wallet })
    const sentence = `did not sign as ${signer.address}`
    await expect(client.keys.list()).rejects.toThrow(sentence)
    await expect(client.orders.create(DRAFT)).rejects.toThrow(sentence)
    expect(sent).toEqual([])
  })

  it.each([
    ['nothing', undefined],
    ['an error', { error: { code: 4001, message: 'no' } }],
    ['something else', { txid: '0x' }],
  ])('that answers %s fails with SIGNING_FAILED', async (_, answer) => {
    const { request } = browserWallet(PRIVATE_KEY, { stx_signMessage: () => answer })
    const { client } = scripted([], { signer: walletSigner(request) })
    await expect(client.keys.list()).rejects.toMatchObject({ code: 'SIGNING_FAILED' })
  })
})
