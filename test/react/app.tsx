/** @jsxImportSource react */
import { useState } from 'react'
import { LatchkeyError, privateKeySigner, type Signer } from '../../src/client/index.ts'
import {
  LatchkeyProvider,
  useChange,
  useCreateKey,
  useKeys,
  useOrder,
  useWallet,
} from '../../src/react/index.ts'
import { createWalletStore } from '../../src/store/index.ts'

/** What a test tells the page. A server has none of it. */
interface Setup {
  baseUrl: string
  privateKey: string
}
const { baseUrl, privateKey } = (globalThis as { setup?: Setup }).setup ?? {
  baseUrl: 'https://dex.example',
  privateKey: `${'12'.repeat(32)}01`,
}

const wallet = privateKeySigner(privateKey, 'devnet')
const declining: Signer = {
  ...wallet,
  signMessage: () => Promise.reject(new LatchkeyError('SIGNING_FAILED', 'The user said no')),
}
const store = createWalletStore({ baseUrl, keep: 'tab', restoreSigner: () => wallet })

export function App() {
  const [isShown, setShown] = useState(true)
  return (
    <LatchkeyProvider store={store}>
      {isShown ? <Page /> : <p>Nothing is shown</p>}
      <button type="button" onClick={() => setShown(!isShown)}>
        Hide or show
      </button>
    </LatchkeyProvider>
  )
}

function Page() {
  const { status, address, error, connect, disconnect } = useWallet()
  return (
    <main>
      <p>The wallet is {status}</p>
      {error instanceof LatchkeyError && <p>Connecting failed: {error.code}</p>}
      <button type="button" onClick={() => connect(declining)}>
        Decline
      </button>
      <button type="button" onClick={() => connect(wallet)}>
        Connect
      </button>
      <button type="button" onClick={disconnect}>
        Leave
      </button>
      {address === undefined ? <p>There is no address</p> : <code>{address}</code>}
      <Keys title="One list" />
      <Keys title="Another list" />
      <NewKey />
      <FollowedOrder />
    </main>
  )
}

function Keys({ title }: { title: string }) {
  const { value: keys } = useKeys()
  const revoke = useChange((owner, keyId: string) => owner.keys.delete(keyId))
  return (
    <section>
      <h2>{keys === undefined ? `${title} is empty` : `${title} has ${keys.length}`}</h2>
      {keys?.map(({ keyId, name, status }) => (
        <p key={keyId}>
          {title}: {name} is {status}{' '}
          <button type="button" onClick={() => revoke.run(keyId)}>
            Revoke {name}
          </button>
        </p>
      ))}
    </section>
  )
}

function NewKey() {
  const { run, isBusy, result, error, reset } = useCreateKey()
  const [runs, setRuns] = useState('')
  const start = async () => {
    const key = { name: 'bot', permissions: ['execute'] } as const
    const [first, second] = await Promise.all([run(key), run(key)])
    setRuns(`${first?.name ?? 'none'} and ${second?.name ?? 'none'}`)
  }
  return (
    <section>
      <p>{isBusy ? 'A key is being created' : 'No key is being created'}</p>
      {error instanceof LatchkeyError && <p>Creating failed: {error.code}</p>}
      {result && <p>The secret has {result.apiKey.length} characters</p>}
      <p>Created {runs}</p>
      <button type="button" onClick={start}>
        Create twice at once
      </button>
      <button type="button" onClick={reset}>
        Forget
      </button>
    </section>
  )
}

function FollowedOrder() {
  const [uuid, setUuid] = useState('')
  const { value: order, error } = useOrder(uuid === '' ? undefined : uuid)
  return (
    <section>
      <label>
        Order
        <input value={uuid} onChange={(event) => setUuid(event.currentTarget.value)} />
      </label>
      <p>The order is {order?.status ?? 'not loaded'}</p>
      {error instanceof LatchkeyError && <p>Loading failed: {error.code}</p>}
    </section>
  )
}
