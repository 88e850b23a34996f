import { createStore } from '../store/observable.ts'
import { say } from './language.ts'
import { useStore } from './store.ts'

interface Toast {
  id: number
  text: string
}

const SHOWN_MS = 6_000
const toasts = createStore<readonly Toast[]>([])
let last = 0

/** Tells what was done, for a few seconds. What needs a decision is no toast. */
export function toast(text: string): void {
  const id = ++last
  toasts.set([...toasts.get(), { id, text }])
  setTimeout(() => dismiss(id), SHOWN_MS)
}

function dismiss(id: number): void {
  toasts.set(toasts.get().filter((one) => one.id !== id))
}

export function Toasts() {
  return (
    <div class="toasts" aria-live="polite" role="status">
      {useStore(toasts).map(({ id, text }) => (
        <div class="toast" key={id}>
          <span>{text}</span>
          <button type="button" class="plain" aria-label={say('close')} onClick={() => dismiss(id)}>
            ×
          </button>
        </div>
      ))}
    </div>
  )
}
