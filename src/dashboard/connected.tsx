import { useEffect } from 'preact/hooks'
import './connected.css'
import { AuditView } from './audit-view.tsx'
import { connect } from './clients.ts'
import { connection, hasEnded, noteSessionEnd, service } from './connection.ts'
import { FundsView } from './funds-view.tsx'
import { ChangeKeyView, KeyPage } from './key-page.tsx'
import { KeysView } from './keys-view.tsx'
import { say } from './language.ts'
import { useLiveData } from './live.ts'
import { announceChange, useAct } from './load.ts'
import { NewKeyView } from './new-key.tsx'
import { NewOrderView, OrdersView, OrderView } from './orders-view.tsx'
import { PanicDialog, PanicReminder } from './panic.tsx'
import { Button, Icon, LinkButton } from './parts.tsx'
import { PageFault, Problem, tampering } from './problem.tsx'
import { route } from './router.ts'
import { SigningDialog } from './signing.tsx'
import { useStore } from './store.ts'

export { connect, disconnect } from './clients.ts'
export { installedWallets } from './wallets.ts'

/** The view of the address, beneath what has to be told above every one of them. */
export function ConnectedView() {
  const { parts } = useStore(route)
  const current = useStore(connection)
  const info = useStore(service)
  useLiveData()
  useEffect(() => {
    if (current === undefined) return
    const timer = setTimeout(noteSessionEnd, current.endsAt - Date.now())
    return () => clearTimeout(timer)
  }, [current])
  const isElsewhere =
    info !== undefined && current !== undefined && info.network !== current.network
  return (
    <>
      {current?.kind === 'throwaway' && <ThrowawayNote />}
      <TamperBanner />
      <EndedBanner />
      <PanicReminder />
      {isElsewhere && <Problem error={new PageFault('wrongNetwork')} />}
      <View parts={parts} />
    </>
  )
}

/** The dialogs that may open over every view. */
export function ConnectedDialogs() {
  return (
    <>
      <PanicDialog />
      <SigningDialog />
    </>
  )
}

function View({ parts }: { parts: readonly string[] }) {
  const [place = 'keys', id, what] = parts
  if (place === 'keys' && id === 'new') return <NewKeyView />
  if (place === 'keys' && id !== undefined && what === 'change') return <ChangeKeyView keyId={id} />
  if (place === 'keys' && id !== undefined) return <KeyPage keyId={id} key={id} />
  if (place === 'orders' && id === 'new') return <NewOrderView />
  if (place === 'orders' && id !== undefined) return <OrderView uuid={id} key={id} />
  if (place === 'orders') return <OrdersView />
  if (place === 'audit') return <AuditView />
  if (place === 'funds') return <FundsView />
  return <KeysView />
}

function TamperBanner() {
  const found = useStore(tampering)
  if (found === undefined) return null
  return (
    <div class="problem bad loud" role="alert">
      <Icon name="alert" size={24} />
      <div class="problem-text">
        <h2>{say('fault.tampered')}</h2>
        <p>{say('fault.tampered.text')}</p>
        <p class="mono small">{found}</p>
      </div>
      <div class="actions">
        <LinkButton href="#/audit">{say('nav.audit')}</LinkButton>
      </div>
    </div>
  )
}

/** A session that has ended takes nothing away: what is shown stays, and one signature opens the next. */
function EndedBanner() {
  const isOver = useStore(hasEnded)
  const kind = useStore(connection)?.kind ?? 'wallet'
  const { isBusy, error, run, dismiss } = useAct(async () => {
    await connect(kind)
    announceChange()
  })
  if (!isOver) return null
  return (
    <>
      <div class="problem info" role="status">
        <Icon name="clock" size={20} />
        <div class="problem-text">
          <h2>{say('fault.ended')}</h2>
          <p>{say('fault.ended.text')}</p>
        </div>
        <div class="actions">
          <Button kind="primary" icon="wallet" isBusy={isBusy} onClick={run}>
            {say('session.again')}
          </Button>
        </div>
      </div>
      {error !== undefined && <Problem error={error} onDismiss={dismiss} />}
    </>
  )
}

function ThrowawayNote() {
  return (
    <p class="throwaway">
      <Icon name="alert" size={14} /> <strong>{say('wallet.throwaway')}</strong>{' '}
      <span>{say('wallet.throwaway.text')}</span>
    </p>
  )
}
