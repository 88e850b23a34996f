import { useRef, useState } from 'preact/hooks'
import type { AuditEvent, AuditExport, AuditVerdict } from '../client/index.ts'
import { owner, reader } from './clients.ts'
import { service } from './connection.ts'
import { formatNumber, formatTime } from './format.ts'
import { say, sayIfKnown } from './language.ts'
import { useAct, useLoad } from './load.ts'
import { Button, Card, Empty, Icon, PageHead, Skeleton, saveFile, type Tone } from './parts.tsx'
import { PageFault, Problem, tampering } from './problem.tsx'
import { route } from './router.ts'
import { useStore } from './store.ts'
import { verifyInWorker } from './verify.ts'

const SHOWN = 50

interface Body {
  event: string
  keyId: string | null
  actor: 'owner' | 'key' | 'operator' | 'service'
  at: number
  details: Record<string, unknown>
}

/** What happened to the wallet's keys, and the proof of it. */
export function AuditView() {
  const keyId = useStore(route).query.get('key') ?? undefined
  const audit = useLoad((signal) => reader().audit.export({ signal }), [])
  const [shown, setShown] = useState(SHOWN)
  const all = audit.value
  const events = all?.events
    .map((event) => ({ event, body: JSON.parse(event.body) as Body }))
    .filter(({ body }) => keyId === undefined || body.keyId === keyId)
    .reverse()
  const names = new Map(all?.keys.map((key) => [key.keyId, key.name]))
  return (
    <>
      <PageHead title={say('audit.title')} text={say('audit.text')}>
        {all && (
          <Button icon="download" onClick={() => save(all)}>
            {say('audit.download')}
          </Button>
        )}
      </PageHead>
      {audit.error !== undefined && <Problem error={audit.error} onRetry={audit.reload} />}
      {all && <Verification audit={all} />}
      {keyId !== undefined && (
        <p class="note info">
          <Icon name="key" />
          <span>
            {say('audit.ofKey', { name: names.get(keyId) ?? keyId })}{' '}
            <a href="#/audit">{say('audit.all')}</a>
          </span>
        </p>
      )}
      {events === undefined ? (
        audit.error === undefined && <Skeleton rows={6} height={48} />
      ) : events.length === 0 ? (
        <Empty icon="shield" title={say('audit.empty')} text={say('audit.empty.text')} />
      ) : (
        <Card title={say('audit.events', { n: events.length })}>
          <ol class="events">
            {events.slice(0, shown).map(({ event, body }) => (
              <EventRow key={event.sequence} event={event} body={body} names={names} />
            ))}
          </ol>
          {events.length > shown && (
            <Button onClick={() => setShown(shown + SHOWN)}>{say('more')}</Button>
          )}
        </Card>
      )}
    </>
  )
}

function save(audit: AuditExport): void {
  const day = new Date().toISOString().slice(0, 10)
  saveFile(`latchkey-audit-${day}.json`, `${JSON.stringify(audit, null, 2)}\n`)
}

const TONES: Readonly<Record<string, Tone>> = {
  create_api_key: 'ok',
  resume_api_key: 'ok',
  refused: 'bad',
  tampered: 'bad',
  suspend_api_key: 'warn',
  suspend_wallet: 'bad',
  delete_api_key: 'bad',
  revoke_api_key: 'bad',
  revoke_all_api_keys: 'bad',
}

function EventRow(props: { event: AuditEvent; body: Body; names: ReadonlyMap<string, string> }) {
  const { event, body, names } = props
  const name = body.keyId === null ? undefined : (names.get(body.keyId) ?? body.keyId)
  return (
    <li class={TONES[body.event] ?? 'info'}>
      <span class="event-number mono muted">{event.sequence}</span>
      <div class="event-text">
        <span>
          <strong>{sayIfKnown(`event.${body.event}`) ?? body.event}</strong>
          {name && (
            <>
              {' '}
              <a href={`#/keys/${body.keyId}`}>{name}</a>
            </>
          )}
        </span>
        <details>
          <summary>
            <span class="muted small">
              {formatTime(body.at)} · {say(`actor.${body.actor}`)}
              {event.signature !== undefined && ` · ${say('audit.signed')}`}
            </span>
          </summary>
          <p class="mono small break">{event.message ?? event.body}</p>
          <p class="mono small break muted">{event.hash}</p>
        </details>
      </div>
    </li>
  )
}

/** The check of the whole audit, in this browser, against what it has kept and an older export. */
function Verification({ audit }: { audit: AuditExport }) {
  const [older, keepOlder] = useState<{ name: string; audit: AuditExport }>()
  const chosen = useRef(older)
  const setOlder = (next: { name: string; audit: AuditExport }) => {
    chosen.current = next // The check that follows at once reads it before the next render.
    keepOlder(next)
  }
  const [verdict, setVerdict] = useState<{ of: AuditVerdict; ms: number; hasHead: boolean }>()
  const maxAge = useStore(service)?.limits.signatureMaxAgeSeconds
  const check = useAct(async () => {
    setVerdict(undefined)
    const started = performance.now()
    const head = await owner().audit.head()
    const of = await verifyInWorker({
      audit,
      older: chosen.current?.audit,
      head,
      maxMessageAgeSeconds: maxAge,
    })
    setVerdict({ of, ms: Math.round(performance.now() - started), hasHead: head !== undefined })
    const [first] = of.faults
    tampering.set(first && `${first.sequence ?? first.keyId ?? ''} ${first.fault}`.trim())
  })
  const read = useAct(async () => {
    const file = await chooseFile()
    if (file === undefined) return
    setOlder({ name: file.name, audit: readOlder(await file.text(), audit) })
    check.run()
  })
  return (
    <Card title={say('verify.title')} class="verification">
      <p class="muted">{say('verify.text')}</p>
      <div class="actions start">
        <Button kind="primary" icon="shield" isBusy={check.isBusy} onClick={check.run}>
          {say('verify.do')}
        </Button>
        <Button isBusy={read.isBusy} onClick={read.run}>
          {say('verify.older')}
        </Button>
        {older && <span class="muted small">{say('verify.against', { name: older.name })}</span>}
      </div>
      {check.isBusy && <p role="status">{say('verify.busy', { n: audit.events.length })}</p>}
      {check.error !== undefined && <Problem error={check.error} onDismiss={check.dismiss} />}
      {read.error !== undefined && <Problem error={read.error} onDismiss={read.dismiss} />}
      {verdict && (
        <Verdict
          of={verdict.of}
          ms={verdict.ms}
          hasHead={verdict.hasHead}
          hasOlder={older !== undefined}
        />
      )}
    </Card>
  )
}

function Verdict(props: { of: AuditVerdict; ms: number; hasHead: boolean; hasOlder: boolean }) {
  const { of, ms, hasHead, hasOlder } = props
  if (of.faults.length > 0)
    return (
      <div class="verdict bad" role="alert">
        <h3>
          <Icon name="alert" /> {say('verify.bad', { n: of.faults.length })}
        </h3>
        <ul class="mono small">
          {of.faults.slice(0, 20).map(({ sequence, keyId, fault }) => (
            <li key={`${sequence}${keyId}${fault}`}>
              {[sequence && `#${sequence}`, keyId, fault].filter(Boolean).join(' ')}
            </li>
          ))}
        </ul>
        <p>{say('verify.bad.text')}</p>
      </div>
    )
  return (
    <div class="verdict ok" role="status">
      <h3>
        <Icon name="check" />{' '}
        {say('verify.ok', { n: of.events, keys: of.keys, ms: formatNumber(ms) })}
      </h3>
      <ul>
        <li>{say('verify.proves.signed')}</li>
        <li>{say('verify.proves.rights')}</li>
        <li>{say('verify.proves.chain')}</li>
        {hasHead && <li>{say('verify.proves.head')}</li>}
        {hasOlder && <li>{say('verify.proves.older')}</li>}
        {of.archived > 0 && <li>{say('verify.archived', { n: of.archived })}</li>}
        {of.vouched.length > 0 && <li>{say('verify.vouched', { n: of.vouched.length })}</li>}
      </ul>
      <p class="muted small">{say('verify.notProves')}</p>
    </div>
  )
}

/** A file of the visitor's; undefined when none was chosen. */
function chooseFile(): Promise<File | undefined> {
  const input = document.createElement('input')
  input.type = 'file'
  input.accept = 'application/json'
  return new Promise((resolve) => {
    input.onchange = () => resolve(input.files?.[0])
    input.oncancel = () => resolve(undefined)
    input.click()
  })
}

/** An export that the visitor chose. The worker checks all of it; here, whether it is one of this wallet at all. */
function readOlder(text: string, { walletAddress, network }: AuditExport): AuditExport {
  const read = parseObject(text)
  if (!String(read.format).startsWith('latchkey-audit ') || !Array.isArray(read.events))
    throw new PageFault('notExport')
  if (read.walletAddress !== walletAddress || read.network !== network)
    throw new PageFault('otherExport')
  return read as AuditExport
}

function parseObject(text: string): Partial<AuditExport> {
  try {
    return Object(JSON.parse(text)) as Partial<AuditExport>
  } catch {
    throw new PageFault('notExport')
  }
}
