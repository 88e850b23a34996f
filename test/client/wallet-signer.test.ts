import {
  AddressHashMode,
  addressHashModeToVersion,
  Cl,
  signStructuredData,
  type TupleCV,
} from '@stacks/transactions'
import { describe, expect, it } from 'vitest'
import { type WalletRequest, walletSigner } from '../../src/client/index.ts'
import { decodeC32, encodeC32 } from '../../src/stacks/c32.ts'
import { verifyIntent } from '../../src/stacks/intent.ts'
import { addressOf, publicKeyOf, signMessage } from '../../src/stacks/sign.ts'
import { DRAFT, info, PRIVATE_KEY, ROUTER, refusal, scripted, signer } from './scripted.ts'

const OTHER_KEY = 'ea528235e03ac155d9dea28e4d07cb15b396f0f9f4c07f968c4e578fb9c5b80201'

/**
 * A browser wallet: its methods, what they take and what they return. Clarity values are serialized: @stacks/connect 8
 * passes such texts on, and the providers of Leather and Xverse take nothing else.
 */
interface ConnectMethods {
  getAddresses: { params: { network?: string }; result: { addresses: Entry[] } }
  stx_getAddresses: { params: { network?: string }; result: { addresses: Entry[] } }
  wallet_connect: { params: object; result: { addresses: Entry[] } }
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
    expect(asked).toEqual(['getAddresses', 'stx_signMessage', 'stx_signStructuredMessage'])
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
      network: 'devnet',
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

  it('that is not installed is told as such, when the signer is made', () => {
    const { LeatherProvider } = globalThis as { LeatherProvider?: WalletRequest }
    for (const none of [LeatherProvider, null, {}])
      expect(() => walletSigner(none as WalletRequest)).toThrow(/no such wallet is installed/)
  })

  it('whose provider knows none of the events signs all the same', async () => {
    const { request } = browserWallet()
    const on = () => {
      throw new Error('unknown event')
    }
    await walletSigner({ request: request as WalletRequest, on }).signMessage('{}', 'devnet')
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
        expect(asked).toEqual(['getAddresses', 'stx_signMessage', 'stx_signStructuredMessage'])
      }
    })

    it('and does not name it, fails with what it said', async () => {
      const { wallet } = demanding({
        getAddresses: () => ({ addresses: [{ address: signer.address, publicKey: '' }] }),
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

  it.each([
    ['Leather: EIP-1193', { code: 4001, message: 'User denied signing' }],
    [
      'Xverse: sats-connect',
      { code: -32000, message: 'User rejected the message signing request' },
    ],
    [
      '@stacks/connect, whose dialog was closed',
      { code: -31001, message: 'User canceled the request' },
    ],
    ['@stacks/connect, of an error without a code', { code: -31000, message: 'User rejected.' }],
    ['WalletConnect', { code: 5000, message: 'User rejected.' }],
    ['an error without a code', { message: 'Request was declined by the user' }],
    ['a text', 'cancel'],
  ])('whose user declines is a code of its own, and there is no second dialog: %s', async (_, said) => {
    const { request, asked } = browserWallet(PRIVATE_KEY, {
      stx_signMessage: () => {
        throw said
      },
    })
    const { client, sent } = scripted([], { signer: walletSigner(request) })
    await expect(client.keys.list()).rejects.toMatchObject({
      code: 'SIGNING_CANCELLED',
      details: { method: 'stx_signMessage' },
      message: expect.stringContaining(typeof said === 'string' ? said : said.message),
    })
    expect(asked).toEqual(['getAddresses', 'stx_signMessage'])
    expect(sent).toEqual([])
  })

  it.each([
    ['rejects with', true],
    ['resolves with', false],
  ])('of whose refusal the envelope is opened that a bare provider %s', async (_, rejects) => {
    const envelope = {
      jsonrpc: '2.0',
      id: '1',
      error: { code: 4001, message: 'User denied signing' },
    }
    const bare = async () => {
      if (rejects) throw envelope
      return envelope
    }
    const wallet = walletSigner(bare, { address: signer.address })
    await expect(wallet.signMessage('{}', 'devnet')).rejects.toMatchObject({
      code: 'SIGNING_CANCELLED',
      details: { walletCode: 4001 },
      message: expect.stringContaining('User denied signing'),
    })
  })

  it('that cannot sign is a code of its own', async () => {
    const { request } = browserWallet(PRIVATE_KEY, {
      stx_signMessage: fails(-32601, 'Method not found'),
    })
    await expect(walletSigner(request).signMessage('{}', 'devnet')).rejects.toMatchObject({
      code: 'WALLET_UNSUPPORTED',
    })
  })

  it('that fails for a reason of its own says it', async () => {
    const { request } = browserWallet(PRIVATE_KEY, {
      stx_signMessage: fails(-32603, 'The device is locked'),
    })
    await expect(walletSigner(request).signMessage('{}', 'devnet')).rejects.toMatchObject({
      code: 'SIGNING_FAILED',
      message: expect.stringContaining('The device is locked'),
      details: { walletCode: -32603 },
    })
  })

  describe('is asked for its accounts', () => {
    const entry = { symbol: 'STX', address: signer.address, publicKey: publicKeyOf(PRIVATE_KEY) }

    it.each([
      ['an object with a list (Leather, Xverse)', { addresses: [entry] }],
      ['a list (Leather on a phone)', [entry]],
      ['a list that became an object (@stacks/connect, of a list)', { 0: entry }],
      ['texts', { addresses: [signer.address] }],
      ['without a public key (WalletConnect)', { addresses: [{ ...entry, publicKey: '' }] }],
    ])('once, and they may be %s, bare or in an envelope', async (_, answer) => {
      for (const shown of [answer, { jsonrpc: '2.0', id: '1', result: answer }]) {
        const { request, asked } = browserWallet(PRIVATE_KEY, { getAddresses: () => shown })
        const wallet = walletSigner(request)
        expect(await wallet.getAddress('devnet')).toBe(signer.address)
        expect(await wallet.getAddress('devnet')).toBe(signer.address)
        await wallet.signMessage('{}', 'devnet')
        expect(asked).toEqual(['getAddresses', 'stx_signMessage'])
      }
    })

    it.each([
      ['does not know the first method', -32601],
      ['demands other parameters for it', -32602],
    ])('by another method where it %s', async (_, code) => {
      const { request } = browserWallet(PRIVATE_KEY, { getAddresses: fails(code, 'no') })
      expect(await walletSigner(request).getAddress('devnet')).toBe(signer.address)
    })

    it('after it was connected, where it refuses a page that is not', async () => {
      const { request, asked } = browserWallet(PRIVATE_KEY, {
        getAddresses: fails(-32602, 'Invalid parameters.'),
        stx_getAddresses: fails(-32002, 'Access denied.'),
        wallet_connect: () => ({ id: '1', walletType: 'software', addresses: [entry] }),
      })
      expect(await walletSigner(request).getAddress('devnet')).toBe(signer.address)
      expect(asked.at(-1)).toBe('wallet_connect')
    })

    it('with the network, and without it where it does not take that', async () => {
      const asked: unknown[] = []
      const { request } = browserWallet()
      const strict: WalletRequest = async (method, params) => {
        asked.push([method, params])
        if (params.network !== undefined) fails(-32602, 'Invalid parameters')()
        return request(method, params)
      }
      await walletSigner(strict).signMessage('{}', 'devnet')
      const publicKey = publicKeyOf(PRIVATE_KEY)
      expect(asked).toEqual([
        ['getAddresses', { network: 'devnet' }],
        ['getAddresses', {}],
        ['stx_signMessage', { message: '{}', network: 'devnet', publicKey }],
        ['stx_signMessage', { message: '{}', publicKey }],
      ])
    })

    it('not twice when its user says no, and may be asked again later', async () => {
      const { request, asked } = browserWallet(PRIVATE_KEY, {
        getAddresses: fails(4001, 'User rejected the request'),
      })
      const wallet = walletSigner(request)
      for (const times of [1, 2]) {
        await expect(wallet.getAddress('devnet')).rejects.toMatchObject({
          code: 'SIGNING_CANCELLED',
          message: expect.stringContaining('User rejected the request'),
        })
        expect(asked).toHaveLength(times)
      }
    })
  })

  it('of another network is told to switch', async () => {
    const address = addressOf(PRIVATE_KEY, 'mainnet')
    const { request } = browserWallet(PRIVATE_KEY, {
      getAddresses: () => ({ addresses: [{ address }] }),
    })
    await expect(walletSigner(request).getAddress('testnet')).rejects.toThrow(
      'Switch the wallet to testnet',
    )
    await expect(walletSigner(request, { address }).getAddress('devnet')).rejects.toMatchObject({
      code: 'WRONG_NETWORK',
    })
  })

  it('of several keys is not told to switch its network', async () => {
    for (const network of ['testnet', 'mainnet'] as const) {
      const version = addressHashModeToVersion(AddressHashMode.P2SH, network)
      const hash160 = decodeC32(addressOf(PRIVATE_KEY, network))?.hash160 ?? ''
      const address = encodeC32({ version, hash160 })
      const { request, asked } = browserWallet(PRIVATE_KEY, {
        getAddresses: () => ({ addresses: [{ address }] }),
      })
      const refused = { code: 'MULTISIG_ADDRESS', details: { address } }
      await expect(walletSigner(request).signMessage('{}', 'devnet')).rejects.toMatchObject(refused)
      await expect(walletSigner(request, { address }).getAddress('devnet')).rejects.toMatchObject(
        refused,
      )
      expect(asked).toEqual(['getAddresses'])
    }
  })

  it('without a Stacks account says so', async () => {
    const { request } = browserWallet(PRIVATE_KEY, {
      getAddresses: () => ({ addresses: [{ symbol: 'BTC', address: 'bc1qexample' }] }),
    })
    await expect(walletSigner(request).getAddress('devnet')).rejects.toMatchObject({
      code: 'WRONG_ACCOUNT',
      message: expect.stringContaining('no Stacks address'),
    })
  })

  it('whose account was switched sends nothing, and its user learns which account signed', async () => {
    const { request } = browserWallet(OTHER_KEY)
    const wallet = walletSigner(request, { address: signer.address })
    const { client, sent } = scripted([], { signer: wallet })
    const signedBy = addressOf(OTHER_KEY, 'devnet')
    for (const call of [() => client.keys.list(), () => client.orders.create(DRAFT)])
      await expect(call()).rejects.toMatchObject({
        code: 'WRONG_ACCOUNT',
        message: expect.stringContaining(`did not sign as ${signer.address}, but as ${signedBy}`),
        details: { address: signer.address, signedBy },
      })
    expect(sent).toEqual([])
  })

  it('whose user switched the account is asked for it again once the signer was reset', async () => {
    let privateKey = PRIVATE_KEY
    const wallet = walletSigner((method: string, params: object) =>
      (browserWallet(privateKey).request as WalletRequest)(method, params),
    )
    await wallet.signMessage('{}', 'devnet')
    privateKey = OTHER_KEY
    await expect(wallet.signMessage('{}', 'devnet')).rejects.toMatchObject({
      code: 'WRONG_ACCOUNT',
    })
    wallet.reset()
    expect(await wallet.getAddress('devnet')).toBe(addressOf(OTHER_KEY, 'devnet'))
    await wallet.signMessage('{}', 'devnet')
  })

  describe('that is a provider', () => {
    type Follower = () => void

    function providerOf(kind: 'sats-connect' | 'sats-connect 2' | 'EIP-1193') {
      const followers = new Map<string, Follower>()
      const { request, asked } = browserWallet()
      const keep = (name: string, follower: Follower) => void followers.set(name, follower)
      const events = {
        'sats-connect': {
          addListener: (one: { eventName: string; cb: Follower }) => keep(one.eventName, one.cb),
        },
        'sats-connect 2': { addListener: (name: string, cb: Follower) => keep(name, cb) },
        'EIP-1193': { on: (name: string, cb: Follower) => keep(name, cb) },
      }
      return { provider: { request: request as WalletRequest, ...events[kind] }, followers, asked }
    }

    it.each([
      ['sats-connect', 'accountChange'],
      ['sats-connect', 'networkChange'],
      ['sats-connect', 'disconnect'],
      ['sats-connect 2', 'accountChange'],
      ['EIP-1193', 'accountsChanged'],
    ] as const)('is asked for its accounts again after an event: %s, %s', async (kind, event) => {
      const { provider, followers, asked } = providerOf(kind)
      const leaving = new AbortController()
      let changes = 0
      const wallet = walletSigner(provider, {
        onAccountsChanged: () => void changes++,
        signal: leaving.signal,
      })
      await wallet.getAddress('devnet')
      followers.get(event)?.()
      expect(changes).toBe(1)
      await wallet.getAddress('devnet')
      expect(asked).toEqual(['getAddresses', 'getAddresses'])
      leaving.abort()
      followers.get(event)?.()
      expect(changes).toBe(1)
    })
  })

  describe('with a Ledger', () => {
    it('behind Xverse signs the hex of an intent as a text, and its user learns what to do', async () => {
      const { request } = browserWallet(PRIVATE_KEY, {
        // biome-ignore lint/suspicious/noExplicitAny: a wallet is given whatever the method takes
        stx_signStructuredMessage: ((params: any) => ({
          signature: signMessage({ message: params.message, privateKey: PRIVATE_KEY }),
          publicKey: publicKeyOf(PRIVATE_KEY),
        })) as () => unknown,
      })
      const { client, sent } = scripted([], { signer: walletSigner(request) })
      await expect(client.orders.create(DRAFT)).rejects.toMatchObject({
        code: 'WALLET_UNSUPPORTED',
        message: expect.stringMatching(/signed the data as a text, as Xverse does.*Leather/),
      })
      expect(sent).toEqual([])
    })
  })

  it('of an older Leather signs data by the method for texts', async () => {
    const { request, asked } = browserWallet(PRIVATE_KEY, {
      stx_signStructuredMessage: fails(-32601, '"stx_signStructuredMessage" is not supported'),
      // biome-ignore lint/suspicious/noExplicitAny: a wallet is given whatever the method takes
      stx_signMessage: (({ messageType, message, domain }: any) => ({
        signature:
          messageType === 'structured' &&
          signStructuredData({
            message: Cl.deserialize(message),
            domain: Cl.deserialize<TupleCV>(domain),
            privateKey: PRIVATE_KEY,
          }),
      })) as () => unknown,
    })
    const { client } = scripted([{ body: { data: {} } }], { signer: walletSigner(request) })
    await client.orders.create(DRAFT)
    expect(asked).toEqual(['getAddresses', 'stx_signStructuredMessage', 'stx_signMessage'])
  })

  it.each([
    ['nothing', undefined],
    ['something else', { txid: '0x' }],
    ['an empty signature', { signature: '' }],
    ['no hex', { signature: 'z'.repeat(130) }],
    [
      'the signature of another text, by the key that it names',
      {
        signature: signMessage({ message: 'another', privateKey: PRIVATE_KEY }),
        publicKey: publicKeyOf(PRIVATE_KEY),
      },
    ],
  ])('that answers %s is broken, which is a code of its own', async (_, answer) => {
    const { request } = browserWallet(PRIVATE_KEY, { stx_signMessage: () => answer })
    const { client, sent } = scripted([], { signer: walletSigner(request) })
    await expect(client.keys.list()).rejects.toMatchObject({ code: 'WALLET_FAULT' })
    expect(sent).toEqual([])
  })

  describe('that is left open', () => {
    /** Answers once it is told to. */
    function patient(method: string) {
      const { request } = browserWallet()
      let answerNow = () => {}
      const opened = Promise.withResolvers<void>()
      const wallet: WalletRequest = async (asked, params) => {
        if (asked === method) {
          const answered = Promise.withResolvers<void>()
          answerNow = answered.resolve
          opened.resolve()
          await answered.promise
        }
        return request(asked, params)
      }
      return { wallet, opened: opened.promise, answerNow: () => answerNow() }
    }

    it.each([
      ['getAddresses', 'keys'],
      ['stx_signMessage', 'keys'],
      ['stx_signStructuredMessage', 'orders'],
    ] as const)('does not hold a call whose signal aborts, and its late answer is not used: %s', async (method, room) => {
      const { wallet, opened, answerNow } = patient(method)
      const { client, sent } = scripted([], { signer: walletSigner(wallet) })
      const leaving = new AbortController()
      const options = { signal: leaving.signal }
      const call =
        room === 'keys' ? client.keys.list(options) : client.orders.create(DRAFT, options)
      const reason = new Error('The page was left')
      call.catch(() => {})
      await opened
      leaving.abort(reason)
      await expect(call).rejects.toMatchObject({
        name: 'AbortError',
        code: 'ABORTED',
        cause: reason,
      })
      answerNow()
      expect(sent).toEqual([])
    })

    it('does not hold a certificate either', async () => {
      const { wallet, opened } = patient('stx_signMessage')
      const { client } = scripted([], { signer: walletSigner(wallet) })
      const leaving = new AbortController()
      const call = client.keys.certificate('key_1', 30, { signal: leaving.signal })
      call.catch(() => {})
      await opened
      const reason = new Error('left')
      leaving.abort(reason)
      await expect(call).rejects.toMatchObject({ code: 'ABORTED', cause: reason })
    })

    it('is not opened for a signal that has aborted', async () => {
      const { request, asked } = browserWallet()
      const options = { signal: AbortSignal.abort(new Error('left')) }
      const wallet = walletSigner(request)
      await expect(wallet.signMessage('{}', 'devnet', options)).rejects.toThrow('left')
      await expect(wallet.getAddress('devnet', options)).rejects.toThrow('left')
      expect(asked).toEqual([])
    })

    it('by a signer that knows no signals does not hold the call either', async () => {
      const never = new Promise<never>(() => {})
      const deaf = {
        interactive: true,
        getAddress: async () => signer.address,
        signMessage: () => never,
        signIntent: () => never,
      }
      const { client } = scripted([], { signer: deaf })
      for (const call of [client.keys.list, client.orders.create.bind(null, DRAFT)] as const)
        await expect(call({ signal: AbortSignal.timeout(20) } as never)).rejects.toMatchObject({
          code: 'ABORTED',
          cause: { name: 'TimeoutError' },
        })
    })

    it.each([
      ['tells its user that it was too long, and not to check the clock', 360, 'SIGNED_TOO_LATE'],
      ['is waited for as long as the message is good', 280, undefined],
    ])('by its user %s: %d s', async (_, seconds, code) => {
      const { request, asked } = browserWallet()
      const slow: WalletRequest = async (method, params) => {
        if (method === 'stx_signMessage') clock.nowMs += seconds * 1_000
        return request(method, params)
      }
      const { client, sent, clock } = scripted([{ body: { apiKeys: [] } }], {
        signer: walletSigner(slow),
      })
      const call = client.keys.list().then(
        () => undefined,
        (error) => error,
      )
      expect((await call)?.code).toBe(code)
      expect(sent).toHaveLength(code === undefined ? 1 : 0)
      expect(asked.filter((method) => method === 'stx_signMessage')).toHaveLength(1)
    })

    it('until its message reaches the service too late learns the same', async () => {
      const { request } = browserWallet()
      const slow: WalletRequest = async (method, params) => {
        if (method === 'stx_signMessage') clock.nowMs += 299_000
        return request(method, params)
      }
      const late = () => {
        clock.nowMs += 2_000
        return refusal(401, 'EXPIRED_TIMESTAMP', { details: { serverTime: clock.nowMs } })
      }
      const { client, clock } = scripted([late], { signer: walletSigner(slow) })
      await expect(client.keys.list()).rejects.toMatchObject({
        code: 'SIGNED_TOO_LATE',
        details: { seconds: 301, maxAgeSeconds: 300 },
      })
    })
  })

  describe('opens one dialog for a call', () => {
    const unavailable = refusal(503, 'UNAVAILABLE', {}, { 'Retry-After': '50' })

    it('however often the call is repeated', async () => {
      const { request, asked } = browserWallet()
      const { client } = scripted(Array(9).fill(unavailable), {
        signer: walletSigner(request),
        maxRetries: 8,
      })
      await expect(client.keys.list()).rejects.toMatchObject({ code: 'UNAVAILABLE' })
      expect(asked).toEqual(['getAddresses', 'stx_signMessage'])
    })

    it('however many pages a list or an audit has', async () => {
      const { request, asked } = browserWallet()
      const page = (keyId: string) => ({ body: { apiKeys: [{ keyId }], nextCursor: keyId } })
      const { client, sent } = scripted([page('key_1'), page('key_2'), { body: { apiKeys: [] } }], {
        signer: walletSigner(request),
      })
      expect(await client.keys.list()).toHaveLength(2)
      expect(sent).toHaveLength(3)
      expect(asked).toEqual(['getAddresses', 'stx_signMessage'])
    })

    const key = { name: 'bot', permissions: ['execute'] as const }
    const invalid: [
      string,
      (client: ReturnType<typeof scripted>['client']) => Promise<unknown>,
      string,
    ][] = [
      ['an empty name', ({ keys }) => keys.create({ ...key, name: '' }), 'keyName'],
      [
        'a scope that the service has not',
        ({ keys }) => keys.create({ ...key, permissions: ['withdraw'] }),
        'permissions[0]',
      ],
      [
        'an end that has passed',
        ({ keys }) => keys.create({ ...key, expiresAt: '2020-01-01T00:00:00Z' }),
        'expiresAt',
      ],
      [
        'an end without a zone',
        ({ keys }) => keys.create({ ...key, expiresAt: '2027-01-31T12:00' }),
        'expiresAt',
      ],
      [
        'too many requests a minute',
        ({ keys }) => keys.create({ ...key, rateLimit: 101 }),
        'rateLimit',
      ],
      [
        'an address that is none',
        ({ keys }) => keys.create({ ...key, ipAllowlist: ['203.0.113.999'] }),
        'ipAllowlist[0]',
      ],
      [
        'a misspelt limit',
        ({ keys }) => keys.create({ ...key, rateLimits: 60 } as never),
        'rateLimits',
      ],
      [
        'limits that contradict each other',
        ({ keys }) => keys.create({ ...key, ownOrdersOnly: true }),
        'ownOrdersOnly',
      ],
      [
        'a token of another network',
        ({ keys }) =>
          keys.update('key_1', { tokens: ['SP2D6RRAAZWG1N34S9QPADXN56HP4STX2H8BSQKK3.a'] }),
        'tokens[0]',
      ],
      [
        'a term that no change lifts',
        ({ keys }) => keys.update('key_1', { permissions: null } as never),
        'permissions',
      ],
      ['a grace of a year', ({ keys }) => keys.rotate('key_1', 31_536_000), 'graceSeconds'],
      ['a session of a day', ({ sessions }) => sessions.open(86_400), 'ttlSeconds'],
      ['a page of a thousand', ({ keys }) => keys.list({ limit: 1_000 }), 'limit'],
      ['a year of use', ({ keys }) => keys.usage('key_1', { days: 365 }), 'days'],
      [
        'a recipient of another network',
        ({ orders }) => orders.create({ ...DRAFT, recipient: addressOf(PRIVATE_KEY, 'mainnet') }),
        'recipient',
      ],
      [
        'a price in words',
        ({ orders }) =>
          orders.create({ ...DRAFT, targetPrice: 'high', direction: 'gt', conditionToken: '*' }),
        'targetPrice',
      ],
      [
        'half a condition',
        ({ orders }) => orders.create({ ...DRAFT, direction: 'gt' }),
        'conditionToken',
      ],
      [
        'a field that no order has',
        ({ orders }) => orders.create({ ...DRAFT, strategyId: '7' } as never),
        'strategyId',
      ],
    ]
    it.each(invalid)('and none for what the service would refuse: %s', async (_, call, path) => {
      const { request, asked } = browserWallet()
      const { client, sent } = scripted([], { signer: walletSigner(request) })
      await expect(call(client)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        details: { issues: [expect.objectContaining({ path })] },
      })
      expect(asked.filter((method) => method.startsWith('stx_sign'))).toEqual([])
      expect(sent).toEqual([])
    })
  })

  it('is shown what narrows a key before anything else, in 270 characters of ASCII', async () => {
    const { request } = browserWallet()
    const messages: string[] = []
    const wallet = walletSigner((method: string, params: { message: string }) => {
      if (method === 'stx_signMessage') messages.push(params.message)
      return (request as WalletRequest)(method, params)
    })
    const said = { ...info, signedDomain: 'dex.example' }
    const { client } = scripted(
      Array(8).fill({ body: { auditHead: { sequence: 12, hash: 'a'.repeat(64) } } }),
      { signer: wallet, info: said },
    )
    await client.sessions.open()
    await client.keys.create({
      name: 'Café 🤖',
      label: 'é'.repeat(100),
      permissions: ['execute'],
      ipAllowlist: ['203.0.113.50'],
      rateLimit: 60,
      expiresAt: '2027-01-31T00:00:00Z',
    })
    await client.keys.delete('key_4Yc1xQ7mB2')
    await client.keys.revokeAll(true)
    await client.orders.cancel('6f1c2b1e-5d0a-4a39-9d0e-2f6c6d8f7a10')
    for (const message of messages) {
      expect(message).toMatch(/^[\x20-\x7e]+$/)
      const seen = message.slice(0, 270)
      const { auditHead: _, walletAddress: __, ...decided } = JSON.parse(message)
      if (decided.action !== 'create_api_key')
        for (const name of Object.keys(decided)) expect(seen).toContain(`"${name}"`)
    }
    const { action, permissions } = { action: 'create_api_key', permissions: ['execute'] }
    const limits = {
      expiresAt: '2027-01-31T00:00:00Z',
      rateLimit: 60,
      ipAllowlist: ['203.0.113.50'],
    }
    const first = JSON.stringify({ action, permissions, ...limits }).slice(0, -1)
    expect(messages[1]?.startsWith(first)).toBe(true)
  })
})
