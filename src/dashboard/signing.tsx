import type { Signer } from '../client/index.ts'
import { createStore } from '../store/observable.ts'
import { connection } from './connection.ts'
import { say, sayIfKnown } from './language.ts'
import { Button, Icon, Modal } from './parts.tsx'
import { PageFault } from './problem.tsx'
import { useStore } from './store.ts'

/** A signature that the visitor is to decide about. */
interface AskedSignature {
  /** The action of a message, or `intent`. */
  action: string
  /** The text that is signed, to the character; of an intent, what its hash is made of. */
  text: string
  /** `wallet`: the visitor agreed here, and the wallet's own window is open. */
  phase: 'page' | 'wallet'
  decide(isAgreed: boolean): void
}

const asked = createStore<AskedSignature | undefined>(undefined)

/** A signer that signs what the visitor has read in this page, and nothing else. */
export function confirmedBy(signer: Signer): Signer {
  return {
    interactive: true,
    getAddress: (network, options) => signer.getAddress(network, options),
    signMessage: (message, network, options) =>
      whenAgreed(actionOf(message), message, () => signer.signMessage(message, network, options)),
    signIntent: (intent, network, options) =>
      whenAgreed('intent', JSON.stringify({ ...intent, network }), () =>
        signer.signIntent(intent, network, options),
      ),
  }
}

/** Rejects as soon as the visitor cancels, also while the wallet is open: its late signature is not used. */
async function whenAgreed<T>(action: string, text: string, sign: () => Promise<T>): Promise<T> {
  let cancel: () => void = () => {}
  const cancelled = new Promise<never>((_, reject) => {
    cancel = () => reject(new PageFault('cancelled'))
  })
  const agreed = new Promise<void>((resolve) => {
    const decide = (isAgreed: boolean) => (isAgreed ? resolve() : cancel())
    asked.set({ action, text, phase: 'page', decide })
  })
  try {
    await Promise.race([agreed, cancelled])
    asked.set({ action, text, phase: 'wallet', decide: () => cancel() })
    return await Promise.race([sign(), cancelled])
  } finally {
    asked.set(undefined)
  }
}

function actionOf(message: string): string {
  const { action } = JSON.parse(message) as { action?: string }
  return action ?? ''
}

/** The dialog that every signature passes through. */
export function SigningDialog() {
  const one = useStore(asked)
  const kind = useStore(connection)?.kind
  if (one === undefined) return null
  const isWaiting = one.phase === 'wallet' && kind !== 'throwaway'
  return (
    <Modal title={say('sign.title')} onClose={() => one.decide(false)} key={one.text}>
      <p class="lead">{sayIfKnown(`sign.${one.action}`) ?? say('sign.other')}</p>
      <p class="eyebrow">{say(one.action === 'intent' ? 'sign.intentText' : 'sign.text')}</p>
      <JsonText text={one.text} />
      <p class="muted small">{say('sign.promise')}</p>
      <div class="modal-foot">
        <Button onClick={() => one.decide(false)}>{say('cancel')}</Button>
        <Button kind="primary" icon="wallet" isBusy={isWaiting} onClick={() => one.decide(true)}>
          {isWaiting ? say('sign.waiting') : say('sign.do')}
        </Button>
      </div>
      {isWaiting && (
        <p class="note info" role="status">
          <Icon name="wallet" /> {say('sign.inWallet')}
        </p>
      )}
    </Modal>
  )
}

const TOKENS = /("(?:[^"\\]|\\.)*")(\s*:)?|[{}[\],]|[^"{}[\],]+/g

/** JSON, coloured. Its characters are those of the text; the lines are blocks, not line breaks. */
export function JsonText({ text }: { text: string }) {
  const lines: { indent: number; parts: { kind: string; text: string }[] }[] = []
  let indent = 0
  const line = () => lines.at(-1) ?? lines[lines.push({ indent, parts: [] }) - 1]
  const next = () => lines.push({ indent, parts: [] })
  for (const [token, quoted, colon] of text.matchAll(TOKENS)) {
    if (token === '}' || token === ']') {
      indent -= 1
      next()
    }
    const kind = quoted === undefined ? 'punctuation' : colon === undefined ? 'string' : 'name'
    line()?.parts.push({ kind, text: token })
    if (token === '{' || token === '[') {
      indent += 1
      next()
    }
    if (token === ',') next()
  }
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <pre class="json" tabIndex={0}>
      {lines
        .filter(({ parts }) => parts.length > 0)
        .map(({ indent, parts }, at) => (
          <span class="line" key={at} style={{ paddingInlineStart: `${indent * 16}px` }}>
            {parts.map(({ kind, text }, part) => (
              <span class={kind} key={part}>
                {text}
              </span>
            ))}
          </span>
        ))}
    </pre>
  )
}
