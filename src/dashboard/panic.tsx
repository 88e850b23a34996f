import { useState } from 'preact/hooks'
import { createStore } from '../store/observable.ts'
import { connect, owner } from './clients.ts'
import { connection, noteSessionEnd } from './connection.ts'
import { openDialog } from './dialogs.ts'
import { formatCountdown } from './format.ts'
import { say } from './language.ts'
import { announceChange, useAct, useNow } from './load.ts'
import { Button, Icon, Modal } from './parts.tsx'
import { Problem } from './problem.tsx'
import { useStore } from './store.ts'

/** A message that a thief holds is good for so long: what it created meanwhile is revoked by the second time. */
const REPEAT_AFTER_MS = 300_000

interface Revoked {
  keys: number
  orders: number
  at: number
}

const lastPanic = createStore<Revoked | undefined>(undefined)

/** Revokes every key of the wallet, ends its sessions and cancels its open orders: one dialog, one signature. */
export function PanicDialog() {
  const isOpen = useStore(openDialog) === 'panic'
  const done = useStore(lastPanic)
  const close = () => openDialog.set(undefined)
  if (!isOpen) return null
  return (
    <Modal title={say('panic.title')} onClose={close}>
      {done === undefined ? (
        <PanicQuestion onClose={close} />
      ) : (
        <PanicDone done={done} onClose={close} />
      )}
    </Modal>
  )
}

function PanicQuestion({ onClose }: { onClose: () => void }) {
  const [cancels, setCancels] = useState(true)
  const { isBusy, error, run, dismiss } = useAct(async () => {
    const { keyIds, cancelledOrders } = await owner().keys.revokeAll(cancels)
    lastPanic.set({ keys: keyIds.length, orders: cancelledOrders, at: Date.now() })
    noteSessionEnd()
    announceChange()
  })
  return (
    <>
      <p class="lead">{say('panic.text')}</p>
      <label class="check">
        <input
          type="checkbox"
          checked={cancels}
          onChange={(event) => setCancels(event.currentTarget.checked)}
        />
        <span>{say('panic.orders')}</span>
      </label>
      <div class="note warn">
        <Icon name="alert" />
        <div>
          <strong>{say('panic.cannot')}</strong>
          <ul>
            <li>{say('panic.cannot.sent')}</li>
            <li>{say('panic.cannot.intents')}</li>
            <li>{say('panic.cannot.messages')}</li>
          </ul>
        </div>
      </div>
      {error !== undefined && <Problem error={error} onDismiss={dismiss} />}
      <div class="modal-foot">
        <Button onClick={onClose}>{say('cancel')}</Button>
        <Button kind="danger-solid" icon="stop" isBusy={isBusy} onClick={run}>
          {say('panic.do')}
        </Button>
      </div>
    </>
  )
}

function PanicDone({ done, onClose }: { done: Revoked; onClose: () => void }) {
  const left = (done.at + REPEAT_AFTER_MS - useNow()) / 1_000
  const kind = useStore(connection)?.kind ?? 'wallet'
  const again = useAct(async () => {
    await connect(kind)
    announceChange()
    onClose()
  })
  return (
    <>
      <p class="note ok" role="status">
        <Icon name="check" /> {say('panic.done', { n: done.keys })}{' '}
        {say('panic.done.orders', { n: done.orders })}
      </p>
      <p>{say('panic.repeat')}</p>
      {again.error !== undefined && <Problem error={again.error} onDismiss={again.dismiss} />}
      <div class="modal-foot">
        <Button isBusy={again.isBusy} onClick={again.run}>
          {say('session.again')}
        </Button>
        <Button kind="danger" disabled={left > 0} onClick={() => lastPanic.set(undefined)}>
          {left > 0 ? say('panic.repeatIn', { time: formatCountdown(left) }) : say('panic.again')}
        </Button>
      </div>
    </>
  )
}

/** Told above every view once the time of a repetition has come. */
export function PanicReminder() {
  const done = useStore(lastPanic)
  const now = useNow(5_000)
  if (done === undefined || now < done.at + REPEAT_AFTER_MS) return null
  return (
    <div class="problem warn" role="status">
      <Icon name="stop" size={20} />
      <div class="problem-text">
        <h2>{say('panic.again')}</h2>
        <p>{say('panic.repeat')}</p>
      </div>
      <div class="actions">
        <Button
          kind="danger"
          onClick={() => {
            lastPanic.set(undefined)
            openDialog.set('panic')
          }}
        >
          {say('panic.again')}
        </Button>
        <Button onClick={() => lastPanic.set(undefined)}>{say('dismiss')}</Button>
      </div>
    </div>
  )
}
