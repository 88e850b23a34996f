import {
  LatchkeyProvider,
  useChange,
  useCreateKey,
  useKeys,
  useOrder,
  useWallet,
} from 'latchkey/react'
import { createWalletStore } from 'latchkey/store'
import { StrictMode, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { installedWallet, throwawayWallet } from './wallet.ts'

const baseUrl = import.meta.env.VITE_SERVICE_URL ?? 'http://127.0.0.1:8787'
const signer = () => installedWallet() ?? throwawayWallet()
const store = createWalletStore({ baseUrl, keep: 'tab', restoreSigner: signer })

function App() {
  const { status, address, error, connect, disconnect } = useWallet()
  if (status === 'disconnected' || status === 'connecting')
    return (
      <>
        <h1>A dApp on Latchkey</h1>
        <button disabled={status === 'connecting'} onClick={() => connect(signer())}>
          Connect wallet
        </button>
        <Failure error={error} />
      </>
    )
  return (
    <>
      <h1>{address}</h1>
      {status === 'ended' && <button onClick={() => connect(signer())}>Open a new session</button>}
      <button onClick={disconnect}>Disconnect</button>
      <Keys />
      <Order />
    </>
  )
}

function Keys() {
  const { value: keys, error } = useKeys()
  const created = useCreateKey()
  const revoke = useChange((owner, keyId: string) => owner.keys.delete(keyId))
  const live = keys?.filter(({ status }) => status === 'active')
  return (
    <section>
      <h2>Keys</h2>
      <ul>
        {keys?.map(({ keyId, name, status }) => (
          <li key={keyId}>
            {name} is {status}{' '}
            {status === 'active' && (
              <button onClick={() => revoke.run(keyId)}>Revoke {name}</button>
            )}
          </li>
        ))}
      </ul>
      {created.result ? (
        <p>
          The secret, shown once: <code id="secret">{created.result.apiKey}</code>{' '}
          <button onClick={created.reset}>I stored it</button>
        </p>
      ) : (
        <button
          disabled={created.isBusy || live === undefined}
          onClick={() =>
            created.run({
              name: `bot ${(keys?.length ?? 0) + 1}`,
              permissions: ['create', 'execute', 'cancel'],
              expiresAt: new Date(Date.now() + 90 * 86_400_000),
            })
          }
        >
          Create a key
        </button>
      )}
      <Failure error={error ?? created.error ?? revoke.error} />
    </section>
  )
}

function Order() {
  const [uuid, setUuid] = useState<string>()
  const { value: order } = useOrder(uuid)
  const place = useChange(async (owner) => {
    const { devnet: { inputToken = '', outputToken = '' } = {} } = await owner.info()
    await owner.devnet.faucet(store.wallet.get().address ?? '')
    const terms = { inputToken, outputToken, amountIn: '1000000', minAmountOut: '490000' }
    setUuid((await owner.orders.create(terms)).uuid)
  })
  const execute = useChange((owner, id: string) => owner.orders.execute(id))
  return (
    <section>
      <h2>Order</h2>
      <button disabled={place.isBusy} onClick={() => place.run()}>
        Place an order
      </button>
      {order && (
        <p role="status">
          The order is {order.status}. It returned {order.amountOut ?? 'nothing yet'}
        </p>
      )}
      {order?.status === 'open' && (
        <button onClick={() => execute.run(uuid ?? '')}>Execute it</button>
      )}
      <Failure error={place.error ?? execute.error} />
    </section>
  )
}

function Failure({ error }: { error: unknown }) {
  return error instanceof Error ? <p role="alert">{error.message}</p> : null
}

createRoot(document.getElementById('app') ?? document.body).render(
  <StrictMode>
    <LatchkeyProvider store={store}>
      <App />
    </LatchkeyProvider>
  </StrictMode>,
)
