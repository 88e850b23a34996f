import { useEffect, useId, useState } from 'preact/hooks'
import { createClient, type Me } from '../client/index.ts'
import { owner } from './clients.ts'
import { formatTime } from './format.ts'
import { say } from './language.ts'
import { useAct } from './load.ts'
import { Button, CopyButton, Icon, Modal, Segments, saveFile } from './parts.tsx'
import { Problem } from './problem.tsx'
import { toast } from './toasts.tsx'

const SNIPPETS = ['curl', 'TypeScript', 'Python'] as const
type Snippet = (typeof SNIPPETS)[number]

/** Shows a secret, this once: it is nowhere but in this dialog, which only "I stored it" closes. */
export function SecretDialog(props: {
  secret: string
  keyId: string
  name: string
  previousUntil?: string
  onStored: () => void
}) {
  const { secret, keyId, name, previousUntil } = props
  const [isShown, setShown] = useState(false)
  const [isStored, setStored] = useState(false)
  const [snippet, setSnippet] = useState<Snippet>('curl')
  const inputId = useId()
  useEffect(() => {
    const warn = (event: BeforeUnloadEvent) => event.preventDefault()
    addEventListener('beforeunload', warn)
    return () => removeEventListener('beforeunload', warn)
  }, [])
  const field = {
    id: inputId,
    class: 'mono',
    readOnly: true,
    autocomplete: 'off',
    value: secret,
    onFocus: (event: FocusEvent) => (event.currentTarget as HTMLInputElement).select(),
  }
  return (
    <Modal title={say('secret.title', { name })} wide>
      <p class="note warn">
        <Icon name="alert" /> {say('secret.once')}
      </p>
      {previousUntil && (
        <p class="note info">
          <Icon name="clock" /> {say('secret.previous', { time: formatTime(previousUntil) })}
        </p>
      )}
      <label class="eyebrow" for={inputId}>
        {say('secret.label')}
      </label>
      <div class="secret">
        {isShown ? <input {...field} type="text" /> : <input {...field} type="password" />}
        <button
          type="button"
          class="icon-button"
          aria-pressed={isShown}
          aria-label={say('secret.show')}
          title={say('secret.show')}
          onClick={() => setShown(!isShown)}
        >
          <Icon name="eye" />
        </button>
        <CopyButton text={secret} label={say('secret.label')} />
      </div>
      <div class="actions start">
        <Button icon="download" onClick={() => saveFile('.env', envOf(secret), 'text/plain')}>
          {say('secret.env')}
        </Button>
        <Test secret={secret} />
        <Certificate keyId={keyId} name={name} />
      </div>
      <div class="snippets">
        <Segments
          label={say('secret.snippets')}
          value={snippet}
          onChange={setSnippet}
          options={SNIPPETS.map((one) => [one, one])}
        />
        <div class="snippet">
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
          <pre tabIndex={0}>{snippetOf(snippet)}</pre>
          <CopyButton text={snippetOf(snippet)} label={snippet} />
        </div>
      </div>
      <div class="modal-foot">
        <label class="check">
          <input
            type="checkbox"
            checked={isStored}
            onChange={(event) => setStored(event.currentTarget.checked)}
          />
          <span>{say('secret.stored')}</span>
        </label>
        <Button kind="primary" disabled={!isStored} onClick={props.onStored}>
          {say('done')}
        </Button>
      </div>
    </Modal>
  )
}

function envOf(secret: string): string {
  return `LATCHKEY_URL=${location.origin}\nLATCHKEY_API_KEY=${secret}\n`
}

function snippetOf(snippet: Snippet): string {
  const url = location.origin
  const texts: Readonly<Record<Snippet, string>> = {
    curl: `curl -H "X-API-Key: $LATCHKEY_API_KEY" \\\n  ${url}/api/v1/me`,
    TypeScript: [
      'import { createClient } from "latchkey/client"',
      '',
      'const bot = createClient({',
      `  baseUrl: '${url}',`,
      '  apiKey: process.env.LATCHKEY_API_KEY,',
      '})',
      'console.log(await bot.keys.me())',
    ].join('\n'),
    Python: [
      'import os, requests',
      '',
      'bot = requests.Session()',
      'bot.headers["X-API-Key"] = os.environ["LATCHKEY_API_KEY"]',
      `print(bot.get("${url}/api/v1/me").json())`,
    ].join('\n'),
  }
  return texts[snippet]
}

/** Sends the secret to /me, as a bot would, from this browser's address. */
function Test({ secret }: { secret: string }) {
  const [me, setMe] = useState<Me>()
  const { isBusy, error, run, dismiss } = useAct(async () => {
    setMe(undefined)
    setMe(await createClient({ baseUrl: location.origin, apiKey: secret, maxRetries: 0 }).keys.me())
  })
  return (
    <>
      <Button icon="check" isBusy={isBusy} onClick={run}>
        {say('secret.test')}
      </Button>
      {me && (
        <p class="note ok" role="status">
          <Icon name="check" /> {say('secret.works', { n: me.windows[0]?.remaining ?? 0 })}
        </p>
      )}
      {error !== undefined && <Problem error={error} onDismiss={dismiss} />}
    </>
  )
}

/** A revocation that is signed in advance: it works on a day on which the wallet is not at hand. */
export function Certificate({ keyId, name }: { keyId: string; name: string }) {
  const { isBusy, error, run, dismiss } = useAct(async () => {
    const certificate = await owner().keys.certificate(keyId)
    saveFile(`revoke-${keyId}.json`, `${JSON.stringify(certificate, null, 2)}\n`)
    toast(say('certificate.saved', { name }))
  })
  return (
    <>
      <Button icon="shield" isBusy={isBusy} onClick={run}>
        {say('certificate')}
      </Button>
      {error !== undefined && <Problem error={error} onDismiss={dismiss} />}
    </>
  )
}
