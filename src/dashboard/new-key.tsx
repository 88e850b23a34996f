import { useState } from 'preact/hooks'
import type { CreatedKey, ServiceInfo } from '../client/index.ts'
import type { TermsPolicy } from '../client/terms.ts'
import { owner } from './clients.ts'
import { connection, service } from './connection.ts'
import {
  draftOf,
  type KeyDraft,
  newKeyOf,
  type ReadDraft,
  readDraft,
  risksOf,
  TEMPLATES,
  type Template,
} from './draft.ts'
import { KeyForm } from './key-form.tsx'
import { say } from './language.ts'
import { announceChange, useAct } from './load.ts'
import { Button, Card, PageHead, Skeleton } from './parts.tsx'
import { Problem } from './problem.tsx'
import { go, route } from './router.ts'
import { SecretDialog } from './secret.tsx'
import { JsonText } from './signing.tsx'
import { useStore } from './store.ts'
import { decimalsOf, requireDecimals, tokensLearned } from './tokens.ts'
import { sentenceOf } from './words.ts'

export function termsPolicyOf({ network, scopes, limits }: ServiceInfo): TermsPolicy {
  return { network, scopes, maxRateLimit: limits.key.perMinute, now: Date.now() }
}

/** Reads a draft once the decimals of its tokens are known: what is signed is what was typed, in the token's own units. */
export async function readWhenKnown(draft: KeyDraft, info: ServiceInfo): Promise<ReadDraft> {
  await Promise.all(draft.amounts.map(({ token }) => requireDecimals(token)))
  return readDraft(draft, decimalsOf, termsPolicyOf(info))
}

/** One page from an idea to a secret: what the key may do is said in words beside the form, and signed at its end. */
export function NewKeyView() {
  const info = useStore(service)
  return info === undefined ? <Skeleton /> : <NewKeyForm info={info} />
}

const NAMES = () =>
  Object.fromEntries(
    TEMPLATES.map((one) => [one, one === 'blank' ? '' : say(`template.${one}`)]),
  ) as Record<Template, string>

function NewKeyForm({ info }: { info: ServiceInfo }) {
  useStore(tokensLearned)
  const { query } = useStore(route)
  const asked = TEMPLATES.find((one) => one === query.get('template')) ?? 'maker'
  const [template, setTemplate] = useState<Template>(asked)
  const [draft, setDraft] = useState<KeyDraft>(() => draftOf(asked, NAMES(), Date.now()))
  const [isTried, setTried] = useState(false)
  const [created, setCreated] = useState<CreatedKey>()
  const current = useStore(connection)
  const read = readDraft(draft, decimalsOf, termsPolicyOf(info))
  const isSound = read.faults.size === 0
  const { isBusy, error, run, dismiss } = useAct(async () => {
    const { terms, faults } = await readWhenKnown(draft, info)
    if (faults.size > 0) return void requestAnimationFrame(focusFirstFault)
    setCreated(await owner().keys.create(newKeyOf(terms)))
    announceChange()
  })
  const choose = (next: Template) => {
    setTemplate(next)
    setDraft(draftOf(next, NAMES(), Date.now()))
    setTried(false)
  }
  const submit = (event: Event) => {
    event.preventDefault()
    setTried(true)
    if (isSound) run()
    else requestAnimationFrame(focusFirstFault)
  }
  return (
    <>
      <PageHead
        back={['#/keys', say('keys.title')]}
        title={say('new.title')}
        text={say('new.text')}
      />
      <div class="template-row">
        {TEMPLATES.map((one) => (
          <button
            type="button"
            key={one}
            class="template"
            aria-pressed={one === template}
            onClick={() => choose(one)}
          >
            <strong>{say(`template.${one}`)}</strong>
            <span class="muted small">{say(`template.${one}.text`)}</span>
          </button>
        ))}
      </div>
      <form class="split" onSubmit={submit} noValidate>
        <div class="card form">
          <KeyForm
            draft={draft}
            faults={isTried ? read.faults : liveFaults(read)}
            info={info}
            address={current?.address ?? ''}
            onChange={setDraft}
          />
        </div>
        <aside class="aside">
          <Card title={say('new.summary')}>
            <p class="sentence" aria-live="polite">
              {sentenceOf(read.terms)}
            </p>
            <RiskMeter read={read} />
            {error !== undefined && <Problem error={error} onDismiss={dismiss} />}
            {isTried && !isSound && (
              <p class="fault" role="alert">
                {say('new.faults', { n: read.faults.size })}
              </p>
            )}
            <Button kind="primary" type="submit" icon="wallet" isBusy={isBusy}>
              {say('new.sign')}
            </Button>
            <details class="preview">
              <summary>{say('new.preview')}</summary>
              <JsonText text={previewOf(read, info, current?.address ?? '')} />
            </details>
          </Card>
        </aside>
      </form>
      {created && (
        <SecretDialog
          secret={created.apiKey}
          keyId={created.keyId}
          name={created.name}
          onStored={() => go(`keys/${created.keyId}`)}
        />
      )}
    </>
  )
}

/** While a form is being filled in, what is still empty is no fault. */
function liveFaults({ faults }: ReadDraft): ReadDraft['faults'] {
  return new Set([...faults].filter((term) => term !== 'name' && term !== 'maxAmountIn'))
}

export function focusFirstFault(): void {
  const field = document.querySelector<HTMLElement>('[aria-invalid="true"]')
  field?.closest('details')?.setAttribute('open', '')
  field?.focus()
}

/** The message as it will be, but for its time. The dialog of the signature shows the exact one. */
function previewOf({ terms }: ReadDraft, info: ServiceInfo, walletAddress: string): string {
  const { name, permissions, expiresAt, ...limits } = newKeyOf(terms)
  return JSON.stringify({
    action: 'create_api_key',
    keyName: name,
    permissions,
    ...(expiresAt instanceof Date && { expiresAt: expiresAt.toISOString() }),
    ...limits,
    timestamp: '…',
    ...(info.signedDomain !== undefined && { domain: info.signedDomain }),
    network: info.network,
    walletAddress,
  })
}

export function RiskMeter({ read }: { read: ReadDraft }) {
  const { risks, level } = risksOf(read.terms, Date.now())
  return (
    <div class={`risk ${level}`}>
      <p class="risk-head">
        <span class="risk-bars" aria-hidden="true">
          <span />
          <span />
          <span />
        </span>
        <strong>{say(`risk.${level}`)}</strong>
      </p>
      {risks.length > 0 && (
        <ul>
          {risks.map((risk) => (
            <li key={risk}>{say(`risk.${risk}`)}</li>
          ))}
        </ul>
      )}
    </div>
  )
}
